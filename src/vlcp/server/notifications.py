"""Notifications: what a module tells everybody in the process who wants to know, such as `update` or `synchronized`.

A notification has the name of its module, a name of its own and free attributes, which may be live objects. The
sender never waits and never fails because of those who listen. Each subscriber gets them in the order of sending.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

logger = logging.getLogger(__name__)

QUEUE_LIMIT = 1000
"""Notifications that may wait for one subscriber; then the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing that a module told."""

    module: str
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = "".join(f" {name}={value!r}" for name, value in self.attributes.items())
        return f"{self.module}/{self.name}{shown}"


Callback = Callable[[Notification], object]
_Wanted = tuple[str | None, str | None]
L = TypeVar("L", bound="Listener")


class Listener:
    """Calls a function for each notification until it is closed; usable with `with`."""

    def __init__(self, notifications: Notifications, wanted: _Wanted) -> None:
        self._notifications = notifications
        self.wanted = wanted
        """The names of the module and of the notification; None stands for any."""
        self.closed = False

    def take(self, notification: Notification) -> None:
        """Called by the sender."""
        raise NotImplementedError

    def close(self) -> None:
        """Get nothing more. Harmless when it is closed already."""
        self.closed = True
        self._notifications.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


class _Caller(Listener):
    def __init__(self, notifications: Notifications, wanted: _Wanted, callback: Callback) -> None:
        super().__init__(notifications, wanted)
        self._callback = callback

    def take(self, notification: Notification) -> None:
        self._callback(notification)


class Subscription(Listener):
    """Notifications for `async for`, kept in a bounded queue from the moment of subscribing.

    When the subscriber is too slow, the oldest are dropped and counted in `dropped`. The loop ends when the
    subscription is closed and what was waiting is read.
    """

    def __init__(self, notifications: Notifications, wanted: _Wanted, limit: int) -> None:
        super().__init__(notifications, wanted)
        self.dropped = 0
        self._waiting: deque[Notification] = deque(maxlen=limit)
        self._changed = asyncio.Event()

    def take(self, notification: Notification) -> None:
        """Put it into the queue."""
        if len(self._waiting) == self._waiting.maxlen:
            if not self.dropped:
                logger.warning(
                    "a subscriber of %s is too slow: its oldest notifications are dropped", notification
                )
            self.dropped += 1
        self._waiting.append(notification)
        self._changed.set()

    def close(self) -> None:
        """Get nothing more; a loop over the subscription ends after what is waiting."""
        super().close()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification:
        while not self._waiting:
            if self.closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


class Notifications:
    """All subscribers of one server."""

    def __init__(self) -> None:
        self._listeners: dict[_Wanted, dict[Listener, None]] = {}
        self._outgoing: deque[Notification] = deque()
        self._sent = 0

    def notify(self, module: str, name: str, /, **attributes: Any) -> None:
        """Tell all subscribers. Never waits; a function that fails is logged, and the others are told.

        Returns when all are told. Only what a called function sends itself is told right after: everybody gets both
        in the same order.
        """
        self._sent += 1
        self._outgoing.append(Notification(module, name, attributes))
        if len(self._outgoing) == 1:  # else the call below us tells it
            try:
                while self._outgoing:
                    self._tell(self._outgoing[0])
                    self._outgoing.popleft()
            finally:
                self._outgoing.clear()

    def _tell(self, notification: Notification) -> None:
        for listener in self._wanting(notification.module, notification.name):
            try:
                if not listener.closed:
                    listener.take(notification)
            except Exception:
                logger.exception("what was to be called for %s failed", notification)

    def _wanting(self, module: str, name: str) -> list[Listener]:
        wanted = ((module, name), (module, None), (None, name), (None, None))
        return [listener for key in wanted for listener in self._listeners.get(key, ())]

    def subscribe(
        self, module: str | None = None, name: str | None = None, *, limit: int = QUEUE_LIMIT
    ) -> Subscription:
        """Notifications of a module and of a name, each any if None, for `async for`; at most `limit` wait.

        `with notifications.subscribe("objectdb", "update") as updates:` closes the subscription at the end.
        """
        return self._added(Subscription(self, (module, name), limit))

    def listen(self, callback: Callback, module: str | None = None, name: str | None = None) -> Listener:
        """Call a function for each notification, at once and in the sender's turn: it must not take long."""
        return self._added(_Caller(self, (module, name), callback))

    def _added(self, listener: L) -> L:
        self._listeners.setdefault(listener.wanted, {})[listener] = None
        return listener

    def forget(self, listener: Listener) -> None:
        """Tell a subscriber nothing more."""
        same = self._listeners.get(listener.wanted, {})
        same.pop(listener, None)
        if not same:
            self._listeners.pop(listener.wanted, None)

    def _all(self) -> Iterator[Listener]:
        return (listener for same in self._listeners.values() for listener in same)

    def statistics(self) -> dict[str, int]:
        """The number of notifications sent, of subscribers now, and of what they were too slow for."""
        listeners = list(self._all())
        dropped = sum(listener.dropped for listener in listeners if isinstance(listener, Subscription))
        return {"sent": self._sent, "subscribers": len(listeners), "dropped": dropped}
