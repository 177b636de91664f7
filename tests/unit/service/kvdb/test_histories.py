"""Random histories: what is kept is what somebody holds or a held object refers to, and it is always up to date."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from effort import effort
from store.faultydb import Line
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.store.dataobject import DataObject
from vlcp.store.errors import AlreadyExistsError

Call = Callable[..., Awaitable[Any]]
NAMES = "abcdefg"
IDS = ("r", "s", "t")
COLORS = (None, None, "red", "green", "blue", "yellow")


class Node(DataObject):
    """Refers to others."""

    prefix = "history.node"
    indices = ("id",)
    unique = (("color", ("color",)),)
    references = ("others",)


def key(name: str) -> str:
    return Node.key(name)


class History:
    """What should be so."""

    def __init__(self, call: Call, chance: random.Random) -> None:
        self.call = call
        self.chance = chance
        self.stored: dict[str, Node] = {}
        self.held: dict[str, set[str]] = {each: set() for each in IDS}
        self.references: dict[str, Any] = {}

    async def step(self) -> None:
        await self.chance.choice(
            [
                self.write,
                self.write,
                self.delete,
                self.watch,
                self.watch,
                self.get,
                self.unwatch,
                self.unwatch_all,
            ]
        )()

    async def write(self) -> None:
        """Some nodes at once; a color that a node has or had until now may go to another in the same step."""
        nodes = [
            Node(name, color=self.chance.choice(COLORS), others=[key(other) for other in self.names(3)])
            for name in self.names(2)
        ]
        after = {**self.stored, **{node.getkey(): node for node in nodes}}
        colors = [node.color for node in after.values() if node.color is not None]
        writing = self.call(
            "transact", keys=[], updater=lambda *_: ([node.getkey() for node in nodes], nodes)
        )
        if len(colors) == len(set(colors)):
            await writing
            self.stored = after
        else:
            with pytest.raises(AlreadyExistsError):
                await writing

    async def delete(self) -> None:
        keys = [key(name) for name in self.names(2)]
        await self.call("transact", keys=keys, updater=lambda keys, _: (keys, [None] * len(keys)))
        for each in keys:
            self.stored.pop(each, None)

    async def watch(self) -> None:
        keys, requestid = [key(name) for name in self.names(2)], self.chance.choice(IDS)
        self.references.update(
            zip(keys, await self.call("mwatch", keys=keys, requestid=requestid), strict=True)
        )
        self.held[requestid].update(keys)

    async def get(self) -> None:
        keys, requestid = [key(name) for name in self.names(2)], self.chance.choice(IDS)
        found = await self.call("mget", keys=keys, requestid=requestid)
        assert [each is not None for each in found] == [each in self.stored for each in keys]
        self.held[requestid].update(each for each in keys if each in self.stored)
        self.references.update((each.getkey(), each) for each in found if each is not None)

    async def unwatch(self) -> None:
        each, requestid = key(self.chance.choice(NAMES)), self.chance.choice(IDS)
        await self.call("unwatch", key=each, requestid=requestid)
        self.held[requestid].discard(each)

    async def unwatch_all(self) -> None:
        requestid = self.chance.choice(IDS)
        await self.call("unwatchall", requestid=requestid)
        self.held[requestid].clear()

    def names(self, most: int) -> list[str]:
        return self.chance.sample(NAMES, self.chance.randint(1, most))

    def reachable(self) -> set[str]:
        found: set[str] = set()
        todo = [each for keys in self.held.values() for each in keys]
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo += self.stored[each].others if each in self.stored else []
        return found

    def check(self, kept: Iterable[str]) -> None:
        held = {each for keys in self.held.values() for each in keys}
        assert set(kept) == self.reachable()
        for each in held:
            reference, stored = self.references[each], self.stored.get(each)
            assert reference.isdeleted() == (stored is None)
            if stored is not None:
                assert reference.getvalue() == stored
                assert [other.getkey() for other in reference.others] == stored.others
                assert [other.isdeleted() for other in reference.others] == [
                    k not in self.stored for k in stored.others
                ]

    def check_colors(self, line: Line) -> None:
        claims = {claim: entry.value for claim, entry in line.memory._table.items() if "/" in claim}
        assert claims == {
            f"history.node/color/{node.color}": f'"{name}"'.encode()
            for name, node in self.stored.items()
            if node.color is not None
        }


@pytest.mark.parametrize("seed", range(effort(15)))
async def test_what_is_kept(database: Server, objectdb: Call, line: Line, seed: int) -> None:
    history = History(objectdb, random.Random(seed))
    line.chance = random.Random(seed)
    holdings = database.module(ObjectDB)._holdings
    for _ in range(60):
        await history.step()
        await objectdb("mwatch", keys=[], requestid="look")  # waits until what was told of is visible
        await holdings.ready(holdings._cells)
        history.check(holdings._cells)
        history.check_colors(line)
        assert holdings._reader._wanted == holdings._cells.keys()
    for requestid in IDS:
        await objectdb("unwatchall", requestid=requestid)
    assert (len(holdings), holdings._held, holdings._holders, holdings._linking) == (0, {}, {}, set())


async def test_a_listener_that_is_slow_is_told_of_the_newest_as_one(
    objectdb: Call, write: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlcp.store import reference

    monkeypatch.setattr(reference, "_STEPS", 2)
    references = await objectdb("mwatch", keys=["a", "b", "c"], requestid="r")
    with reference.Changes(references) as changes:
        for name in ("a", "b", "c", "a"):
            await write(**{name: 1 if name != "a" else random.random()})
            await objectdb("get", key=name, requestid="r")
        told = [[each.getkey() for each in await anext(changes)] for _ in range(2)]
    assert told == [["a"], ["a", "b", "c"]]
