"""Who wants to hear of changed keys, without reading them: the notifier of a store."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from vlcp.store.contract import Backend, Watcher

_WAITING = 1000
"""Updates that wait for one listener; when there are more they become one `restored`."""


class Update(NamedTuple):
    """Keys that changed.

    `reason`: `updated`; or `restored`, with all keys listened to: something may have been missed, read them again.
    `transaction`: the commit, or a publication. `fromself`: published by this very notifier; commits are never known to
    be. `extrainfo`: what was published with it.
    """

    keys: tuple[str, ...]
    reason: str
    transaction: str
    fromself: bool = False
    extrainfo: Any = None


class Publications:
    """The notifiers of one store in this process, which hear what each of them publishes."""

    def __init__(self) -> None:
        self._notifiers: weakref.WeakSet[Notifier] = weakref.WeakSet()
        self._published = 0

    def notifier(self, backend: Backend) -> Notifier:
        """A new one, which listens to nothing yet."""
        notifier = Notifier(backend, self)
        self._notifiers.add(notifier)
        return notifier

    def publish(self, sender: Notifier, keys: tuple[str, ...], extrainfo: Any) -> None:
        """Tell all notifiers that listen to some of the keys."""
        self._published += 1
        for notifier in list(self._notifiers):
            told = Update(keys, "updated", f"published {self._published}", notifier is sender, extrainfo)
            notifier.take(told)

    def forget(self, notifier: Notifier) -> None:
        """Tell it nothing more."""
        self._notifiers.discard(notifier)

    def close(self) -> None:
        """Close all notifiers: loops over them end."""
        for notifier in list(self._notifiers):
            notifier.close()


class Notifier:
    """Tells of commits to the keys that it listens to, by whichever process, and of what others publish in this one.

    `async for update in notifier` gives them in order, until the notifier is closed.
    """

    def __init__(self, backend: Backend, publications: Publications) -> None:
        self._publications = publications
        self._backend = backend
        self._watcher: Watcher | None = (
            None  # until it is needed, so that one that nobody uses goes by itself
        )
        self._keys: set[str] = set()
        self._waiting: deque[Update] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    async def add_listen(self, *keys: str) -> None:
        """Listen to keys: every commit after the return is told. `StoreUnavailableError` if the store is away."""
        if self._closed:
            raise ValueError("the notifier is closed")
        if self._watcher is None:
            self._watcher = self._backend.watch(self._notified)
        await self._watcher.add(keys)
        self._keys.update(keys)

    async def remove_listen(self, *keys: str) -> None:
        """Do not listen to keys any more."""
        self._keys.difference_update(keys)
        if self._watcher is not None:
            self._watcher.remove(keys)

    async def publish(self, keys: Iterable[str], extrainfo: Any = None) -> None:
        """Tell every notifier of this process, this one too, about keys. Commits need no publication."""
        self._publications.publish(self, tuple(keys), extrainfo)

    def close(self) -> None:
        """Listen to nothing more. A loop over the notifier ends when it has read what waits."""
        self._closed = True
        if self._watcher is not None:
            self._watcher.close()
        self._publications.forget(self)
        self._changed.set()

    def take(self, update: Update) -> None:
        """Called by whoever tells of an update."""
        if self._keys.isdisjoint(update.keys):
            return
        if len(self._waiting) >= _WAITING:
            self._waiting.clear()
            update = self._restored(update.transaction)
        self._waiting.append(update)
        self._changed.set()

    def _notified(self, keys: frozenset[str] | None, revision: str) -> None:
        told = self._restored(revision) if keys is None else Update(tuple(sorted(keys)), "updated", revision)
        self.take(told)

    def _restored(self, transaction: str) -> Update:
        return Update(tuple(sorted(self._keys)), "restored", transaction)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
