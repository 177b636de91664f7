"""JSON-RPC connections as OVSDB uses them (RFC 7047 section 4): calls, echo and slices.

Messages are taken in the order of the wire. Taking one is a generator: when it works longer than a slice of time, the
event loop is let go between two of its steps, and the messages behind it wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import msgspec

from vlcp.link.address import endpoint_of, own_name, peer_name
from vlcp.link.identity import Identified
from vlcp.wire import WireError, jsonrpc
from vlcp.wire.jsonrpc import Framer, Notification, Reply, Request
from vlcp.wire.ovsdb import OvsdbError

Steps = Iterator[None]
"""Work that may be interrupted at each `yield`."""

_logger = logging.getLogger(__name__)

# How long (seconds) messages are taken before the event loop gets its turn.
_SLICE = 0.005

# How long (seconds) a connection that is being closed may take to send what it still holds.
_CLOSING_TIME = 3.0

# What may wait for a peer that does not read, in bytes.
_MAX_UNSENT = 16 * 1024 * 1024


@dataclass(slots=True)
class _Call:
    """A request without reply. `take` works on the result before the caller gets it."""

    future: asyncio.Future[msgspec.Raw]
    take: Callable[[msgspec.Raw], Steps] | None


class KeepAlive(NamedTuple):
    """A peer that was silent for `idle` seconds is sent an echo, and given up when `answer` more seconds are silent.

    `idle` None: it may be silent for ever.
    """

    idle: float | None = 10.0
    answer: float = 3.0


class Limits(NamedTuple):
    """What a peer may send: bytes of a message, levels that it is nested, and methods (None: all that there are)."""

    message: int = jsonrpc.MAX_MESSAGE
    levels: int = jsonrpc.MAX_NESTING
    requests: frozenset[str] | None = None


class JsonRpcConnection(Identified, asyncio.Protocol):
    """One connection. `peer` names the other end, as an address or as it shows on an accepted connection.

    `echo` requests are answered, others are refused. `on_connection` is called when the connection is made.
    """

    def __init__(
        self,
        peer: str = "",
        keep_alive: KeepAlive | None = None,
        on_connection: Callable[[Any], None] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a constant
    ) -> None:
        self.peer = peer
        self.local = ""
        self._times = keep_alive or KeepAlive()
        self._on_connection = on_connection
        self._allowed = limits.requests
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._framer = Framer(limits.message, limits.levels)
        self._inbox: deque[bytes] = deque()
        self._steps: Steps | None = None
        self._working = False
        self._outbox: list[bytes] = []
        self._writable = asyncio.Event()
        self._calls: dict[int, _Call] = {}
        self._last_id = 0
        self._heard = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._reason: str | None = None
        self._closed = asyncio.Event()
        self._counts = dict.fromkeys(
            ("messages_received", "messages_sent", "bytes_received", "bytes_sent"), 0
        )

    # What users call

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a method. `OvsdbError` when the peer refuses, `ConnectionError` when the connection ends."""
        return jsonrpc.decode_value(await self._request(method, params))

    async def ready(self) -> None:
        """The connection can be used as soon as it is made."""

    def close(self) -> None:
        """End the connection; what was sent before still goes out, if the peer takes it soon."""
        self._flush()
        self._transport.close()
        if not self._closed.is_set():
            self._set_alarm(_CLOSING_TIME, self._transport.abort)

    async def wait_closed(self) -> None:
        """Wait for the end. `ConnectionError` says the reason, unless we or the peer closed in good order."""
        await self._closed.wait()
        if self._reason is not None:
            raise ConnectionError(f"{self.peer}: {self._reason}")

    def statistics(self) -> Mapping[str, int]:
        """Messages and bytes in both directions, and calls without reply."""
        return {**self._counts, "calls": len(self._calls)}

    # For those who build on this class

    def _notified(self, notification: Notification) -> Steps:
        """Take a notification."""
        yield from ()

    async def _request(
        self, method: str, params: Sequence[Any], take: Callable[[msgspec.Raw], Steps] | None = None
    ) -> msgspec.Raw:
        """The result as JSON text; `take` works on it in its turn, before any message behind it."""
        await self._writable.wait()
        if self._closed.is_set() or self._transport.is_closing():
            raise ConnectionError(f"{self.peer}: {self._reason or 'the connection is closed'}")
        self._last_id = number = self._last_id + 1
        message = jsonrpc.request(method, params, number)
        call = self._calls[number] = _Call(self._loop.create_future(), take)
        self._send(message)
        try:
            return await call.future
        finally:
            del self._calls[number]

    # Messages that come

    def data_received(self, data: bytes) -> None:
        self._counts["bytes_received"] += len(data)
        self._heard = self._loop.time()
        try:
            self._inbox.extend(self._framer.feed(data))
        except WireError as error:
            self._fail(str(error))
        if not self._working:
            self._work()

    def _work(self) -> None:
        """Take messages for one slice of time; what is left is taken after the others in the event loop."""
        try:
            finished = self._take_for(_SLICE)
        except WireError as error:
            self._fail(str(error))
        except Exception as error:
            _logger.error("%s: unexpected error, the connection is closed", self.peer, exc_info=error)
            self._fail(f"unexpected {error!r}")
        else:
            self._set_working(not finished)

    def _take_for(self, seconds: float) -> bool:
        """Whether all messages were taken."""
        clock = self._loop.time
        until = clock() + seconds
        while self._steps or self._inbox:
            self._steps = self._steps or self._take(self._inbox.popleft())
            for _ in self._steps:
                if clock() > until:
                    return False
            self._steps = None
            if clock() > until:
                return not self._inbox
        return True

    def _set_working(self, working: bool) -> None:
        if working:
            self._loop.call_soon(self._work)
        if working != self._working and not self._transport.is_closing():
            self._heard = self._loop.time()
            (self._transport.pause_reading if working else self._transport.resume_reading)()
        self._working = working

    def _take(self, message: bytes) -> Steps:
        self._counts["messages_received"] += 1
        match jsonrpc.decode(message):
            case Request() as request:
                self._answer(request)
            case Notification() as notification:
                yield from self._notified(notification)
            case reply:
                yield from self._replied(reply)

    def _answer(self, request: Request) -> None:
        if self._allowed is not None and request.method not in self._allowed:
            self._send(jsonrpc.reply(request.id, error="method is not allowed"))
        elif request.method == "echo":
            self._send(jsonrpc.reply(request.id, request.params))
        else:
            self._send(jsonrpc.reply(request.id, error="method is not supported"))

    def _replied(self, reply: Reply) -> Steps:
        call = self._calls.get(reply.id) if isinstance(reply.id, int) else None
        if call is None:
            return  # the caller was cancelled
        if reply.error is not None:
            _settle(call.future, OvsdbError.decode(reply.error))
            return
        if call.take is not None:
            yield from call.take(reply.result)
        _settle(call.future, reply.result)

    # Messages that go

    def _send(self, message: bytes) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(message)
        self._counts["messages_sent"] += 1

    def _flush(self) -> None:
        data = b"".join(self._outbox)
        self._outbox.clear()
        if not data or self._transport.is_closing():
            return
        self._counts["bytes_sent"] += len(data)
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _MAX_UNSENT:
            self._fail(f"the peer does not read: more than {_MAX_UNSENT} bytes wait for it")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Begin and end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer, self.local = self.peer or peer_name(transport), own_name(transport)
        self.endpoint = endpoint_of(transport)
        self._heard = self._loop.time()
        self._check_alive()
        self._writable.set()
        if self._on_connection is not None:
            self._on_connection(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._reason is None:
            self._reason = str(exc) or type(exc).__name__
        if self._alarm is not None:
            self._alarm.cancel()
        self._inbox.clear()
        self._steps = None
        self._closed.set()
        self._writable.set()
        for call in self._calls.values():
            _settle(
                call.future, ConnectionError(f"{self.peer}: {self._reason or 'the connection was closed'}")
            )

    def _set_alarm(self, delay: float, callback: Callable[..., object], *arguments: object) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(delay, callback, *arguments)

    def _fail(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self._inbox.clear()
        self._steps = None
        self._transport.abort()

    def _check_alive(self, asked_at: float | None = None) -> None:
        """Runs when the peer may have been silent for too long. `asked_at`: when the echo was sent."""
        if self._times.idle is None:
            return
        now = self._loop.time()
        if asked_at is not None and self._heard < asked_at and not self._working:
            self._fail(f"no answer to an echo within {self._times.answer:g} s")
            return
        idle = 0.0 if self._working else now - self._heard
        if idle < self._times.idle:
            self._set_alarm(self._times.idle - idle, self._check_alive)
            return
        self._send(jsonrpc.request("echo", [], "echo"))
        self._set_alarm(self._times.answer, self._check_alive, now)


def _settle(future: asyncio.Future[msgspec.Raw], outcome: msgspec.Raw | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
