"""What a change sees of the store during a transaction."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlcp.derive.view import PendingError
from vlcp.store.contract import Entry, Preconditions, Snapshot
from vlcp.store.free import Candidates, FreeSets
from vlcp.store.known import Known
from vlcp.store.mirror import Mirror
from vlcp.store.table import directory_of


class TransactionView:
    """A `derive.view.View` over the mirror and the store. What was read once stays as it was read."""

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
        """Numbers whose member `name(number)` seems not to be in the directory: lowest first, each once an attempt.

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
            candidates = self._candidates[place]
            taken = self._taken(directory, candidates)
            self._iterators[place] = candidates.attempt(self._now(), taken, bool(self._conflicts or taken))
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

    @property
    def misses(self) -> int:
        """How many candidates turned out to be taken: so far the mirror is behind the store."""
        return sum(len(self._taken(place[0], candidates)) for place, candidates in self._candidates.items())

    def close(self, written: Iterable[str] = ()) -> None:
        """The end: give back the candidates that neither this change nor somebody else took."""
        keys = set(written)
        for (directory, _, _), candidates in self._candidates.items():
            names = {key[len(directory) :] for key in keys if key.startswith(directory)}
            names.update(map(candidates.free.name, self._taken(directory, candidates)))
            candidates.free.give_back(candidates.offered, names, self._now())

    def _taken(self, directory: str, candidates: Candidates) -> set[int]:
        keys = {number: directory + candidates.free.name(number) for number in candidates.offered}
        known = {number: self._known.get(key) for number, key in keys.items()}
        return {number for number, entry in known.items() if entry is not None and entry.version is not None}

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
