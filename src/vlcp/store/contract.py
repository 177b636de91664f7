"""What every store is: keys with versions, atomic compare-and-set, and watches that lose nothing.

Keys are strings; a key that contains `/` is a member of the *directory* named by everything up to and including
its last `/` (`viperflow.logicnetwork.a/ports/p1` is the member `p1` of `viperflow.logicnetwork.a/ports/`). A
directory exists as long as it has a member. Values are bytes: codecs belong to the layers above.

Versions are opaque: equal or not equal, never ordered and never counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A stored value and the commit that wrote it."""

    value: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state of what was asked for.

    `entries`: key -> entry, None when the key does not exist. `listings`: directory -> {member key: entry}
    (whole keys, not names). `time`: the store's clock, microseconds since 1970. `revision`: the last commit seen.
    """

    entries: Mapping[str, Entry | None]
    listings: Mapping[str, Mapping[str, Entry]]
    time: int
    revision: str


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What must still be true for a commit to happen.

    `versions`: key -> version it must have, None when it must not exist. `empty`: directories without a member.
    """

    versions: Mapping[str, str | None] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit happened: every written key now has this version."""

    version: str
    time: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was written; `fresh` holds the present state of every key and directory whose precondition failed."""

    fresh: Snapshot


class StoreError(Exception):
    """The base of what a store raises. `status`, where a class has one, is the HTTP status that tells a caller."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached now; whether a commit happened is unknown if one was under way."""

    status = 503


class TooLargeError(StoreError):
    """The commit is larger than the store takes; the text names the limit."""

    status = 413


class NotificationHandler(Protocol):
    """Called in the event loop, in commit order, once per commit, with every watched key that it wrote or deleted.

    `keys` holds whole keys: those watched by name and the members of watched directories. `revision` is the commit.
    None as `keys` means: notifications may have been lost, read again everything that you watch. No reply shows a
    commit before the notification of it was delivered, so that all keys of a commit can be read together.
    """

    def __call__(self, keys: frozenset[str] | None, revision: str) -> None: ...


class Watcher(Protocol):
    """A set of watched keys and directories. After `add` returns no later commit to them is missed."""

    async def add(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def remove(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def close(self) -> None: ...


class Backend(Protocol):
    """One store. Every method may raise `StoreUnavailableError`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        """One consistent snapshot of keys and listings."""
        ...

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        """Write all or nothing (None deletes a key), if every precondition holds. No writes: only check."""
        ...

    def watch(self, handler: NotificationHandler) -> Watcher: ...

    def statistics(self) -> Mapping[str, int | float | str]: ...


BackendFactory = Callable[[], Backend]
