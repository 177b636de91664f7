"""The same rules without any memory: everything is worked out from nothing. The oracle of the graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from vlcp.derive.graph import Call, DerivedSet
from vlcp.derive.plan import Also, Each, Member, Rule
from vlcp.derive.view import UNREAD, Key, PendingError, Source, Unread

DerivedSets = dict[DerivedSet, set[Hashable]]


class PlainView:
    """A `View` straight onto a source: nothing is remembered, except values of calls while the view lives."""

    def __init__(self, source: Source, derived: DerivedSets | None = None) -> None:
        self._source = source
        self._derived = derived if derived is not None else {}
        self._values: dict[Call, Any] = {}

    def get(self, key: Key) -> Any:
        """The value of a key or None."""
        value = self._source.get(key)
        if value is UNREAD:
            raise PendingError(key)
        return value

    def many(self, keys: Iterable[Key]) -> list[Any]:
        """The values of keys."""
        return [self.get(key) for key in keys]

    def members(self, directory: Key) -> Sequence[Any]:
        """The names in a directory, sorted."""
        return sorted(self.names(directory))

    def names(self, directory: Key) -> Iterable[Any]:
        """The names in a directory."""
        if isinstance(directory, DerivedSet):
            return self._derived.get(directory, set())
        names = self._source.members(directory)
        if isinstance(names, Unread):
            raise PendingError(directory)
        return names

    def call(self, function: Callable[..., Any], *arguments: Hashable) -> Any:
        """The value of another pure function."""
        call = (function, *arguments)
        if call not in self._values:
            self._values[call] = function(self, *arguments)
        return self._values[call]


def recompute(
    source: Source, roots: Iterable[tuple[Rule, tuple[Hashable, ...]]]
) -> dict[Call, tuple[Any, ...]]:
    """The products of every call that follows from the roots.

    Derived sets are read before all their members are known, so the whole is repeated until they stay the same.
    """
    derived: DerivedSets = {}
    while True:
        products, found = _one_pass(PlainView(source, derived), roots)
        if found == derived:
            return products
        derived = found


def _one_pass(
    view: PlainView, roots: Iterable[tuple[Rule, tuple[Hashable, ...]]]
) -> tuple[dict[Call, tuple[Any, ...]], DerivedSets]:
    todo: list[Call] = [(rule, *arguments) for rule, arguments in roots]
    products: dict[Call, tuple[Any, ...]] = {}
    derived: DerivedSets = {}
    while todo:
        call = todo.pop()
        if call in products:
            continue
        items = tuple(view.call(*call))
        products[call] = tuple(item for item in items if not isinstance(item, Also | Each | Member))
        for item in items:
            match item:
                case Also(rule, arguments):
                    todo.append((rule, *arguments))
                case Each(directory, rule, arguments):
                    todo.extend((rule, *arguments, name) for name in view.names(directory))
                case Member(directory, name):
                    derived.setdefault(directory, set()).add(name)
    return products, derived
