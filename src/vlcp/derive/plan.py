"""What is to be kept up to date: it grows out of the values of rules.

A *rule* is a pure function `rule(view, *arguments)` whose value is a tuple of items. Most items are *products*, which
only the owner understands (a flow, a group). Three kinds of items steer the plan itself:

- `Also(rule, arguments)`: this call is to be kept as well.
- `Each(directory, rule, arguments)`: for every name in the directory, keep `rule(*arguments, name)`. A name that joins
  costs one call, however many are there.
- `Member(set, name)`: while this item is there, the name is in the derived set.

The plan starts from its roots and reports, per call, which products came and went.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vlcp.derive.graph import Call, Cell, DerivedSet, Graph
from vlcp.derive.view import Key, Source, Unread

Rule = Callable[..., Iterable[Any]]


class Also(NamedTuple):
    """One more call to keep."""

    rule: Rule
    arguments: tuple[Hashable, ...] = ()


class Each(NamedTuple):
    """A call for every name in a directory; the name is the last argument."""

    directory: Key
    rule: Rule
    arguments: tuple[Hashable, ...] = ()


class Member(NamedTuple):
    """A name in a derived set."""

    directory: DerivedSet
    name: Hashable


ProductHandler = Callable[[Call, tuple[Any, ...], tuple[Any, ...]], None]
"""Told of each call whose products changed: the call, the products it had, the products it has."""


class _Expansion:
    """An `Each` in force: how often it was asked for, and the cells kept for it."""

    __slots__ = ("cells", "count")

    def __init__(self) -> None:
        self.count = 0
        self.cells: dict[Hashable, Cell] = {}


class Plan:
    """The calls that follow from the roots, over one graph."""

    def __init__(self, source: Source, on_products: ProductHandler) -> None:
        self.graph = Graph(source)
        self._on_products = on_products
        self._taken: dict[Cell, tuple[Any, ...]] = {}
        self._also: dict[Also, tuple[Cell, int]] = {}
        self._each: dict[Each, _Expansion] = {}
        self._by_directory: dict[Key, set[Each]] = {}
        self._unread_expansions: set[Key] = set()
        self._roots: dict[Call, Cell] = {}

    def add_root(self, rule: Rule, *arguments: Hashable) -> None:
        """Keep a call for good. `settle` then works it out."""
        self._roots[(rule, *arguments)] = self._keep(rule, arguments)

    def remove_root(self, rule: Rule, *arguments: Hashable) -> None:
        """Undo `add_root`; what followed from it goes away with the next settling."""
        self._release(self._roots.pop((rule, *arguments)))

    def change(
        self,
        keys: Iterable[Key] = (),
        joined: Mapping[Key, Iterable[Any]] = {},
        left: Mapping[Key, Iterable[Any]] = {},
        directories: Iterable[Key] = (),
    ) -> None:
        """The source has changed: values of keys, names in directories, and directories that just became known."""
        directories = tuple(directories)
        self._unread_expansions.difference_update(joined, directories)
        for directory, names in left.items():
            self._leave(directory, names)
        for directory, names in joined.items():
            self._join(directory, names)
        for directory in directories:
            self._join(directory, self._names(directory))
        self.graph.touch(keys, {*joined, *left, *directories})

    def steps(self) -> Iterator[None]:
        """Settle: run what is stale, one cell at a time. Between two steps the owner may pause or `change`."""
        while self.graph.busy:
            cell = self.graph.step()
            if cell is not None and cell.keeps and cell.has_value:
                self._take(cell)
            yield

    def settle(self) -> None:
        """Settle at one go."""
        for _ in self.steps():
            pass

    @property
    def loading(self) -> bool:
        """Whether something that was read is not known yet, so that products may be missing."""
        return bool(self._unread_expansions) or any(cell.waiting for cell in self.graph.unsettled)

    @property
    def failed(self) -> list[Cell]:
        """Kept calls that failed; they keep the products they had."""
        return [cell for cell in self.graph.unsettled if cell.keeps and not cell.waiting]

    def affected(self) -> set[Cell]:
        """Kept calls that failed or that read, however indirectly, one that failed: their products may be old."""
        todo = [cell for cell in self.graph.unsettled if cell.error is not None]
        seen = set(todo)
        while todo:
            users = todo.pop().users - seen
            seen |= users
            todo.extend(users)
        return {cell for cell in seen if cell.keeps}

    # Inside.

    def _take(self, cell: Cell) -> None:
        new, old = tuple(cell.value), self._taken.get(cell, ())
        if new == old:
            return
        self._taken[cell] = new
        self._exchange(cell.call, old, new)

    def _exchange(self, call: Call, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
        gone, come = _difference(old, new)
        for item in come:
            self._add(item)
        for item in gone:
            self._remove(item)
        products_before, products_now = _products(old), _products(new)
        if products_before != products_now:
            self._on_products(call, products_before, products_now)

    def _add(self, item: Any) -> None:
        match item:
            case Also():
                cell, count = self._also.get(item, (None, 0))
                cell = cell or self._keep(item.rule, item.arguments)
                self._also[item] = (cell, count + 1)
            case Each():
                self._expand(item)
            case Member():
                if self.graph.join(*item):
                    self._join(item.directory, (item.name,))

    def _remove(self, item: Any) -> None:
        match item:
            case Also():
                cell, count = self._also.pop(item)
                if count > 1:
                    self._also[item] = (cell, count - 1)
                else:
                    self._release(cell)
            case Each():
                self._fold(item)
            case Member():
                if self.graph.leave(*item):
                    self._leave(item.directory, (item.name,))

    def _expand(self, each: Each) -> None:
        expansion = self._each.setdefault(each, _Expansion())
        expansion.count += 1
        if expansion.count > 1:
            return
        self._by_directory.setdefault(each.directory, set()).add(each)
        names = self.graph.names(each.directory)
        if isinstance(names, Unread):
            self.graph.unread_directories.add(each.directory)
            self._unread_expansions.add(each.directory)
        else:
            self._grow(each, names)

    def _fold(self, each: Each) -> None:
        expansion = self._each[each]
        expansion.count -= 1
        if expansion.count:
            return
        del self._each[each]
        expansions = self._by_directory[each.directory]
        expansions.discard(each)
        if not expansions:
            del self._by_directory[each.directory]
            self.graph.released_directories.add(each.directory)
            self.graph.unread_directories.discard(each.directory)
            self._unread_expansions.discard(each.directory)
        cells, expansion.cells = expansion.cells, {}
        for cell in cells.values():
            self._release(cell)

    def _names(self, directory: Key) -> Iterable[Any]:
        names = self.graph.names(directory)
        return () if isinstance(names, Unread) else names

    def _join(self, directory: Key, names: Iterable[Hashable]) -> None:
        for each in tuple(self._by_directory.get(directory, ())):
            self._grow(each, names)

    def _grow(self, each: Each, names: Iterable[Hashable]) -> None:
        cells = self._each[each].cells
        for name in names:
            if name not in cells:
                cells[name] = self._keep(each.rule, (*each.arguments, name))

    def _leave(self, directory: Key, names: Iterable[Hashable]) -> None:
        for each in tuple(self._by_directory.get(directory, ())):
            expansion = self._each.get(each)
            for name in names:
                cell = expansion.cells.pop(name, None) if expansion else None
                if cell is not None:
                    self._release(cell)

    def _keep(self, rule: Rule, arguments: tuple[Hashable, ...]) -> Cell:
        """Keep a call; one that others read already is taken at once, any other at its turn."""
        cell = self.graph.keep(rule, *arguments)
        if not cell.stale and cell.has_value:
            self._take(cell)
        return cell

    def _release(self, cell: Cell) -> None:
        """One reason less to keep a cell; with the last one its items go."""
        self.graph.drop(cell)
        if not cell.keeps:
            old = self._taken.pop(cell, ())
            if old:
                self._exchange(cell.call, old, ())

    def take_released(self) -> tuple[set[Key], set[Key]]:
        """Keys and directories that nobody reads any more."""
        keys, directories = self.graph.take_released()
        return keys, {directory for directory in directories if directory not in self._by_directory}

    def take_unread(self) -> tuple[set[Key], set[Key]]:
        """Keys and directories that somebody waits for, and that were not told before."""
        graph = self.graph
        unread = graph.unread, graph.unread_directories
        graph.unread, graph.unread_directories = set(), set()
        return unread


def _difference(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """What is gone and what has come; a rule may give an item once only."""
    if not old or not new:  # the usual case
        return list(old), list(new)
    before, now = set(old), set(new)
    return [item for item in old if item not in now], [item for item in new if item not in before]


def _products(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([item for item in items if type(item) not in _STEERING])


_STEERING = frozenset((Also, Each, Member))
