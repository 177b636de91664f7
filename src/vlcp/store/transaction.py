"""Transactions: a pure change reads a view, what it read becomes the condition under which its writes are committed.

What is guaranteed for a change that `Transactor.run` answered:

- Every key that it read still had the version that it saw when the commit happened: the commit is serialisable.
- `members()`: every listed member was still there, unchanged; a directory that was empty still was. A member that
  joined a directory which already had others may have been missed. Where that matters, read the member's own key, or
  demand the directory to be empty (`Outcome.empty`).
- An error that the change raised was true: what it had read was checked in the same way before the error was believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from vlcp.derive.view import PendingError
from vlcp.store.contract import (
    Backend,
    Committed,
    Conflict,
    Entry,
    Preconditions,
    StoreUnavailableError,
)
from vlcp.store.errors import NotEmptyError, TransactionTimeoutError
from vlcp.store.free import FreeSets
from vlcp.store.mirror import Mirror
from vlcp.store.patience import PATIENCE, NoAnswerError, answered
from vlcp.store.turns import Turn, Turns
from vlcp.store.view import TransactionView

__all__ = [
    "ChangeOutcome",
    "NotEmptyError",
    "Outcome",
    "Result",
    "TransactionTimeoutError",
    "TransactionView",
    "Transactor",
]

P = TypeVar("P")

_RECOVERY = 5.0
"""Seconds in which a lost reply is looked for, once the store is away."""
_CATCH_UP = 0.004
"""Seconds at most for the mirror to catch up when a number that seemed free is taken."""
_PATIENT_CONFLICTS = 3
"""Conflicts after which a transaction waits a random while before it tries again."""


class ChangeOutcome(Protocol):
    """What a change returns; `Outcome` is one, and a layer that may not import this one has its own."""

    @property
    def writes(self) -> Mapping[str, Any | None]: ...

    @property
    def empty(self) -> frozenset[str]: ...

    @property
    def answer(self) -> Any: ...


class Outcome(NamedTuple):
    """What a change wants.

    `writes`: key -> object, None deletes. `empty`: directories that must have no member before the writes, else
    `NotEmptyError`. `answer`: for the caller.
    """

    writes: Mapping[str, Any | None]
    empty: frozenset[str] = frozenset()
    answer: Any = None


class Result(NamedTuple):
    """A committed change: its answer, the version of what it wrote, and the store's time (microseconds since 1970)."""

    answer: Any
    version: str
    time: int


Change = Callable[[TransactionView, P], ChangeOutcome]


class _Transaction(Generic[P]):
    """A change on its way."""

    def __init__(self, change: Change[P], params: P, view: TransactionView, timeout: float) -> None:
        self.change = change
        self.params = params
        self.view = view
        self.timeout = timeout
        self.deadline = asyncio.get_running_loop().time() + timeout
        self.conflicts = 0
        self.misses = 0
        self.lost = False
        self.turn: Turn | None = None
        self.written: dict[str, Entry | None] = {}

    def attempt(self) -> ChangeOutcome:
        self.view.begin()
        return self.change(self.view, self.params)

    def check_time(self) -> None:
        if asyncio.get_running_loop().time() > self.deadline:
            raise self.timed_out()

    def timed_out(self) -> TransactionTimeoutError:
        return TransactionTimeoutError(
            f"the transaction did not end in {self.timeout:g} s ({self.conflicts} conflicts); nothing was written"
        )


