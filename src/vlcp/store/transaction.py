"""Transactions: a pure change reads a view, what it read becomes the condition under which its writes are committed.

What is guaranteed for a change that `Transactor.run` answered:

- Every key that it read still had the version that it saw when the commit happened: the commit is serialisable.
- `members()`: every listed member was still there, unchanged; a directory that was empty still was. A member that joined
  a directory which already had others may have been missed. Where that matters, read the member's own key, or demand
  the directory to be empty (`Outcome.empty`).
- An error that the change raised was true: what it had read was checked in the same way before the error was believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from vlcp.derive.view import PendingError
from vlcp.store.contract import (
    Backend,
    Committed,
    Conflict,
    Entry,
    Preconditions,
    Snapshot,
    StoreError,
    StoreUnavailableError,
)
from vlcp.store.free import Candidates, FreeSets
from vlcp.store.known import Known
from vlcp.store.mirror import Mirror
from vlcp.store.table import directory_of
from vlcp.store.turns import Turn, Turns

P = TypeVar("P")

_RECOVERY = 5.0
"""Seconds in which a lost reply is looked for, once the store is away."""
_PATIENT_CONFLICTS = 3
"""Conflicts after which a transaction waits a random while before it tries again."""


class TransactionTimeoutError(StoreError):
    """The transaction did not come to an end in its time. Nothing was written."""

    status = 503


class NotEmptyError(StoreError):
    """A directory that a change demands to be empty has members. Nothing was written."""

    status = 409

    def __init__(self, directory: str, names: Sequence[str]) -> None:
        first = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        super().__init__(f"{directory} is not empty: it has {len(names)} members ({first})")
        self.directory = directory


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


class TransactionView:
    """What a change sees: a `derive.view.View` over the mirror and the store. What was read once stays as it was read."""

    def __init__(self, mirror: Mirror, free_sets: FreeSets, now: Callable[[], int]) -> None:
        self._mirror = mirror
        self._free_sets = free_sets
        self._now = now
        self._known: dict[str, Known] = {}
        self._listings: dict[str, tuple[str, ...]] = {}
        self._candidates: dict[tuple[str, int, int], Candidates] = {}
        self._distrusted: set[str] = set()
        self._conflicts = 0
        self.begin()

    def get(self, key: Hashable) -> Any:
        """The value of a key; None when there is none."""
        return self._require(str(key)).get(str(key))

    def version(self, key: str) -> str | None:
        """The version of a key; None when it does not exist."""
        return self._require(key).version

    def many(self, keys: Iterable[Hashable]) -> list[Any]:
        """The values of keys, in their order; all that are unread are asked for at once."""
        names = [str(key) for key in keys]
        found = [self._find(name) for name in names]
        if any(known is None for known in found):
            raise PendingError(
                f"{sum(known is None for known in found)} of {len(found)} keys are not read yet"
            )
        return [known.get(name) for name, known in zip(names, found, strict=True) if known is not None]

    def members(self, directory: Hashable) -> Sequence[str]:
        """The names in a directory, sorted. For sets that stay small: every member becomes a precondition."""
        directory = str(directory)
        if directory not in self._listings and not self._list_from_mirror(directory):
            self.wanted_directories.add(directory)
            raise PendingError(f"{directory} is not read yet")
        self._used_directories.add(directory)
        return self._listings[directory]

    def call(self, function: Callable[..., Any], *arguments: Hashable) -> Any:
        """The value of `function(view, *arguments)`, remembered during one attempt."""
        call = (function, *arguments)
        if call not in self._calls:
            self._calls[call] = function(self, *arguments)
        return self._calls[call]

    def free(self, directory: str, first: int, last: int, name: Callable[[int], str]) -> Iterator[int]:
        """Numbers that seem free: whose member `name(number)` is not in the directory. Lowest first, each once an attempt.

        A candidate is only a proposal: read its key, and take it if that does not exist.
        """
        place = (directory, first, last)
        if place not in self._iterators:
            if place not in self._candidates:
                numbers = self._free_sets.get(directory, first, last, name)
                if numbers is None:
                    self.wanted_free.add(directory)
                    raise PendingError(f"the free numbers of {directory} are not read yet")
                self._candidates[place] = Candidates(numbers)
            self._iterators[place] = self._candidates[place].attempt(self._now(), self._conflicts)
        return self._iterators[place]

    # What the transactor does with it.

    def begin(self) -> None:
        """A new attempt: nothing is used yet; what is known stays."""
        self._used: set[str] = set()
        self._used_directories: set[str] = set()
        self._calls: dict[tuple[Any, ...], Any] = {}
        self._iterators: dict[tuple[str, int, int], Iterator[int]] = {}
        self.wanted_keys: set[str] = set()
        self.wanted_directories: set[str] = set()
        self.wanted_free: set[str] = set()

    @property
    def wants(self) -> bool:
        """Whether something was asked for in this attempt that is not read yet."""
        return bool(self.wanted_keys or self.wanted_directories or self.wanted_free)

    def preconditions(self, empty: frozenset[str] = frozenset()) -> Preconditions:
        """What was used in this attempt must still be so."""
        used = set(self._used)
        for directory in self._used_directories:
            used.update(directory + name for name in self._listings[directory])
        unlisted = {directory for directory in self._used_directories if not self._listings[directory]}
        return Preconditions({key: self._known[key].version for key in used}, empty | unlisted)

    def occupied(self, empty: Iterable[str]) -> str | None:
        """A directory that is known to have members although it must be empty; it counts as used then."""
        directory = next((directory for directory in empty if self._listings.get(directory)), None)
        if directory is not None:
            self._used_directories.add(directory)
        return directory

    def learn(self, snapshot: Snapshot) -> None:
        """Take over what was read."""
        for directory, listing in snapshot.listings.items():
            self._listings[directory] = tuple(sorted(key[len(directory) :] for key in listing))
            self.learn_entries(listing)
        self.learn_entries(snapshot.entries)

    def learn_entries(self, entries: Mapping[str, Entry | None]) -> None:
        for key, entry in entries.items():
            known = self._known.get(key)
            if known is None or entry is None or known.version != entry.version:
                self._known[key] = self._mirror.decoded(key, entry)

    def conflict(self, fresh: Snapshot) -> None:
        """Replace what was stale. Listings with a stale member are read again, past the mirror."""
        self._conflicts += 1
        for key in fresh.entries:
            directory = directory_of(key)
            if directory is not None and self._listings.pop(directory, None) is not None:
                self._distrusted.add(directory)
        self.learn(fresh)

    def close(self, written: Iterable[str] = ()) -> None:
        """The end: give back the candidates that were not taken."""
        keys = set(written)
        for (directory, _, _), candidates in self._candidates.items():
            names = {key[len(directory) :] for key in keys if key.startswith(directory)}
            candidates.free.give_back(candidates.offered, names, self._now())

    def _require(self, key: str) -> Known:
        known = self._find(key)
        if known is None:
            raise PendingError(f"{key} is not read yet")
        return known

    def _find(self, key: str) -> Known | None:
        known = self._known.get(key) or self._mirror.known(key)
        if known is None:
            self.wanted_keys.add(key)
            return None
        self._known[key] = known
        self._used.add(key)
        return known

    def _list_from_mirror(self, directory: str) -> bool:
        listing = None if directory in self._distrusted else self._mirror.listing(directory)
        if listing is None:
            return False
        self._known.update(listing)
        self._listings[directory] = tuple(sorted(key[len(directory) :] for key in listing))
        return True


class _Transaction(Generic[P]):
    """A change on its way."""

    def __init__(
        self,
        change: Callable[[TransactionView, P], Outcome],
        params: P,
        view: TransactionView,
        timeout: float,
    ) -> None:
        self.change = change
        self.params = params
        self.view = view
        self.timeout = timeout
        self.deadline = asyncio.get_running_loop().time() + timeout
        self.conflicts = 0
        self.lost = False
        self.turn: Turn | None = None
        self.written: dict[str, Entry | None] = {}

    def attempt(self) -> Outcome:
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
    """Runs changes against a backend. `encode(key, object)` gives the stored bytes; what it raises goes to the caller."""

    def __init__(self, backend: Backend, mirror: Mirror, encode: Callable[[str, Any], bytes]) -> None:
        self._backend = backend
        self._mirror = mirror
        self._encode = encode
        self._turns = Turns()
        self._free_sets = FreeSets(mirror)
        self._time = (time.time_ns() // 1000, time.monotonic_ns() // 1000)
        self._counts = dict.fromkeys(
            ("running", "committed", "failed", "attempts", "reads", "conflicts", "lost_replies", "timeouts"),
            0,
        )

    async def run(
        self, change: Callable[[TransactionView, P], Outcome], params: P, *, timeout: float = 60.0
    ) -> Result:
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

    async def _evaluate(self, transaction: _Transaction[P]) -> Outcome:
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

    async def _fetch(self, view: TransactionView) -> None:
        if view.wanted_free:
            await self._free_sets.ready(view.wanted_free)
        if view.wanted_keys or view.wanted_directories:
            self._counts["reads"] += 1
            snapshot = await self._backend.read(list(view.wanted_keys), list(view.wanted_directories))
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
            result = await self._backend.commit(preconditions, writes)
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

        Raises the error when neither can be said, or when the store loses a reply for the second time.
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
        if transaction.lost or not unchanged:
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
                snapshot = await self._backend.read(keys)
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
