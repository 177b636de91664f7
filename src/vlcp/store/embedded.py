"""The store of one machine: a SQLite file behind a snapshot in memory.

Reads come from memory. A commit is checked at once against everything accepted before it, written by the one writer
thread together with what else is waiting, and answered when it is in the file. So the file decides what readers see,
and commits that arrive at the same time share one transaction.

With `synchronous` NORMAL (the default) an answered commit survives the end of the process in every form, and a power
failure may take the last ones; FULL survives both and costs a flush of the disk per transaction
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from vlcp.store.contract import (
    Committed,
    Conflict,
    NotificationHandler,
    Preconditions,
    Snapshot,
    StoreError,
    StoreUnavailableError,
    Watcher,
)
from vlcp.store.database import SYNCHRONOUS, Commit, Database
from vlcp.store.table import Clock, Revisions, Table, check_writes
from vlcp.store.watches import Watches

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_BATCH = 1024
"""Commits in one transaction of the file at most."""


@dataclass(slots=True)
class _Queued:
    """A decided commit that is not yet in the file. A refused one waits too: what refused it may be in the queue."""

    writes: Mapping[str, bytes | None]
    result: Committed | Conflict
    answer: asyncio.Future[Committed | Conflict]


class EmbeddedBackend:
    """A `Backend` in the SQLite file `path`, for one process at a time.

    A disk that refuses gives `StoreUnavailableError` to every waiting commit and nothing of them happens; reads go on,
    and the next commit tries again.
    """

    def __init__(self, path: str, synchronous: str = "NORMAL") -> None:
        self._synchronous = synchronous.upper()
        if self._synchronous not in SYNCHRONOUS:
            raise ValueError(f"synchronous is {synchronous!r}; allowed are {', '.join(SYNCHRONOUS)}")
        self._path = path
        self._database = Database(path, self._synchronous)
        self._durable = self._accepted = Table()
        self._durable_revision = self._accepted_revision = ""
        self._revisions = Revisions()
        self._clock = Clock()
        self._watches = Watches()
        self._queue: list[_Queued] = []
        self._writing: list[_Queued] = []
        self._work = asyncio.Event()
        self._executor: ThreadPoolExecutor | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self._failed = False
        self._counts = dict.fromkeys(("reads", "commits", "conflicts", "transactions", "failures"), 0)

    async def open(self) -> None:
        """Lock and load the file; `StoreFileError` (a `StoreError`) when it cannot be used."""
        if self._writer is not None:
            return
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedded-store")
        try:
            contents = await self._in_thread(self._database.open)
        except BaseException:
            self._executor.shutdown(wait=False)
            self._executor = None
            raise
        self._load(contents.table, contents.revision)
        self._closing = self._failed = False
        self._writer = asyncio.create_task(self._write_queued(), name=f"embedded store {self._path}")
        self._watches.lost(self._durable_revision)

    async def close(self) -> None:
        """Write what is queued, then give the file free."""
        if self._writer is None or self._executor is None:
            return
        self._closing = True
        self._work.set()
        await self._writer
        self._writer = None
        await self._in_thread(self._database.close)
        self._executor.shutdown()
        self._executor = None

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        self._check_open()
        self._counts["reads"] += 1
        return self._durable.snapshot(keys, directories, self._clock.now(), self._durable_revision)

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        self._check_open()
        check_writes(writes)
        writes = dict(writes)
        result = self._decide(preconditions, writes)
        if isinstance(result, Conflict):
            writes = {}
        if not writes and not self._queue and not self._writing:
            return result
        answer: asyncio.Future[Committed | Conflict] = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(writes, result, answer))
        self._work.set()
        return await answer

    def keys(self) -> list[str]:
        """Every key, sorted."""
        self._check_open()
        return self._durable.keys()

    def watch(self, handler: NotificationHandler) -> Watcher:
        return self._watches.watch(handler)

    def statistics(self) -> Mapping[str, int | float | str]:
        return {
            "path": self._path,
            "synchronous": self._synchronous,
            "state": "closed" if self._writer is None else "failing" if self._failed else "open",
            "keys": len(self._durable),
            "queued": len(self._queue) + len(self._writing),
            **self._counts,
            **self._watches.statistics(),
        }

    def _decide(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        keys, directories = self._accepted.failing(preconditions)
        now = self._clock.now()
        if keys or directories:
            self._counts["conflicts"] += 1
            return Conflict(self._accepted.snapshot(keys, directories, now, self._accepted_revision))
        if writes:
            self._accepted_revision = self._revisions.next()
            self._accepted.apply(writes, self._accepted_revision)
        return Committed(self._accepted_revision, now)

    async def _write_queued(self) -> None:
        while not self._closing or self._queue:
            if not self._queue:
                self._work.clear()
                await self._work.wait()
                continue
            try:
                if self._failed:
                    await self._recover()
                self._writing, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                await self._write(self._writing)
            except Exception as error:
                self._fail(error)
            else:
                self._finish()

    async def _write(self, batch: Sequence[_Queued]) -> None:
        commits = [
            Commit(queued.writes, queued.result.version)
            for queued in batch
            if queued.writes and isinstance(queued.result, Committed)
        ]
        if commits:
            await self._in_thread(lambda: self._database.write(commits))
            self._counts["transactions"] += 1
            self._counts["commits"] += len(commits)

    def _finish(self) -> None:
        """The batch is in the file: show it to readers and watchers in commit order, then answer."""
        batch, self._writing = self._writing, []
        for queued in batch:
            if queued.writes and isinstance(queued.result, Committed):
                self._durable_revision = queued.result.version
                self._durable.apply(queued.writes, self._durable_revision)
                self._watches.publish(queued.writes, self._durable_revision)
            if not queued.answer.done():
                queued.answer.set_result(queued.result)

    def _fail(self, error: Exception) -> None:
        """Nothing of the batch happened, and what was accepted on top of it cannot stand either."""
        if not self._failed:
            _logger.error("commits are refused: %s", error)
        self._failed = True
        self._counts["failures"] += 1
        waiting, self._writing, self._queue = self._writing + self._queue, [], []
        self._accepted = Table(self._durable.items())
        self._accepted_revision = self._durable_revision
        for queued in waiting:
            if not queued.answer.done():
                queued.answer.set_exception(_unavailable(error))

    async def _recover(self) -> None:
        """Ask the file what it holds after a failed write. If that is not what readers see, start from there."""
        contents = await self._in_thread(lambda: self._database.recover(self._durable_revision))
        if contents is not None:
            self._load(contents.table, contents.revision)
            self._watches.lost(self._durable_revision)
            raise StoreUnavailableError(f"{self._path} was loaded again after a failed write")
        self._failed = False
        _logger.info("%s can be written again", self._path)

    def _load(self, table: Table, revision: str) -> None:
        self._durable, self._durable_revision = table, revision
        self._accepted, self._accepted_revision = Table(table.items()), revision

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    def _check_open(self) -> None:
        if self._writer is None or self._closing:
            raise StoreUnavailableError(f"the store {self._path} is not open")


def _unavailable(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    return StoreUnavailableError(f"cannot write the store: {error}")
