"""The graph's contract, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from vlcp.derive.graph import FailedError, Graph
from vlcp.derive.plan import Each, Plan
from vlcp.derive.view import UNREAD, PendingError


class Facts(dict[Any, Any]):
    """A source: what is not in it is absent; a value UNREAD is unread."""

    def members(self, directory: Any) -> Any:
        return self.get(directory, ())


def total(view: Any, *keys: str) -> int:
    return sum(value or 0 for value in view.many(keys))


def doubled(view: Any, *keys: str) -> int:
    return 2 * int(view.call(total, *keys))


def inverse(view: Any, key: str) -> float:
    return 1 / view.get(key)


def settle(graph: Graph) -> None:
    while graph.busy:
        graph.step()


def test_a_change_without_effect_wakes_nobody() -> None:
    facts = Facts(a=1, b=2)
    graph = Graph(facts)
    cell = graph.keep(doubled, "a", "b")
    settle(graph)
    assert cell.value == 6
    facts.update(a=2, b=1)
    runs = graph.runs
    graph.touch(["a", "b"])
    settle(graph)
    assert cell.value == 6
    assert graph.runs == runs + 1  # the sum, not its double


def test_reads_that_are_unread_are_asked_for_at_once_and_the_value_waits() -> None:
    facts = Facts(a=UNREAD, b=UNREAD, c=3)
    graph = Graph(facts)
    cell = graph.keep(doubled, "a", "b", "c")
    settle(graph)
    assert graph.unread == {"a", "b"}
    assert not cell.has_value
    with pytest.raises(PendingError):
        graph.call(doubled, "a", "b", "c")
    facts.update(a=1, b=1)
    graph.touch(["a", "b"])
    settle(graph)
    assert cell.value == 10
    assert graph.unsettled == set()


def test_a_failure_keeps_the_old_value_and_stops_nobody_else() -> None:
    facts = Facts(a=2, b=4)
    graph = Graph(facts)
    failing, healthy = graph.keep(inverse, "a"), graph.keep(inverse, "b")
    settle(graph)
    facts.update(a=0, b=8)
    graph.touch(["a", "b"])
    settle(graph)
    assert (failing.value, healthy.value) == (0.5, 0.125)
    assert isinstance(failing.error, ZeroDivisionError)
    facts.update(a=4)
    graph.touch(["a"])
    settle(graph)
    assert (failing.value, failing.error) == (0.25, None)


def test_what_reads_a_failure_without_a_value_fails_too() -> None:
    graph = Graph(Facts(a=0))
    with pytest.raises(FailedError, match="division by zero"):
        graph.call(inverse, "a")


def test_a_call_that_reads_itself_is_told_so() -> None:
    def circle(view: Any) -> Any:
        return view.call(circle)

    graph = Graph(Facts())
    cell = graph.keep(circle)
    settle(graph)
    assert "reads itself" in str(cell.error)


def test_what_nobody_reads_any_more_is_released() -> None:
    graph = Graph(Facts(a=1, b=2))
    first, second = graph.keep(total, "a", "b"), graph.keep(total, "b")
    settle(graph)
    graph.drop(first)
    assert graph.take_released() == ({"a"}, set())
    graph.drop(second)
    assert graph.take_released() == ({"b"}, set())
    assert graph.cells == {}


def test_a_plan_is_loading_until_every_directory_is_known() -> None:
    facts = Facts(names=UNREAD)
    products: list[Any] = []
    plan = Plan(facts, lambda call, before, now: products.extend(now))

    def named(view: Any, name: str) -> tuple[str, ...]:
        return (name.upper(),)

    plan.add_root(lambda view: (Each("names", named),))
    plan.settle()
    assert plan.loading
    assert plan.take_unread() == (set(), {"names"})
    facts["names"] = ["x", "y"]
    plan.change(joined={"names": ["x", "y"]}, directories=["names"])
    plan.settle()
    assert not plan.loading
    assert sorted(products) == ["X", "Y"]
