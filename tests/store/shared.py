"""A file shared by processes, seen as one backend: this process reads and watches, the others write in turn."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from store.remote import Process, Remote, opened
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
from vlcp.store.embedded import EmbeddedBackend


class SharedBackend:
    """Commits go to the next process; they are answered when this process was told of them, or of the conflict."""

    def __init__(self, path: str, remotes: Sequence[Remote]) -> None:
        self._local = EmbeddedBackend(path)
        self._remotes = itertools.cycle(remotes)
        self._told = self._local.watch(self._hear)
        self._seen: set[str] = set()
        self._news = asyncio.Event()
        self._open = False
        self._commits = self._conflicts = 0

    async def open(self) -> None:
        await self._local.open()
        self._open = True

    async def close(self) -> None:
        self._open = False
        await self._local.close()

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        return await self._local.read(keys, directories)

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        if not self._open:
            raise StoreUnavailableError("closed here")
        await self._told.add(writes)
        result, _ = await next(self._remotes).call("commit", preconditions, writes)
        if isinstance(result, Conflict):
            self._conflicts += 1
        elif writes:
            self._commits += 1
            await self._until_told(result.version)
        assert isinstance(result, Committed | Conflict)
        return result

    def keys(self) -> list[str]:
        return self._local.keys()

    def watch(self, handler: NotificationHandler) -> Watcher:
        return self._local.watch(handler)

    def statistics(self) -> Mapping[str, int | float | str]:
        return {**self._local.statistics(), "commits": self._commits, "conflicts": self._conflicts}

    def _hear(self, keys: frozenset[str] | None, revision: str) -> None:
        self._seen.add(revision)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _until_told(self, revision: str) -> None:
        async with asyncio.timeout(10):
            while revision not in self._seen:
                await self._news.wait()


@contextlib.asynccontextmanager
async def shared(
    directory: Path, processes: Sequence[Process], careless: bool = False
) -> AsyncIterator[Backend]:
    """A new file, open here and in all processes."""
    path = str(directory / "store.db")
    async with contextlib.AsyncExitStack() as stack:
        remotes = [await stack.enter_async_context(opened(each, path, careless)) for each in processes]
        backend = SharedBackend(path, remotes)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()
