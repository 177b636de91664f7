"""The one copy of the store in this process: what somebody wants is watched, decoded once and shared.

What a reader is promised:

- A key is watched before it is read, so no change after the first value is missed.
- All keys of one commit become visible in one `Change`: keys that were notified together are read together, and what is
  notified during a read is read again with it.
- While the store is away the last values stay. When notifications may have been lost everything is read again, and only
  what really differs is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from vlcp.derive.view import UNREAD, Unread
from vlcp.store.contents import Contents, Wants
from vlcp.store.contract import Backend, Entry, Snapshot, StoreUnavailableError, Watcher
from vlcp.store.known import Change, Known, UndecodableError
from vlcp.store.table import directory_of

__all__ = ["Change", "Known", "Mirror", "Reader", "UndecodableError"]

_logger = logging.getLogger(__name__)

_READS = 16
"""Reads of one round at most while commits keep arriving; then the last is taken, or a busy store would starve us."""
_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0
"""Seconds between attempts to reach a store that is away."""


class Mirror:
    """Keeps what its readers want. `decode(key, data)` may raise; that makes only its key undecodable."""

    def __init__(self, backend: Backend, decode: Callable[[str, bytes], Any]) -> None:
        self._backend = backend
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._wants: Wants[Reader] = {}
        self._asked: Wants[Reader] = {}
        self._contents = Contents(decode, self._wants)
        self._watched: set[str] = set()
        self._released: set[str] = set()
        self._stale: set[str] = set()
        self._reading: set[str] = set()
        self._everything = False
        self._work = asyncio.Event()
        self._shown = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._away: StoreUnavailableError | None = None
        self._counts = dict.fromkeys(("rounds", "reads", "notifications", "outages"), 0)

    async def start(self) -> None:
        if self._task is None:
            self._away = None
            self._everything = True
            self._work.set()
            self._watcher = self._backend.watch(self._notified)
            self._task = asyncio.create_task(self._run(self._watcher), name="store mirror")

    async def stop(self) -> None:
        """Stop following the store. The last values stay readable."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if self._watcher is not None:
            self._watcher.close()
        self._watched.clear()
        self._tell_waiters(StoreUnavailableError("the mirror of the store is stopped"))

    @property
    def away(self) -> bool:
        """Whether the store cannot be reached, so that the values may be old."""
        return self._away is not None

    def reader(self, on_change: Callable[[Change], None]) -> Reader:
        """A new reader. `on_change` is called in the event loop; what it raises is logged."""
        return Reader(self, self._contents, on_change)

    def known(self, key: str) -> Known | None:
        """What the mirror knows of a key that any reader wants; None if nothing, or if it was just told of a change."""
        told = key in self._stale or key in self._reading or self._everything
        return None if told else self._contents.look_up(key)

    def last(self, key: str) -> Known | None:
        """The last that was known of a key that any reader wants, even if it was told of a change since."""
        return self._contents.look_up(key)

    def names(self, directory: str) -> Collection[str] | None:
        """The names in a directory that any reader wants (a live collection); None if it is not known."""
        return self._contents.names(directory)

    def listing(self, directory: str) -> dict[str, Known] | None:
        """Member key -> what is known of it, if the mirror knows the directory and was not just told of a change."""
        names = self._contents.names(directory)
        if names is None or self._everything or directory in self._reading:
            return None
        if any(directory_of(key) == directory for key in (*self._stale, *self._reading)):
            return None
        return {key: known for name in names if (known := self._contents.look_up(key := directory + name))}

    def decoded(self, key: str, entry: Entry | None) -> Known:
        """An entry of the store with its decoded value."""
        return self._contents.decoded(key, entry)

    @property
    def undecodable(self) -> dict[str, str]:
        """The keys that were read and could not be decoded last, with the reason."""
        return self._contents.undecodable

    def statistics(self) -> Mapping[str, int | float | str]:
        return {
            "state": "stopped" if self._task is None else "store away" if self._away else "running",
            "readers": len({reader for readers in self._wants.values() for reader in readers}),
            "watched": len(self._watched),
            **self._contents.statistics(),
            **self._counts,
        }

    # What readers call.

    def want(self, reader: Reader, names: Iterable[str]) -> None:
        for name in names:
            self._wants.setdefault(name, {})[reader] = False
            self._asked.setdefault(name, {})[reader] = False
        self._work.set()

    def release(self, reader: Reader, names: Iterable[str]) -> None:
        for name in names:
            _discard(self._asked, name, reader)
            if _discard(self._wants, name, reader):
                self._released.add(name)
                self._contents.forget(name)
        self._work.set()

    async def caught_up(self) -> None:
        """Wait until every commit that was told of before is visible. While the store is away the last values do."""
        told = self._counts["notifications"]
        while self._task is not None and self._away is None and self._shown < told:
            with contextlib.suppress(StoreUnavailableError):
                await self.settled()

    async def settled(self) -> None:
        """Wait for the end of a round. `StoreUnavailableError` if it fails, or if the store is away."""
        if self._task is None:
            raise StoreUnavailableError("the mirror of the store is not running")
        if self._away is not None:
            raise StoreUnavailableError(*self._away.args)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    # Rounds: take what the store told and what readers ask for, read it, show it.

    def _notified(self, keys: frozenset[str] | None, revision: str) -> None:
        self._counts["notifications"] += 1
        if keys is None:
            self._everything = True
        else:
            self._stale |= keys
        self._work.set()

    async def _run(self, watcher: Watcher) -> None:
        delay = _FIRST_DELAY
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._round(watcher)
            except Exception as error:
                self._lost(error)
                await asyncio.sleep(delay * random.uniform(0.5, 1.5))
                delay = min(delay * 2, _LAST_DELAY)
                self._work.set()
            else:
                delay = _FIRST_DELAY
                self._found()

    async def _round(self, watcher: Watcher) -> None:
        self._unwatch(watcher)
        asked, self._asked = self._asked, {}
        try:
            new = await self._watch(watcher, self._wants if self._everything else asked)
            snapshot = await self._read(new)
            self._reading.clear()
        except BaseException:
            self._reading.clear()
            for name, readers in asked.items():
                self._asked.setdefault(name, {}).update(readers)
            raise
        self._counts["rounds"] += 1
        for reader, change in self._contents.take(snapshot, asked).items():
            reader.tell(change)

    async def _watch(self, watcher: Watcher, asked: Iterable[str]) -> set[str]:
        """Watch what is not watched yet. Returns what must be read: the newly watched, and what is not known."""
        new = set(asked) - self._watched
        if new:
            await watcher.add(*_split(new))
            self._watched |= new
        return new | {name for name in asked if not self._contents.has(name)}

    def _unwatch(self, watcher: Watcher) -> None:
        released, self._released = self._released, set()
        gone = {name for name in released & self._watched if name not in self._wants}
        if gone:
            watcher.remove(*_split(gone))
            self._watched -= gone

    async def _read(self, new: set[str]) -> Snapshot | None:
        """One snapshot of what is new and of what is stale. None: nothing to read."""
        snapshot, told = None, self._shown
        for _ in range(_READS):
            stale, everything = self._stale, self._everything
            self._stale, self._everything = set(), False
            told = self._counts["notifications"]
            names = new | stale | (self._watched & self._wants.keys() if everything else set())
            self._reading |= names
            try:
                snapshot = await self._backend.read(*_split(names)) if names else None
            except BaseException:
                self._restore(stale, everything)
                raise
            self._counts["reads"] += bool(names)
            if not self._stale and not self._everything:
                break
            self._restore(stale, everything)
        self._shown = told
        return snapshot

    def _restore(self, stale: set[str], everything: bool) -> None:
        self._stale |= stale
        self._everything |= everything

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, StoreUnavailableError):
            _logger.error("the mirror cannot follow the store", exc_info=error)
            error = StoreUnavailableError(f"the mirror cannot follow the store: {error}")
        elif self._away is None:
            _logger.warning("the store is away, its last values are kept: %s", error)
        self._counts["outages"] += self._away is None
        self._away = error
        self._tell_waiters(error)

    def _found(self) -> None:
        if self._away is not None:
            self._away = None
            _logger.info("the store is back")
        self._tell_waiters(None)

    def _tell_waiters(self, error: StoreUnavailableError | None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(StoreUnavailableError(*error.args))


class Reader:
    """One reader's part of the mirror: a `derive.view.Source` that sees the keys and directories that it wants.

    Wants are a set: wanting twice is wanting once. A key in a wanted directory need not be wanted by itself.
    """

    def __init__(
        self, mirror: Mirror, contents: Contents[Reader], on_change: Callable[[Change], None]
    ) -> None:
        self._mirror = mirror
        self._contents = contents
        self._on_change = on_change
        self._wanted: set[str] = set()

    def get(self, key: Any) -> Any:
        """The value, None when there is none, or `UNREAD`. `UndecodableError` for this key only."""
        known = self._look_up(key)
        return UNREAD if known is None else known.get(key)

    def known(self, key: str) -> Known | None:
        """What is known of a key; None if nothing is."""
        return self._look_up(key)

    def version(self, key: str) -> str | Unread | None:
        """The version of a key, None when it does not exist, or `UNREAD`."""
        known = self._look_up(key)
        return UNREAD if known is None else known.version

    def members(self, directory: Any) -> Collection[str] | Unread:
        """The names in a directory (a live collection: do not keep it), or `UNREAD`."""
        names = self._contents.names(directory) if directory in self._wanted else None
        return UNREAD if names is None else names

    def want(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        """Follow keys and directories from now on. Returns at once; what becomes known arrives by `on_change`."""
        new = _checked(keys, directories) - self._wanted
        if new:
            self._wanted |= new
            self._mirror.want(self, new)

    def release(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        gone = _checked(keys, directories) & self._wanted
        if gone:
            self._wanted -= gone
            self._mirror.release(self, gone)

    async def ready(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        """Want keys and directories and wait until they are known. `StoreUnavailableError` if the store is away."""
        names = _checked(keys, directories)
        self.want(keys, directories)
        while any(name in self._wanted and not self._is_known(name) for name in names):
            await self._mirror.settled()

    def close(self) -> None:
        gone, self._wanted = self._wanted, set()
        self._mirror.release(self, gone)

    def tell(self, change: Change) -> None:
        try:
            self._on_change(change)
        except Exception:
            _logger.exception("a reader of the store failed on a change")

    def _look_up(self, key: str) -> Known | None:
        if key in self._wanted or directory_of(key) in self._wanted:
            return self._contents.look_up(key)
        return None

    def _is_known(self, name: str) -> bool:
        if name.endswith("/"):
            return self._contents.names(name) is not None
        return self._contents.look_up(name) is not None


def _discard(readers: Wants[Reader], name: str, reader: Reader) -> bool:
    """Take a reader out; whether nobody is left."""
    those = readers.get(name, {})
    those.pop(reader, None)
    if not those:
        readers.pop(name, None)
    return not those


def _split(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Keys and directories."""
    keys: list[str] = []
    directories: list[str] = []
    for name in names:
        (directories if name.endswith("/") else keys).append(name)
    return keys, directories


def _checked(keys: Iterable[str], directories: Iterable[str]) -> set[str]:
    keys, directories = set(keys), set(directories)
    for key in keys:
        if key.endswith("/"):
            raise ValueError(f"{key!r} is a directory, not a key")
    for directory in directories:
        if not directory.endswith("/"):
            raise ValueError(f"{directory!r} is not a directory: directories end in '/'")
    return keys | directories