class Transactor:
    """Runs changes against a backend. What `encode(key, object)` raises goes to the caller."""

    def __init__(
        self,
        backend: Backend,
        mirror: Mirror,
        encode: Callable[[str, Any], bytes],
        patience: float = PATIENCE,
    ) -> None:
        """`patience`: seconds that the store may take for one answer."""
        self._backend = backend
        self._patience = patience
        self._mirror = mirror
        self._encode = encode
        self._turns = Turns()
        self._free_sets = FreeSets(mirror)
        self._time = (time.time_ns() // 1000, time.monotonic_ns() // 1000)
        self._counts = dict.fromkeys(
            ("running", "committed", "failed", "attempts", "reads", "conflicts", "lost_replies", "timeouts"),
            0,
        )

    async def run(self, change: Change[P], params: P, *, timeout: float = 60.0) -> Result:  # noqa: ASYNC109 (its own error)
        """Run a pure change until it is committed or raises. It may be called any number of times.

        `timeout` is in seconds; then `TransactionTimeoutError`. `StoreUnavailableError`: the store is away; if a commit
        was under way, and neither it nor its absence can be seen in the store, whether it happened is unknown.
        """
        view = TransactionView(self._mirror, self._free_sets, self.now)
        transaction = _Transaction(change, params, view, timeout)
        self._counts["running"] += 1
        try:
            result = await self._run(transaction)
            self._counts["committed"] += 1
            return result
        except BaseException:
            self._counts["failed"] += 1
            raise
        finally:
            self._counts["running"] -= 1
            view.close(transaction.written)
            if transaction.turn is not None:
                self._turns.leave(transaction.turn, transaction.written)

    def now(self) -> int:
        """The store's time as far as it is known here: microseconds since 1970, never going back."""
        stored, seen = self._time
        return stored + time.monotonic_ns() // 1000 - seen

    def close(self) -> None:
        """Follow no directory any more."""
        self._free_sets.close()

    def statistics(self) -> Mapping[str, int | float | str]:
        return {**self._counts, **self._turns.statistics(), **self._free_sets.statistics()}

    async def _run(self, transaction: _Transaction[P]) -> Result:
        while True:
            outcome = await self._evaluate(transaction)
            await self._check_empty(transaction, outcome.empty)
            if await self._take_turn(transaction, outcome.writes):
                continue
            writes = {
                key: None if value is None else self._encode(key, value)
                for key, value in outcome.writes.items()
            }
            committed = await self._commit(transaction, transaction.view.preconditions(outcome.empty), writes)
            if committed is not None:
                return Result(outcome.answer, committed.version, committed.time)

    async def _evaluate(self, transaction: _Transaction[P]) -> ChangeOutcome:
        """Run the change until it has read everything that it asks for."""
        view = transaction.view
        while True:
            transaction.check_time()
            self._counts["attempts"] += 1
            try:
                outcome = transaction.attempt()
            except Exception as error:
                if not view.wants and (isinstance(error, PendingError) or await self._holds(transaction)):
                    raise
            else:
                if not view.wants:
                    return outcome
            async with self._in_time(transaction):
                await self._fetch(view)
                if view.misses > transaction.misses:
                    transaction.misses = view.misses
                    await asyncio.sleep(random.uniform(0, _CATCH_UP))

    async def _fetch(self, view: TransactionView) -> None:
        if view.wanted_free:
            await answered(self._free_sets.ready(view.wanted_free), self._patience)
        if view.wanted_keys or view.wanted_directories:
            self._counts["reads"] += 1
            read = self._backend.read(list(view.wanted_keys), list(view.wanted_directories))
            snapshot = await answered(read, self._patience)
            self._heard(snapshot.time)
            view.learn(snapshot)

    async def _holds(self, transaction: _Transaction[P]) -> bool:
        """Whether everything that a failed attempt read is still so; if not, the view knows better now."""
        preconditions = transaction.view.preconditions()
        if not preconditions.versions and not preconditions.empty:
            return True
        return await self._commit(transaction, preconditions, {}) is not None

    async def _check_empty(self, transaction: _Transaction[P], empty: frozenset[str]) -> None:
        directory = transaction.view.occupied(empty)
        if directory is not None and await self._holds(transaction):
            raise NotEmptyError(directory, transaction.view.members(directory))

    async def _take_turn(self, transaction: _Transaction[P], writes: Mapping[str, Any]) -> bool:
        """Queue for the keys that are written. True: somebody before us wrote what we read, run again."""
        turn = transaction.turn
        if turn is not None and writes.keys() <= turn.keys:
            return False
        if turn is not None:
            transaction.turn = None
            self._turns.leave(turn, {})
        async with self._in_time(transaction):
            transaction.turn = await self._turns.enter(writes.keys())
        transaction.view.learn_entries(transaction.turn.handed)
        return bool(transaction.turn.handed)

    async def _commit(
        self, transaction: _Transaction[P], preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | None:
        """None: it did not happen, run again."""
        try:
            result = await answered(self._backend.commit(preconditions, writes), self._patience)
        except StoreUnavailableError as error:
            found = await self._find_out(transaction, preconditions, writes, error)
            if found is None:
                return None
            result = found
        if isinstance(result, Conflict):
            self._heard(result.fresh.time)
            transaction.view.conflict(result.fresh)
            transaction.conflicts += 1
            self._counts["conflicts"] += 1
            await self._give_way(transaction)
            return None
        self._heard(result.time)
        transaction.written = {
            key: None if value is None else Entry(value, result.version) for key, value in writes.items()
        }
        return result

    async def _give_way(self, transaction: _Transaction[P]) -> None:
        excess = max(0, transaction.conflicts - _PATIENT_CONFLICTS)
        async with self._in_time(transaction):
            await asyncio.sleep(random.uniform(0, min(0.002 * excess, 0.1)))

    async def _find_out(
        self,
        transaction: _Transaction[P],
        preconditions: Preconditions,
        writes: Mapping[str, bytes | None],
        error: StoreUnavailableError,
    ) -> Committed | None:
        """The reply to a commit was lost: recognise it by a key that it created. None: it did not happen.

        Raises the error when neither can be said, also because the commit may still happen, or when the store loses a
        reply for the second time.
        """
        if not writes:
            raise error
        self._counts["lost_replies"] += 1
        versions = preconditions.versions
        entries, now = await self._read_back(transaction, list(writes), error)
        for key, value in writes.items():
            entry = entries[key]
            created = key in versions and versions[key] is None
            if created and entry is not None and entry.value == value:
                return Committed(entry.version, now)
        unchanged = all(
            key in versions and (entry.version if entry is not None else None) == versions[key]
            for key, entry in entries.items()
        )
        if transaction.lost or not unchanged or isinstance(error, NoAnswerError):
            raise error
        transaction.lost = True
        return None

    async def _read_back(
        self, transaction: _Transaction[P], keys: list[str], error: StoreUnavailableError
    ) -> tuple[Mapping[str, Entry | None], int]:
        loop = asyncio.get_running_loop()
        end = min(transaction.deadline, loop.time() + _RECOVERY)
        delay = 0.01
        while True:
            try:
                snapshot = await answered(self._backend.read(keys), self._patience)
            except StoreUnavailableError:
                if loop.time() + delay > end:
                    raise error from None
                await asyncio.sleep(delay)
                delay = min(delay * 2, 0.5)
            else:
                return snapshot.entries, snapshot.time

    @contextlib.asynccontextmanager
    async def _in_time(self, transaction: _Transaction[P]) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(transaction.deadline):
                yield
        except TimeoutError:
            self._counts["timeouts"] += 1
            raise transaction.timed_out() from None

    def _heard(self, stored: int) -> None:
        self._time = (max(stored, self.now()), time.monotonic_ns() // 1000)
