"""Free numbers of a directory that keeps one member per taken number: addresses, tags, network numbers."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import heappop, heappush

from vlcp.store.mirror import Change, Mirror

WINDOW = 64
"""After a conflict a random one of so many free numbers is tried."""
_SETS = 1024
"""Sets of free numbers that are kept; the one used longest ago goes first."""
_GRACE = 5_000_000
"""Microseconds after a commit until a number that never showed up as taken is offered again."""


class FreeNumbers:
    """Numbers `first` .. `last` whose member `name(number)` is not in `members` (live names, or what was known last).

    Nothing is promised: the members may be behind the store. Whoever takes a number makes "its key does not exist" a
    precondition. A number offered to one owner is not offered to another until the first gives it back.

    Below the cursor every number is either in the heap (believed free) or passed (taken, or on offer).
    """

    def __init__(self, first: int, last: int, name: Callable[[int], str], members: Collection[str]) -> None:
        self.name = name
        self._last = last
        self._members = members
        self._cursor = first
        self._heap: list[int] = []
        self._passed: dict[str, int] = {}
        self._offered: set[int] = set()
        self._settling: deque[tuple[int, int]] = deque()

    def offer(self, now: int, spread: bool = False) -> int | None:
        """The lowest free number that nobody was offered, or with `spread` a random one of the next 64.

        None if there is none. `now` is in microseconds.
        """
        while self._settling and self._settling[0][0] <= now:
            self._return(self._settling.popleft()[1])
        window: list[int] = []
        while len(window) < (WINDOW if spread else 1) and (number := self._next()) is not None:
            window.append(number)
        if not window:
            return None
        chosen = window.pop(random.randrange(len(window)))
        for number in window:
            self._return(number)
        self._offered.add(chosen)
        return chosen

    def contested(self) -> list[int]:
        """The numbers that somebody was offered and that are not known to be taken: the last resort."""
        return sorted(number for number in self._offered if self.name(number) not in self._members)

    def left(self, names: Iterable[str]) -> None:
        """These names are no members any more."""
        for name in names:
            number = self._passed.get(name)
            if number is not None and number not in self._offered:
                self._return(number)

    def give_back(self, numbers: Iterable[int], written: Collection[str], now: int) -> None:
        """The end of an offer. A number whose name was `written` stays out until the members show it, or for 5 s."""
        for number in numbers:
            if self.name(number) in written:
                self._settling.append((now + _GRACE, number))
            else:
                self._return(number)

    def _next(self) -> int | None:
        while self._heap or self._cursor <= self._last:
            if self._heap:
                number = heappop(self._heap)
            else:
                number = self._cursor
                self._cursor += 1
            name = self.name(number)
            self._passed[name] = number
            if name not in self._members:
                return number
        return None

    def _return(self, number: int) -> None:
        """Put a number back into the heap, unless it is taken; then it comes back when its name has left."""
        self._offered.discard(number)
        name = self.name(number)
        if name not in self._members and self._passed.pop(name, None) is not None:
            heappush(self._heap, number)


class Candidates:
    """The free numbers offered to one transaction: the same ones in every attempt, and more as they are needed."""

    def __init__(self, free: FreeNumbers) -> None:
        self.free = free
        self.offered: list[int] = []

    def attempt(self, now: int, taken: Collection[int], spread: bool) -> Iterator[int]:
        """The candidates of one attempt without those that are known to be taken.

        `spread`: another host walks the same way, so new ones are not the lowest.
        """
        yield from [number for number in self.offered if number not in taken]
        while (number := self.free.offer(now, spread)) is not None:
            self.offered.append(number)
            yield number
        yield from (number for number in self.free.contested() if number not in self.offered)


class FreeSets:
    """The sets of free numbers of a process, each loaded once and then kept up to date by the mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._reader = mirror.reader(self._changed)
        self._directories: OrderedDict[str, dict[tuple[int, int], FreeNumbers]] = OrderedDict()

    def get(self, directory: str, first: int, last: int, name: Callable[[int], str]) -> FreeNumbers | None:
        """The set of a directory and range, None while the directory is not `ready`. `name` is the same every time."""
        members = self._mirror.names(directory)
        if directory not in self._directories or members is None:
            return None
        self._directories.move_to_end(directory)
        sets = self._directories[directory]
        if (first, last) not in sets:
            sets[first, last] = FreeNumbers(first, last, name, members)
        return sets[first, last]

    async def ready(self, directories: Collection[str]) -> None:
        """Follow directories and wait until they are known."""
        for directory in directories:
            self._directories.setdefault(directory, {})
            self._directories.move_to_end(directory)
        while len(self._directories) > max(_SETS, len(directories)):
            oldest, _ = self._directories.popitem(last=False)
            self._reader.release(directories=[oldest])
        await self._reader.ready(directories=directories)

    def close(self) -> None:
        self._reader.close()
        self._directories.clear()

    def statistics(self) -> dict[str, int]:
        return {"free_sets": sum(map(len, self._directories.values()))}

    def _changed(self, change: Change) -> None:
        for directory, names in change.left.items():
            for numbers in self._directories.get(directory, {}).values():
                numbers.left(names)
