"""A store behind a bad line: late, away, or losing replies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence

from vlcp.store.contract import (
    Backend,
    Committed,
    Conflict,
    NotificationHandler,
    Preconditions,
    Snapshot,
    StoreUnavailableError,
    Watcher,
)


class BadLine:
    """A backend before another one. Set the attributes to what shall go wrong."""

    def __init__(self, backend: Backend, seed: int | None = None) -> None:
        self.backend = backend
        self.chance = random.Random(seed) if seed is not None else None
        """Makes every call late by a random number of loop turns."""
        self.away = False
        self.lost_replies = 0
        """So many commits happen, but their replies are lost."""
        self.lost_requests = 0
        """So many commits never arrive."""
        self.gate: asyncio.Event | None = None
        """New watches wait for it."""
        self.deaf = False
        """Notifications are lost."""
        self.reads: list[tuple[list[str], list[str]]] = []
        self.commits: list[tuple[Preconditions, Mapping[str, bytes | None]]] = []

    async def open(self) -> None:
        await self.backend.open()

    async def close(self) -> None:
        await self.backend.close()

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        await self.delay()
        self.reads.append((sorted(keys), sorted(directories)))
        snapshot = await self.backend.read(keys, directories)
        await self.delay()
        return snapshot

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        await self.delay()
        self.commits.append((preconditions, writes))
        if self.lost_requests:
            self.lost_requests -= 1
            raise StoreUnavailableError("the request was lost")
        result = await self.backend.commit(preconditions, writes)
        if self.lost_replies:
            self.lost_replies -= 1
            raise StoreUnavailableError("the reply was lost")
        await self.delay()
        return result

    def watch(self, handler: NotificationHandler) -> Watcher:
        def hear(keys: frozenset[str] | None, revision: str) -> None:
            if not self.deaf:
                handler(keys, revision)

        return SlowWatcher(self, self.backend.watch(hear))

    def statistics(self) -> Mapping[str, int | float | str]:
        return self.backend.statistics()

    async def delay(self) -> None:
        for _ in range(self.chance.randrange(4) if self.chance else 0):
            await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailableError("the line is cut")


class SlowWatcher:
    """A watcher behind the bad line."""

    def __init__(self, line: BadLine, watcher: Watcher) -> None:
        self._line = line
        self._watcher = watcher

    async def add(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        keys, directories = list(keys), list(directories)
        await self._line.delay()
        if self._line.gate is not None:
            await self._line.gate.wait()
        await self._watcher.add(keys, directories)
        await self._line.delay()

    def remove(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        self._watcher.remove(keys, directories)

    def close(self) -> None:
        self._watcher.close()
