"""The store of one machine: a SQLite file behind a snapshot in memory, shared by the processes of that machine.

Reads come from memory. Commits wait for the one thread that has the file: it takes all that wait, locks the file
against other processes, reads what these have committed, checks the preconditions against that, writes, and wakes the
others. So the file alone decides, and commits that arrive at the same time share one transaction. Without work the
thread looks for news when it is woken, and every 250 ms in case a wake-up was lost.

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
from functools import partial
from typing import NamedTuple, TypeVar

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
from vlcp.store.database import SYNCHRONOUS, Database
from vlcp.store.log import NO_NEWS, Commit, News
from vlcp.store.table import Clock, Draft, Revisions, Table, check_writes
from vlcp.store.wakeup import WakeUps
from vlcp.store.watches import Watches

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_BATCH = 1024
"""Commits in one transaction of the file at most."""
_LOOK = 0.25
"""Seconds between two looks at the file without being woken."""


@dataclass(slots=True, eq=False)
class _Queued:
    """A commit that is not yet decided."""

    preconditions: Preconditions
    writes: Mapping[str, bytes | None]
    answer: asyncio.Future[Committed | Conflict]


class _Step(NamedTuple):
    """What one transaction of the file brought: news of other processes, then our own commits."""

    news: News
    revision: str
    results: Sequence[Committed | Conflict]


class EmbeddedBackend:
    """A `Backend` in the SQLite file `path`.

    A disk that refuses, or another program that locks the file for more than 5 s, gives `StoreUnavailableError` to
    every waiting commit and nothing of them happens; reads go on, and the next commit tries again.
    """

    def __init__(self, path: str, synchronous: str = "NORMAL") -> None:
        self._synchronous = synchronous.upper()
        if self._synchronous not in SYNCHRONOUS:
            raise ValueError(f"synchronous is {synchronous!r}; allowed are {', '.join(SYNCHRONOUS)}")
        self._path = path
        self._database = Database(path, self._synchronous)
        self._wakeups = WakeUps(self._database.peers)
        self._table = Table()
        self._revision = ""
        self._revisions = Revisions()
        self._clock = Clock()
        self._watches = Watches()
        self._queue: list[_Queued] = []
        self._waiting = 0
        self._work = asyncio.Event()
        self._executor: ThreadPoolExecutor | None = None
        self._writer: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._failed = self._refused = False
        self._counts = dict.fromkeys(
            (
                *("reads", "commits", "conflicts", "transactions", "failures"),
                *("catch_ups", "foreign_commits", "reloads"),
            ),
            0,
        )

    async def open(self) -> None:
        """Load the file, and create it if it is missing; `StoreFileError` (a `StoreError`) when it cannot be used."""
        if self._writer is not None:
            return
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedded-store")
        try:
            self._table, self._revision = await self._in_thread(self._database.open)
        except BaseException:
            # Who gave up may have left it open; it is closed some time, so the next open has another one.
            self._executor.submit(self._database.close)
            self._executor.shutdown(wait=False)
            self._executor, self._database = None, Database(self._path, self._synchronous)
            raise
        self._closing, self._failed, self._refused = None, False, False
        self._wakeups.listen(self._work.set)
        self._writer = asyncio.create_task(self._run(), name=f"embedded store {self._path}")
        self._tick()
        self._watches.lost(self._revision)

    async def close(self) -> None:
        """Write what is queued, then give the file free; also when the caller does not wait for the end."""
        if self._writer is None:
            return
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(self._writer), name=f"close {self._path}")
            self._work.set()
        await asyncio.shield(self._closing)

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        self._check_open()
        self._counts["reads"] += 1
        return self._table.snapshot(keys, directories, self._clock.now(), self._revision)

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        self._check_open()
        check_writes(writes)
        answer: asyncio.Future[Committed | Conflict] = asyncio.get_running_loop().create_future()
        queued = _Queued(preconditions, dict(writes), answer)
        self._queue.append(queued)
        self._work.set()
        try:
            return await answer
        except asyncio.CancelledError:
            if queued in self._queue:  # not begun, so it does not happen
                self._queue.remove(queued)
            raise

    def keys(self) -> list[str]:
        """Every key, sorted."""
        self._check_open()
        return self._table.keys()

    def watch(self, handler: NotificationHandler) -> Watcher:
        return self._watches.watch(handler)

    def statistics(self) -> Mapping[str, int | float | str]:
        failing = self._failed or self._refused
        return {
            "path": self._path,
            "synchronous": self._synchronous,
            "state": "closed" if self._writer is None else "failing" if failing else "open",
            "keys": len(self._table),
            "log_rows": self._database.log_rows,
            "queued": len(self._queue) + self._waiting,
            **self._counts,
            **self._wakeups.statistics(),
            **self._watches.statistics(),
        }

    # In the event loop.

    async def _close(self, writer: asyncio.Task[None]) -> None:
        await writer
        if self._ticker is not None:
            self._ticker.cancel()
        self._wakeups.close()
        await self._in_thread(self._database.close)
        if self._executor is not None:
            self._executor.shutdown()
        self._writer = self._executor = None

    def _tick(self) -> None:
        self._wakeups.stale = True
        self._work.set()
        self._ticker = asyncio.get_running_loop().call_later(_LOOK, self._tick)

    async def _run(self) -> None:
        while self._closing is None or self._queue:
            if not self._queue:
                await self._work.wait()
            self._work.clear()
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            self._waiting = len(batch)
            try:
                step = await self._in_thread(partial(self._step, batch))
            except Exception as error:
                self._fail(error, batch)
            else:
                self._finish(batch, step)
            self._waiting = 0
            if self._wakeups.deaf:
                self._wakeups.listen(self._work.set)

    def _finish(self, batch: Sequence[_Queued], step: _Step) -> None:
        """The file has it: show it to readers and watchers in commit order, then answer."""
        self._failed = False
        self._take(step.news, step.revision)
        wrote = 0
        for queued, result in zip(batch, step.results, strict=True):
            if isinstance(result, Conflict):
                self._counts["conflicts"] += 1
            elif queued.writes:
                wrote += 1
                self._revision = result.version
                self._table.apply(queued.writes, self._revision)
                self._watches.publish(queued.writes, self._revision)
            if not queued.answer.done():
                queued.answer.set_result(result)
        if wrote:
            self._counts["transactions"] += 1
            self._counts["commits"] += wrote
            if self._refused:
                self._refused = False
                _logger.info("%s can be written again", self._path)

    def _take(self, news: News, revision: str) -> None:
        """Show what other processes did."""
        if news.table is not None:
            self._counts["reloads"] += 1
            self._table, self._revision = news.table, revision
            self._watches.lost(revision)
        elif news.commits:
            self._counts["catch_ups"] += 1
            self._counts["foreign_commits"] += len(news.commits)
            self._table.put(news.entries)
            self._revision = revision
            for logged in news.commits:
                self._watches.publish(logged.keys, logged.revision)

    def _fail(self, error: Exception, batch: Sequence[_Queued]) -> None:
        """Nothing of the batch happened. What waits behind it is refused too, instead of waiting once more as long."""
        waiting, self._queue = [*batch, *self._queue], []
        if not self._failed and not self._refused:
            _logger.error("commits are refused: %s", error)
        self._counts["failures"] += not self._failed or bool(waiting)
        self._failed = True
        self._refused = self._refused or bool(waiting)
        for queued in waiting:
            if not queued.answer.done():
                queued.answer.set_exception(_unavailable(error))

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    def _check_open(self) -> None:
        if self._writer is None or self._closing is not None:
            raise StoreUnavailableError(f"the store {self._path} is not open")

    # In the thread, while the writer task waits for it: the table does not change meanwhile.

    def _step(self, batch: Sequence[_Queued]) -> _Step:
        if self._failed:
            self._database.recover()
        if self._wakeups.stale:
            self._wakeups.look()
        with self._database.transaction(any(queued.writes for queued in batch)) as transaction:
            news = self._worth_telling(transaction.news())
            revision = transaction.position.revision
            draft = Draft(self._table if news.table is None else news.table, revision)
            draft.put(news.entries, revision)
            results = [self._decide(draft, queued) for queued in batch]
            commits = [
                Commit(queued.writes, result.version)
                for queued, result in zip(batch, results, strict=True)
                if queued.writes and isinstance(result, Committed)
            ]
            if commits:
                transaction.write(commits)
        if commits:
            self._wakeups.send()
        return _Step(news, revision, results)

    def _worth_telling(self, news: News) -> News:
        """A file that was read as a whole may hold what is known."""
        return NO_NEWS if news.table is not None and news.table.equals(self._table) else news

    def _decide(self, draft: Draft, queued: _Queued) -> Committed | Conflict:
        keys, directories = draft.failing(queued.preconditions)
        now = self._clock.now()
        if keys or directories:
            return Conflict(draft.snapshot(keys, directories, now))
        if queued.writes:
            draft.apply(queued.writes, self._revisions.next())
        return Committed(draft.revision, now)


def _unavailable(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    return StoreUnavailableError(f"cannot write the store: {error}")
