"""Who watches which keys and directories of a store in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from vlcp.store.contract import NotificationHandler, Watcher
from vlcp.store.table import directory_of

_logger = logging.getLogger(__name__)

_Index = dict[str, dict["LocalWatcher", None]]


class Watches:
    """Finds the watchers of a commit and calls each once. They are told in the order in which they registered."""

    def __init__(self) -> None:
        self._keys: _Index = {}
        self._directories: _Index = {}
        self._watchers: dict[LocalWatcher, None] = {}

    def watch(self, handler: NotificationHandler) -> Watcher:
        watcher = LocalWatcher(self, handler)
        self._watchers[watcher] = None
        return watcher

    def publish(self, keys: Iterable[str], revision: str) -> None:
        """Tell the watchers of these keys that one commit wrote or deleted them."""
        found: dict[LocalWatcher, set[str]] = {}
        for key in keys:
            directory = directory_of(key)
            for watcher in self._keys.get(key, ()):
                found.setdefault(watcher, set()).add(key)
            for watcher in self._directories.get(directory, ()) if directory is not None else ():
                found.setdefault(watcher, set()).add(key)
        for watcher, changed in found.items():
            watcher.notify(frozenset(changed), revision)

    def lost(self, revision: str) -> None:
        """Tell every watcher to read again what it watches."""
        for watcher in list(self._watchers):
            watcher.notify(None, revision)

    def statistics(self) -> dict[str, int]:
        return {
            "watchers": len(self._watchers),
            "watched_keys": len(self._keys),
            "watched_directories": len(self._directories),
        }

    def add(self, watcher: LocalWatcher, keys: Iterable[str], directories: Iterable[str]) -> None:
        for index, names in ((self._keys, keys), (self._directories, directories)):
            for name in names:
                index.setdefault(name, {})[watcher] = None

    def remove(self, watcher: LocalWatcher, keys: Iterable[str], directories: Iterable[str]) -> None:
        for index, names in ((self._keys, keys), (self._directories, directories)):
            for name in names:
                watchers = index.get(name, {})
                watchers.pop(watcher, None)
                if not watchers:
                    index.pop(name, None)

    def forget(self, watcher: LocalWatcher) -> None:
        self._watchers.pop(watcher, None)


class LocalWatcher:
    """One watcher of a store in this process."""

    def __init__(self, watches: Watches, handler: NotificationHandler) -> None:
        self._watches = watches
        self._handler = handler
        self._keys: set[str] = set()
        self._directories: set[str] = set()
        self._closed = False

    async def add(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        if self._closed:
            raise ValueError("the watcher is closed")
        keys, directories = set(keys), set(directories)
        self._keys |= keys
        self._directories |= directories
        self._watches.add(self, keys, directories)

    def remove(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        keys, directories = set(keys), set(directories)
        self._keys -= keys
        self._directories -= directories
        self._watches.remove(self, keys, directories)

    def close(self) -> None:
        self._closed = True
        self.remove(tuple(self._keys), tuple(self._directories))
        self._watches.forget(self)

    def notify(self, keys: frozenset[str] | None, revision: str) -> None:
        """Call the handler. What it raises is logged: one bad watcher must not keep the others from hearing."""
        if self._closed:
            return
        try:
            self._handler(keys, revision)
        except Exception:
            _logger.exception("a watcher failed on commit %s", revision)
