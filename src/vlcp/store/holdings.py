"""Which keys are kept up to date for authors of modules, under which request ids, and what they are told of."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from vlcp.derive.view import UNREAD
from vlcp.store.errors import StoreUnavailableError
from vlcp.store.mirror import Change, Mirror
from vlcp.store.reference import Cell, Reference


class Step(NamedTuple):
    """What became visible together: the changed objects, sorted by key."""

    number: int
    changed: list[Reference]


class _Call:
    """Holds what one call needs, while it runs."""


class Holdings:
    """The kept keys. A key is kept as long as a request id holds it, or a kept object refers to it.

    `read(key, stored)` gives a value of its own for a stored one. `told` is called for each step, before any call that
    waits for it goes on; what it raises is logged by the mirror.
    """

    def __init__(self, mirror: Mirror, read: Callable[[str, Any], Any], told: Callable[[Step], None]) -> None:
        self._mirror = mirror
        self._read = read
        self._told = told
        self._reader = mirror.reader(self._changed)
        self._cells: dict[str, Cell] = {}
        self._holders: dict[str, dict[Hashable, None]] = {}
        self._held: dict[Hashable, dict[str, None]] = {}
        self._running: Counter[Hashable] = Counter()
        self._leaving: set[Hashable] = set()
        self._linking: set[str] = set()
        self._steps = 0
        self._closed = False

    # Holding

    @contextlib.contextmanager
    def call(self, requestid: Hashable) -> Iterator[Hashable]:
        """A call under a request id. What the holder that it gives holds is let go at the end.

        `release_all` of the same id, if it comes meanwhile, takes effect at the end.
        """
        holder = _Call()
        self._running[requestid] += 1
        try:
            yield holder
        finally:
            self._running[requestid] -= 1
            self.release(holder, list(self._held.get(holder, ())))
            if not self._running[requestid]:
                del self._running[requestid]
                if requestid in self._leaving:
                    self.release_all(requestid)

    def hold(self, holder: Hashable, keys: Sequence[str]) -> None:
        """Keep keys for a request id, or for a call."""
        if not keys:
            return
        held = self._held.setdefault(holder, {})
        for key in keys:
            self._holders.setdefault(key, {})[holder] = None
            held[key] = None
        if new := self._new_cells(keys):
            self._link(new)

    def release(self, holder: Hashable, keys: Iterable[str]) -> None:
        """Keep keys no longer for this holder."""
        gone = [key for key in keys if key in self._held.get(holder, ())]
        for key in gone:
            del self._held[holder][key], self._holders[key][holder]
            if not self._holders[key]:
                del self._holders[key]
        if not self._held.get(holder, True):
            del self._held[holder]
        self._drop(gone)

    def release_all(self, holder: Hashable) -> None:
        """Keep nothing for a request id; once its running calls have ended."""
        if self._running[holder]:
            self._leaving.add(holder)
            return
        self._leaving.discard(holder)
        self.release(holder, list(self._held.get(holder, ())))

    def held(self, requestid: Hashable = None) -> dict[str, list[Hashable]]:
        """The kept keys with their request ids; only those of one request id if it is given."""
        shown = {
            key: [holder for holder in holders if not isinstance(holder, _Call)]
            for key, holders in self._holders.items()
            if requestid is None or requestid in holders
        }
        return {key: holders for key, holders in shown.items() if holders}

    def close(self) -> None:
        """Keep nothing; whoever waits for a change is told."""
        self._closed = True
        self._holders.clear()
        self._held.clear()
        self._drop(list(self._cells))
        self._reader.close()

    # Reading

    async def ready(self, keys: Iterable[str]) -> None:
        """Wait until held keys, and all that they refer to, are known, and show what was told of before.

        `StoreUnavailableError` if the store is away and not all of it is known.
        """
        await self._mirror.caught_up()
        known: set[str] = set()
        wanted = set(keys)
        while wanted - known:
            await self._reader.ready(wanted)
            if self._closed:
                raise StoreUnavailableError("objects are not followed any more")
            known, wanted = wanted, self._reachable(wanted)

    def watched(self, key: str) -> Reference:
        """A new reference to a held key that is ready."""
        return Reference(self._cells[key])

    def existing(self, key: str) -> Reference | None:
        """A new reference, None if there is no object; `UndecodableError` for one that cannot be understood."""
        cell = self._cells[key]
        if cell.exists:
            cell.present()
        return Reference(cell) if cell.exists else None

    def knows(self, key: str) -> bool:
        """Whether a held key was read."""
        return key in self._cells and self._cells[key].known

    def get(self, key: str) -> Any:
        """A value of its own for a held key, None if it does not exist, or `UNREAD`."""
        value = self._reader.get(key)
        return value if value is UNREAD else self._read(key, value)

    def __len__(self) -> int:
        return len(self._cells)

    # What changes

    def _new_cells(self, keys: Iterable[str]) -> list[Cell]:
        """Cells for those keys that have none; whoever makes them links them."""
        new = [Cell(key, self._read) for key in dict.fromkeys(keys) if key not in self._cells]
        self._reader.want([cell.key for cell in new])
        for cell in new:
            self._cells[cell.key] = cell
            if (known := self._reader.known(cell.key)) is not None:
                cell.take(known)
        return new

    def _changed(self, change: Change) -> None:
        first, changed = list[Cell](), list[Cell]()
        for key in sorted(change.keys & self._cells.keys()):
            cell, known = self._cells[key], self._reader.known(key)
            if known is not None:
                was_known = cell.known
                if cell.take(known):
                    (changed if was_known else first).append(cell)
        self._link([*first, *changed])
        self._wake([*first, *changed])
        if changed:
            self._steps += 1
            self._told(Step(self._steps, [Reference(cell) for cell in changed]))

    def _wake(self, cells: Iterable[Cell]) -> None:
        keys = [cell.key for cell in cells]
        for listener in dict.fromkeys(listener for cell in cells for listener in cell.listeners):
            listener.tell(keys)

    def _link(self, cells: Iterable[Cell]) -> None:
        """Follow what objects refer to, and what that refers to, as far as it is known."""
        todo, unused = list(cells), list[str]()
        while todo:
            cell = todo.pop()
            keys = cell.referred()
            if not keys and not cell.links:
                continue
            unused += [key for key in cell.links if key not in keys]
            todo += self._new_cells(keys)
            cell.links = {key: self._cells[key] for key in keys}
            (self._linking.add if keys else self._linking.discard)(cell.key)
        if unused:
            self._drop(unused)

    def _drop(self, candidates: Iterable[str]) -> None:
        """Forget those of the keys that nobody holds and nothing refers to."""
        gone = {key for key in candidates if key in self._cells and key not in self._holders}
        if gone and self._linking:
            gone = self._cells.keys() - self._reachable(self._holders)
        for key in gone:
            cell = self._cells.pop(key)
            cell.kept = False
            self._linking.discard(key)
            for listener in list(cell.listeners):
                listener.wake()
        self._reader.release(gone)

    def _reachable(self, keys: Iterable[str]) -> set[str]:
        found: set[str] = set()
        todo = [self._cells[key] for key in keys if key in self._cells]
        while todo:
            cell = todo.pop()
            if cell.key not in found:
                found.add(cell.key)
                todo.extend(cell.links.values())
        return found
