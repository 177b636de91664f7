"""Derived values that are worked out again only when something that they read has changed.

A *cell* is one call of a pure function, remembered: its value, what it read, and who read it. The owner of the graph
says which keys and directories have changed (`touch`) and lets the affected cells run one at a time (`step`), so that
it can pause between any two of them. A cell whose outcome is the same as before wakes nobody: a change costs what it
touches.

A cell that reads something unread waits: the key joins `unread`, the owner fetches it and touches it. A cell that fails
keeps the value it had; the error stays with the cell, and the other cells go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from vlcp.derive.view import UNREAD, Key, PendingError, Source, Unread

Call = tuple[Any, ...]
"""A function and its arguments."""


class DerivedSet(NamedTuple):
    """The key of a directory whose members come from the graph itself, not from its source."""

    name: str
    arguments: tuple[Hashable, ...] = ()


class FailedError(Exception):
    """A function was read that failed and has no earlier value."""


class Cell:
    """One remembered call. `height` is one more than that of the highest cell it read."""

    __slots__ = (
        "call",
        "directories",
        "error",
        "has_value",
        "height",
        "keeps",
        "keys",
        "reads",
        "stale",
        "users",
        "value",
        "waiting",
    )

    def __init__(self, call: Call) -> None:
        self.call = call
        self.value: Any = None
        self.has_value = False
        self.waiting = False
        self.error: Exception | None = None
        self.reads: set[Cell] = set()
        self.keys: set[Key] = set()
        self.directories: set[Key] = set()
        self.users: set[Cell] = set()
        self.height = 0
        self.stale = True
        self.keeps = 0

    def __repr__(self) -> str:
        function, *arguments = self.call
        return f"{function.__name__}({', '.join(map(repr, arguments))})"


class Graph:
    """The cells over one source. It is the `View` that its functions get."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.cells: dict[Call, Cell] = {}
        self.unread: set[Key] = set()
        self.unread_directories: set[Key] = set()
        self.released: set[Key] = set()
        self.released_directories: set[Key] = set()
        self.unsettled: set[Cell] = set()
        self.runs = 0
        self._readers: dict[Key, set[Cell]] = {}
        self._directory_readers: dict[Key, set[Cell]] = {}
        self._derived: dict[DerivedSet, dict[Hashable, int]] = {}
        self._running: list[Cell] = []
        self._queue: list[tuple[int, int, Cell]] = []
        self._turn = 0

    # What pure functions see.

    def get(self, key: Key) -> Any:
        """The value of a key or None; the running cell depends on it from now on."""
        value = self._read(key)
        if value is UNREAD:
            raise PendingError(key)
        return value

    def many(self, keys: Iterable[Key]) -> list[Any]:
        """The values of keys; all that are unread are asked for before the first of them makes the cell wait."""
        values = [self._read(key) for key in keys]
        if UNREAD in values:
            raise PendingError
        return values

    def members(self, directory: Key) -> Sequence[Any]:
        """The names in a directory, sorted; the running cell runs again whenever one joins or leaves."""
        if self._running:
            cell = self._running[-1]
            cell.directories.add(directory)
            self._directory_readers.setdefault(directory, set()).add(cell)
        names = self.names(directory)
        if isinstance(names, Unread):
            self.unread_directories.add(directory)
            raise PendingError(directory)
        return sorted(names)

    def call(self, function: Callable[..., Any], *arguments: Hashable) -> Any:
        """The value of another pure function; the running cell depends on it from now on."""
        cell = self._cell((function, *arguments))
        if cell in self._running:
            raise RuntimeError(f"a call reads itself: {cell}")
        if cell.stale:
            self._run(cell)
        if self._running:
            self._connect(self._running[-1], cell)
        if cell.waiting:
            raise PendingError(cell)
        if not cell.has_value:
            raise FailedError(f"{cell} failed: {cell.error}")
        return cell.value

    # What the owner of the graph does.

    def keep(self, function: Callable[..., Any], *arguments: Hashable) -> Cell:
        """Keep a call up to date although nobody reads it; it runs at its turn. Counted: each keep needs its drop."""
        cell = self._cell((function, *arguments))
        cell.keeps += 1
        if cell.stale:
            self._enqueue(cell)
        return cell

    def drop(self, cell: Cell) -> None:
        """Undo one `keep`."""
        cell.keeps -= 1
        self._collect(cell)

    def touch(self, keys: Iterable[Key] = (), directories: Iterable[Key] = ()) -> None:
        """What the source says of these keys and directories may have changed, or is now known."""
        for key in keys:
            self.unread.discard(key)
            self._mark_all(self._readers.get(key, ()))
        for directory in directories:
            self.unread_directories.discard(directory)
            self._mark_all(self._directory_readers.get(directory, ()))

    def join(self, directory: DerivedSet, name: Hashable) -> bool:
        """One more reason for a name to be in a derived set. True when it was not there."""
        counts = self._derived.setdefault(directory, {})
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            return False
        self._mark_all(self._directory_readers.get(directory, ()))
        return True

    def leave(self, directory: DerivedSet, name: Hashable) -> bool:
        """One reason less. True when the name is gone now."""
        counts = self._derived[directory]
        counts[name] -= 1
        if counts[name]:
            return False
        del counts[name]
        if not counts:
            del self._derived[directory]
        self._mark_all(self._directory_readers.get(directory, ()))
        return True

    def names(self, directory: Key) -> Collection[Any] | Unread:
        """The present names in a directory, derived or of the source, without any dependency."""
        if isinstance(directory, DerivedSet):
            return list(self._derived.get(directory, ()))
        names = self.source.members(directory)
        return names if isinstance(names, Unread) else list(names)

    def step(self) -> Cell | None:
        """Bring the next queued cell up to date and return it; None when nobody wants it any more."""
        _, _, cell = heappop(self._queue)
        if self.cells.get(cell.call) is not cell:
            return None
        if cell.stale:  # else somebody read it before its turn
            self._run(cell)
        return cell

    @property
    def busy(self) -> bool:
        """Whether there are cells to run."""
        return bool(self._queue)

    # Inside.

    def _read(self, key: Key) -> Any:
        if self._running:
            cell = self._running[-1]
            cell.keys.add(key)
            readers = self._readers.get(key)
            if readers is None:
                self._readers[key] = {cell}
            else:
                readers.add(cell)
        value = self.source.get(key)
        if value is UNREAD:
            self.unread.add(key)
        return value

    def _cell(self, call: Call) -> Cell:
        cell = self.cells.get(call)
        if cell is None:
            cell = self.cells[call] = Cell(call)
        return cell

    @staticmethod
    def _connect(user: Cell, cell: Cell) -> None:
        user.reads.add(cell)
        cell.users.add(user)
        if user.height <= cell.height:
            user.height = cell.height + 1

    def _mark_all(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            if not cell.stale and cell not in self._running:  # a running cell reads the new value anyway
                cell.stale = True
                self._enqueue(cell)

    def _enqueue(self, cell: Cell) -> None:
        self._turn += 1
        heappush(self._queue, (cell.height, self._turn, cell))

    def _run(self, cell: Cell) -> None:
        """Work a cell out; its users are marked when the outcome is not what it was."""
        before = (cell.value, cell.has_value, cell.waiting, cell.error)
        reads, keys, directories = cell.reads, cell.keys, cell.directories
        cell.reads, cell.keys, cell.directories, cell.height = set(), set(), set(), 0
        self._running.append(cell)
        cell.stale = False
        self.runs += 1
        try:
            self._evaluate(cell)
        finally:
            self._running.pop()
        if reads or keys or directories:  # else it ran for the first time
            self._forget(cell, reads - cell.reads, keys - cell.keys, directories - cell.directories)
        if before != (cell.value, cell.has_value, cell.waiting, cell.error):
            self._mark_all(cell.users)

    def _evaluate(self, cell: Cell) -> None:
        call = cell.call
        try:
            cell.value = call[0](self, *call[1:])
            cell.has_value, cell.waiting, cell.error = True, False, None
            self.unsettled.discard(cell)
            return
        except PendingError:
            cell.waiting, cell.error = True, None
        except Exception as error:  # a failing function must not stop the others
            cell.waiting, cell.error = False, error
        self.unsettled.add(cell)

    def _forget(self, cell: Cell, reads: set[Cell], keys: set[Key], directories: set[Key]) -> None:
        """A cell no longer reads these."""
        for key in keys:
            self._unsubscribe(self._readers, key, cell, self.released, self.unread)
        for directory in directories:
            self._unsubscribe(
                self._directory_readers, directory, cell, self.released_directories, self.unread_directories
            )
        for read in reads:
            read.users.discard(cell)
            self._collect(read)

    @staticmethod
    def _unsubscribe(
        readers: dict[Key, set[Cell]], key: Key, cell: Cell, released: set[Key], unread: set[Key]
    ) -> None:
        cells = readers[key]
        cells.discard(cell)
        if not cells:
            del readers[key]
            released.add(key)
            unread.discard(key)

    def _collect(self, cell: Cell) -> None:
        """Forget a cell that nobody keeps and nobody reads, and then what only it read."""
        if cell.keeps or cell.users or self.cells.get(cell.call) is not cell:
            return
        del self.cells[cell.call]
        self.unsettled.discard(cell)
        self._forget(cell, cell.reads, cell.keys, cell.directories)

    def take_released(self) -> tuple[set[Key], set[Key]]:
        """Keys and directories that somebody read once and that nobody reads any more; each is told once."""
        keys = {key for key in self.released if key not in self._readers}
        directories = {name for name in self.released_directories if name not in self._directory_readers}
        self.released, self.released_directories = set(), set()
        return keys, directories

    def interest(self) -> Iterator[Key]:
        """All keys that some cell reads."""
        return iter(self._readers)

    def statistics(self) -> dict[str, int]:
        """Counts: cells, runs so far, cells that wait, cells that failed, keys read."""
        return {
            "cells": len(self.cells),
            "runs": self.runs,
            "waiting": sum(cell.waiting for cell in self.unsettled),
            "failed": sum(cell.error is not None for cell in self.unsettled),
            "keys": len(self._readers),
        }
