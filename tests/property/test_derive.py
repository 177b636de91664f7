"""The graph against plain recompute: after every step, what was kept incrementally equals what is worked out afresh."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from vlcp.derive.graph import DerivedSet
from vlcp.derive.plain import recompute
from vlcp.derive.plan import Also, Each, Member, Plan
from vlcp.derive.view import UNREAD

HOMES = DerivedSet("homes")
SEEDS = 200 if os.environ.get("PROOF") else 25


def residents(home: str) -> DerivedSet:
    return DerivedSet("residents", (home,))


class Town:
    """A made-up source: people with a home, homes with a street, guests of homes. Parts of it may be unread yet."""

    def __init__(self, seed: int, reveal: bool) -> None:
        self.random = random.Random(seed)
        self.values: dict[str, Any] = {}
        self.directories: dict[str, set[str]] = {"people": set()}
        self.hidden = not reveal
        self.known: set[str] = {"people"} if self.hidden else set()

    def get(self, key: Any) -> Any:
        return UNREAD if self.hidden and key not in self.known else self.values.get(key)

    def members(self, directory: Any) -> Any:
        return (
            UNREAD if self.hidden and directory not in self.known else self.directories.get(directory, set())
        )

    def step(self) -> dict[str, Any]:
        """Change something at random; says what `Plan.change` must be told."""
        action = self.random.choice(
            (self.move_in, self.move_out, self.rename, self.guest, self.guest, self.street)
        )
        return action()

    def move_in(self) -> dict[str, Any]:
        person = f"p{self.random.randrange(30)}"
        new = person not in self.directories["people"]
        self.directories["people"].add(person)
        self.values[person] = f"h{self.random.randrange(5)}"
        return {"keys": {person}, "joined": {"people": {person}} if new else {}}

    def move_out(self) -> dict[str, Any]:
        if not self.directories["people"]:
            return {}
        person = self.random.choice(sorted(self.directories["people"]))
        self.directories["people"].discard(person)
        self.values.pop(person, None)
        return {"keys": {person}, "left": {"people": {person}}}

    def rename(self) -> dict[str, Any]:
        home = f"h{self.random.randrange(5)}"
        self.values[home] = self.random.randrange(3)
        return {"keys": {home}}

    def guest(self) -> dict[str, Any]:
        directory, name = f"guests h{self.random.randrange(5)}", f"g{self.random.randrange(8)}"
        names = self.directories.setdefault(directory, set())
        change = {"left" if name in names else "joined": {directory: {name}}}
        names.symmetric_difference_update({name})
        return change

    def street(self) -> dict[str, Any]:
        key = f"street {self.random.randrange(3)}"
        self.values[key] = None if self.values.get(key) else f"s{self.random.randrange(2)}"
        return {"keys": {key}}


def root(view: Any) -> tuple[Any, ...]:
    return (Each("people", person), Each(HOMES, home), ("root", len(view.members(HOMES))))


def person(view: Any, name: str) -> tuple[Any, ...]:
    home = view.get(name)
    if home is None:
        return ()
    return (Member(HOMES, home), Member(residents(home), name), ("lives", name, view.call(address, home)))


def home(view: Any, name: str) -> tuple[Any, ...]:
    shared = (Also(crowded, (name,)),) if len(view.members(residents(name))) > 2 else ()
    return (*shared, ("home", name, view.call(address, name)), Each(f"guests {name}", guest, (name,)))


def guest(view: Any, home: str, name: str) -> tuple[Any, ...]:
    return (("guest", home, name, view.get(home)),)


def crowded(view: Any, home: str) -> tuple[Any, ...]:
    return (("crowded", home, tuple(view.members(residents(home)))),)


def address(view: Any, home: str) -> tuple[Any, ...]:
    number, *streets = view.many([home, "street 0", "street 1"])
    return number, view.get(f"street {number}") if number is not None else streets[0]


class Table:
    """What the plan has told of products, put together."""

    def __init__(self) -> None:
        self.products: dict[Any, tuple[Any, ...]] = {}

    def __call__(self, call: Any, before: tuple[Any, ...], now: tuple[Any, ...]) -> None:
        assert self.products.get(call, ()) == before
        self.products[call] = now
        if not now:
            del self.products[call]


def fresh(town: Town) -> dict[Any, tuple[Any, ...]]:
    revealed = Town(0, reveal=True)
    revealed.values, revealed.directories = town.values, town.directories
    return {call: products for call, products in recompute(revealed, [(root, ())]).items() if products}


def fetch(plan: Plan, town: Town) -> int:
    """What a store would do: bring what is unread, until nothing is."""
    rounds = 0
    while True:
        plan.settle()
        keys, directories = plan.take_unread()
        if not keys and not directories:
            return rounds
        rounds += 1
        town.known |= {*keys, *directories}
        plan.change(keys, directories=directories)


@pytest.mark.parametrize("reveal", [True, False], ids=["all known", "reads are fetched"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_incremental_equals_recompute(seed: int, reveal: bool) -> None:
    town, table = Town(seed, reveal), Table()
    plan = Plan(town, table)
    plan.add_root(root)
    for _ in range(80):
        change = town.step()
        if town.random.random() < 0.5:  # half of the changes arrive in the middle of a settling
            for _, _ in zip(range(town.random.randrange(4)), plan.steps(), strict=False):
                pass
        plan.change(**change)
        fetch(plan, town)
        assert table.products == fresh(town)
        assert not plan.loading
        assert not plan.failed


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_left_when_the_roots_go(seed: int) -> None:
    town, table = Town(seed, reveal=False), Table()
    plan = Plan(town, table)
    plan.add_root(root)
    for _ in range(40):
        plan.change(**town.step())
        fetch(plan, town)
    plan.take_released()
    read = set(plan.graph.interest())
    plan.remove_root(root)
    plan.settle()
    assert table.products == {}
    assert plan.graph.cells == {}
    assert plan.take_released()[0] == read


def test_one_more_member_costs_one_call_whatever_the_size() -> None:
    costs = []
    for size in (10, 1000):
        town, table = Town(1, reveal=True), Table()
        town.directories["guests h0"] = {f"x{number}" for number in range(size)}
        town.values |= {"p": "h0", "h0": 1}
        town.directories["people"] = {"p"}
        plan = Plan(town, table)
        plan.add_root(root)
        plan.settle()
        before = plan.graph.runs
        town.directories["guests h0"].add("one more")
        plan.change(joined={"guests h0": {"one more"}})
        plan.settle()
        costs.append(plan.graph.runs - before)
        assert table.products == fresh(town)
    assert costs == [1, 1]
