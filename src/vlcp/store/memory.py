"""A store that lives as long as its process: for tests, and for a controller that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlcp.store.contract import (
    Committed,
    Conflict,
    NotificationHandler,
    Preconditions,
    Snapshot,
    StoreUnavailableError,
    Watcher,
)
from vlcp.store.table import Clock, Revisions, Table, check_writes
from vlcp.store.watches import Watches


class MemoryBackend:
    """A `Backend` in memory. What it holds survives `close` and the next `open`, so a test can take the store away."""

    def __init__(self) -> None:
        self._table = Table()
        self._watches = Watches()
        self._revisions = Revisions()
        self._clock = Clock()
        self._revision = ""
        self._open = False
        self._commits = self._conflicts = self._reads = 0

    async def open(self) -> None:
        if not self._open:
            self._open = True
            self._watches.lost(self._revision)

    async def close(self) -> None:
        self._open = False

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        self._check_open()
        self._reads += 1
        return self._snapshot(keys, directories)

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        self._check_open()
        check_writes(writes)
        keys, directories = self._table.failing(preconditions)
        if keys or directories:
            self._conflicts += 1
            return Conflict(self._snapshot(keys, directories))
        if writes:
            self._commits += 1
            self._revision = self._revisions.next()
            self._table.apply(writes, self._revision)
            self._watches.publish(writes, self._revision)
        return Committed(self._revision, self._clock.now())

    def keys(self) -> list[str]:
        """Every key, sorted."""
        self._check_open()
        return self._table.keys()

    def watch(self, handler: NotificationHandler) -> Watcher:
        return self._watches.watch(handler)

    def statistics(self) -> Mapping[str, int | float | str]:
        return {
            "keys": len(self._table),
            "reads": self._reads,
            "commits": self._commits,
            "conflicts": self._conflicts,
            **self._watches.statistics(),
        }

    def _snapshot(self, keys: Sequence[str], directories: Sequence[str]) -> Snapshot:
        return self._table.snapshot(keys, directories, self._clock.now(), self._revision)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailableError("the store in memory is not open")
