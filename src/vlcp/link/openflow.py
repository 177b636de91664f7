"""Sessions with switches: one `OpenFlowConnection` for each connection, either side dialling.

A connection negotiates OpenFlow 1.3, asks who the switch is, keeps itself alive, pairs answers with requests and hands
everything else to its message handler. What is sent within one turn of the event loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from vlcp.link import address as addresses
from vlcp.link.identity import Identified
from vlcp.link.openflow_bundle import BundleError as BundleError
from vlcp.link.openflow_bundle import BundleRun
from vlcp.link.openflow_outbox import Outbox
from vlcp.link.openflow_patience import Patience as Patience
from vlcp.link.openflow_requests import OpenFlowError as OpenFlowError
from vlcp.link.openflow_requests import Packable, Requests, packed
from vlcp.wire.openflow import (
    VERSION,
    BarrierRequest,
    EchoReply,
    EchoRequest,
    Error,
    ErrorType,
    FeaturesReply,
    FeaturesRequest,
    Hello,
    HelloFailed,
    Message,
    MultipartReply,
    WireError,
    parse,
)

MessageHandler = Callable[[Message], None]
logger = logging.getLogger(__name__)

CLOSING_TIME = 3.0  # seconds until a closing connection that cannot send what it still holds is cut
_BUFFER_SIZE = 1 << 18  # several of the longest messages, which have 65535 bytes
_MOST_EARLY_MESSAGES = 1024
_BAD_VERSION = 0


class OpenFlowConnection(Identified, asyncio.BufferedProtocol):
    """One connection to a switch.

    `on_message` is called, in the event loop and in order, with every message that is not an answer: PacketIn,
    PortStatus, FlowRemoved, errors of messages that nobody waits for. Messages that arrive before it is set are
    kept for it. `features`, `datapath_id` and `auxiliary_id` are known when `ready` is done. `on_connection` is called
    when the connection is made, `on_ready` when the switch has said who it is.
    """

    def __init__(
        self,
        on_message: MessageHandler | None = None,
        on_ready: Callable[[OpenFlowConnection], None] | None = None,
        *,
        on_connection: Callable[[OpenFlowConnection], None] | None = None,
        patience: Patience = Patience(),  # noqa: B008 - a constant
    ) -> None:
        self.features: FeaturesReply | None = None
        self.peer = self.local = ""
        self.reason = ""
        self._on_message = on_message
        self._on_ready = on_ready
        self._on_connection = on_connection
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._requests = Requests()
        self._early: deque[Message] = deque(maxlen=_MOST_EARLY_MESSAGES)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._filled = 0
        self._said_hello = False
        self._outbox = Outbox()
        self._timer: asyncio.TimerHandle | None = None
        self._last_heard = self._asked_at = 0.0
        self._counters = dict.fromkeys(("messages_in", "bytes_in", "errors", "echoes"), 0)

    # What a user of the connection calls

    @property
    def datapath_id(self) -> int:
        """The switch's id. Before `ready` it is 0."""
        return self.features.datapath_id if self.features else 0

    @property
    def auxiliary_id(self) -> int:
        """0 for the main connection."""
        return self.features.auxiliary_id if self.features else 0

    @property
    def closed(self) -> bool:
        """The connection takes no more messages; `reason` says why."""
        return self._transport is None or bool(self.reason)

    @property
    def on_message(self) -> MessageHandler | None:
        """The message handler; setting it delivers what came before."""
        return self._on_message

    @on_message.setter
    def on_message(self, handler: MessageHandler) -> None:
        self._on_message = handler
        while self._early:
            self._deliver(self._early.popleft())

    async def ready(self) -> None:
        """Wait until the switch has said who it is. ConnectionError: the connection closed before."""
        await asyncio.shield(self._ready)

    def send(self, *messages: Packable) -> None:
        """Queue messages. They leave in one write at the end of this turn; await `drain` between big amounts.

        Bytes are messages that are packed already. ConnectionError: the connection is closed.
        """
        for message in messages:
            self._queue(packed(message, self._requests.next_xid()))

    async def drain(self) -> None:
        """Wait until the peer takes more. ConnectionError: the connection is closed."""
        await self._outbox.drained()
        self._check_open()

    async def request(self, message: Packable) -> Message:
        """Send a message and wait for its answer.

        `OpenFlowError`: the switch refused it. ConnectionError: the connection closed before the answer came.
        """
        await self.drain()
        return await self._requests.answer(message, self._queue)

    async def multipart(self, message: Packable) -> list[bytes]:
        """Send a multipart request and wait for all parts of its answer: the bodies, in order. Errors as `request`."""
        await self.drain()
        return await self._requests.parts(message, self._queue)

    async def barrier(self) -> None:
        """Wait until the switch has finished everything that was sent before. Errors as `request`."""
        await self.request(BarrierRequest())

    async def bundle(self, messages: Sequence[Packable]) -> None:
        """Carry out all messages as one atomic, ordered bundle, or none of them.

        `BundleError`: nothing was changed; `errors` says which messages the switch refused.
        ConnectionError: the connection closed; whether the bundle was carried out is unknown.
        """
        await self.drain()
        await BundleRun(self._requests, self._queue).run(messages)

    def close(self, reason: str = "closed by us") -> None:
        """Send what is queued, then close. Whoever waits for an answer gets a ConnectionError."""
        if self.closed or self._transport is None:
            return
        self._outbox.flush()
        self.reason = reason
        self._fail_waiters()
        self._transport.close()
        self._set_timer(CLOSING_TIME, self._transport.abort)

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._closed)

    def statistics(self) -> dict[str, int | float | str]:
        """Messages, bytes and writes; requests that wait for an answer; bytes that wait to be sent."""
        return {
            **self._counters,
            "requests_pending": len(self._requests),
            "messages_out": self._outbox.messages,
            "bytes_out": self._outbox.bytes,
            "writes": self._outbox.writes,
            "bytes_queued": self._outbox.queued,
            "peer": self.peer,
            "datapath_id": f"{self.datapath_id:016x}",
            "state": self.reason or ("ready" if self.features else "connecting"),
        }

    # Sending

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionError(f"connection to {self.peer or 'the switch'} is closed: {self.reason}")

    def _queue(self, message: bytes, *, ahead: bool = False) -> None:
        self._check_open()
        self._outbox.put(message, ahead=ahead)
        if self._outbox.overfull:
            self._fail(f"the peer takes nothing: {self._outbox.queued} bytes are queued")
            self._check_open()

    def pause_writing(self) -> None:
        self._outbox.pause()

    def resume_writing(self) -> None:
        self._outbox.resume()

    # Receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is of no class of asyncio
        self._outbox.attach(self._transport)
        self.peer, self.local = addresses.peer_name(transport), addresses.own_name(transport)
        self.endpoint = addresses.endpoint_of(transport)
        self._last_heard = self._loop.time()
        self._expect_within(self._patience.hello, "say hello")
        self.send(Hello())
        if self._on_connection is not None:
            self._on_connection(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._counters["bytes_in"] += nbytes
        self._last_heard = self._loop.time()
        buffer, start = self._buffer, 0
        while self._filled - start >= 8 and not self.reason:
            length = buffer[start + 2] << 8 | buffer[start + 3]
            if length < 8:
                self._fail(f"garbage: a message of {length} bytes")
                return
            if self._filled - start < length:
                break
            self._take(bytes(buffer[start : start + length]))
            start += length
        rest = self._filled - start
        if start and rest:
            buffer[:rest] = bytes(buffer[start : self._filled])
        self._filled = rest

    def _take(self, data: bytes) -> None:
        self._counters["messages_in"] += 1
        try:
            message = parse(data)
        except WireError as error:
            self._fail(f"garbage: {error}")
            return
        if not self._said_hello:
            self._take_hello(message)
        elif data[0] != VERSION:
            self._queue(Error(ErrorType.BAD_REQUEST, _BAD_VERSION, data[:64]).pack(message.xid))
        elif isinstance(message, EchoRequest):
            self._answer_echo(message)
        elif not self._take_answer(message):
            self._deliver(message)

    def _take_answer(self, message: Message) -> bool:
        if isinstance(message, EchoReply):
            return True
        if isinstance(message, FeaturesReply) and self.features is None:
            self._become_ready(message)
            return True
        if isinstance(message, Error):
            self._counters["errors"] += 1
            return self._requests.take_error(message)
        if isinstance(message, MultipartReply) and self._requests.take_part(message):
            return True
        return self._requests.take_answer(message)

    def _deliver(self, message: Message) -> None:
        if self._on_message is None or self.features is None:
            self._early.append(message)
            return
        try:
            self._on_message(message)
        except Exception:
            logger.exception("%s: the handler of %s failed", self.peer, type(message).__name__)

    # From hello to ready

    def _take_hello(self, message: Message) -> None:
        if isinstance(message, Error):
            self._fail(f"the peer refused our hello: {message}")
        elif not isinstance(message, Hello):
            self._fail(f"garbage: the first message is a {type(message).__name__}, not a Hello")
        elif VERSION not in message.versions:
            spoken = ", ".join(str(version) for version in sorted(message.versions))
            text = f"only OpenFlow 1.3 (version 4) is spoken here; you offer {spoken}"
            self._queue(
                Error(ErrorType.HELLO_FAILED, HelloFailed.INCOMPATIBLE, text.encode()).pack(message.xid)
            )
            self._fail(f"no common version: {text}")
        else:
            self._said_hello = True
            self._expect_within(self._patience.features, "say who it is")
            self.send(FeaturesRequest())

    def _become_ready(self, features: FeaturesReply) -> None:
        self.features = features
        self.known_as = {"datapathid": features.datapath_id, "auxiliaryid": features.auxiliary_id}
        self._check_idle()
        if not self._ready.done():
            self._ready.set_result(None)
        if self._on_ready is not None:
            self._on_ready(self)
        if self._on_message is not None:
            self.on_message = self._on_message  # what came early is delivered now

    # Signs of life

    def _answer_echo(self, request: EchoRequest) -> None:
        self._counters["echoes"] += 1
        self._queue(EchoReply(request.data).pack(request.xid), ahead=True)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, delay: float, callback: Callable[[], object]) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay, callback)

    def _expect_within(self, seconds: float, what: str) -> None:
        self._set_timer(seconds, lambda: self._fail(f"the peer did not {what} within {seconds:g} s"))

    def _check_idle(self) -> None:
        """The peer may have been idle for long enough to be asked."""
        self._cancel_timer()
        if self._patience.idle is None:
            return
        remaining = self._last_heard + self._patience.idle - self._loop.time()
        if remaining > 0:
            self._set_timer(remaining, self._check_idle)
            return
        self._asked_at = self._loop.time()
        self.send(EchoRequest())
        self._set_timer(self._patience.echo, self._echo_overdue)

    def _echo_overdue(self) -> None:
        # If the event loop was held, the answer may lie in the socket: let it be read first.
        self._set_timer(0.05, self._judge_silence)

    def _judge_silence(self) -> None:
        if self._last_heard < self._asked_at:
            self._fail(f"no sign of life for {self._loop.time() - self._last_heard:.0f} s")
        else:
            self._check_idle()

    # The end

    def _fail(self, reason: str) -> None:
        logger.warning("OpenFlow connection to %s closed: %s", self.peer, reason)
        self.close(reason)

    def connection_lost(self, error: Exception | None) -> None:
        self.reason = self.reason or (str(error) if error else "closed by the peer")
        self._fail_waiters()
        self._cancel_timer()
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def _fail_waiters(self) -> None:
        error = ConnectionError(f"connection to {self.peer} closed: {self.reason}")
        self._outbox.detach()
        self._requests.fail(error)
        if not self._ready.done():
            self._ready.set_exception(error)


async def connect(
    address: addresses.Address,
    on_message: MessageHandler | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    timeout: float = 30,  # noqa: ASYNC109 - handed on to the connecting function, which names it in its error
) -> OpenFlowConnection:
    """Connect to a switch and wait until it has said who it is. Raises OSError when it cannot be."""
    _, connection = await addresses.connect(address, lambda: OpenFlowConnection(on_message), tls, timeout)
    try:
        await connection.ready()
    except BaseException:
        connection.close("the session was not wanted any more")
        raise
    return connection


async def serve(
    address: addresses.Address,
    on_connection: Callable[[OpenFlowConnection], None],
    *,
    tls: ssl.SSLContext | None = None,
) -> addresses.Listener:
    """Wait for switches; `on_connection` is called for each that has said who it is, and sets its `on_message`."""
    return await addresses.listen(address, lambda: OpenFlowConnection(on_ready=on_connection), tls)
