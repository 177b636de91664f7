"""Requests that wait for their answers, by transaction id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from vlcp.wire.openflow import Error, Message, MultipartReply
from vlcp.wire.openflow.multipart import MORE

Packable = Message | bytes
Queue = Callable[[bytes], None]
_LARGEST_XID = 0xFFFFFFFF


class OpenFlowError(Exception):
    """The switch refused a request. `error`: its answer; `request`: what it answers."""

    def __init__(self, error: Error, request: Packable) -> None:
        name = type(request).__name__ if isinstance(request, Message) else request.hex()
        super().__init__(f"the switch refused {name}: {error}")
        self.error = error
        self.request = request


def packed(message: Packable, xid: int) -> bytes:
    """The bytes of a message with this transaction id."""
    if isinstance(message, Message):
        return message.pack(xid)
    return message[:4] + xid.to_bytes(4, "big") + message[8:]


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody waits; `parts`: the bodies of a multipart answer so far."""

    future: asyncio.Future[Message]
    request: Packable
    parts: list[bytes] = field(default_factory=list)


class Requests:
    """The requests of one connection that have no answer yet."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._errors: dict[int, Callable[[Error], None]] = {}
        self._last_xid = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next_xid(self) -> int:
        """A transaction id that nobody waits for; never 0."""
        xid = self._last_xid % _LARGEST_XID + 1
        while xid in self._waiting:
            xid = xid % _LARGEST_XID + 1
        self._last_xid = xid
        return xid

    async def answer(self, request: Packable, queue: Queue) -> Message:
        """Queue the request and wait. `OpenFlowError`: refused. ConnectionError: the connection closed."""
        with self.expect(request) as (xid, waiting):
            queue(packed(request, xid))
            return await waiting.future

    async def parts(self, request: Packable, queue: Queue) -> list[bytes]:
        """Queue the multipart request and wait for the bodies of all parts. Errors as `answer`."""
        with self.expect(request) as (xid, waiting):
            queue(packed(request, xid))
            await waiting.future
            return waiting.parts

    @contextmanager
    def expect(self, request: Packable) -> Iterator[tuple[int, _Waiting]]:
        """A transaction id, and the place where its answer will arrive."""
        xid = self.next_xid()
        waiting = self._waiting[xid] = _Waiting(asyncio.get_running_loop().create_future(), request)
        try:
            yield xid, waiting
        finally:
            self._waiting.pop(xid, None)
            if waiting.future.done() and not waiting.future.cancelled():
                waiting.future.exception()  # nobody else will ask for it

    @contextmanager
    def errors_of(self, handlers: Mapping[int, Callable[[Error], None]]) -> Iterator[None]:
        """While this lasts, errors with these transaction ids go to their handlers."""
        self._errors.update(handlers)
        try:
            yield
        finally:
            for xid in handlers:
                del self._errors[xid]

    def take_error(self, error: Error) -> bool:
        """Whether somebody waits for it."""
        handler = self._errors.get(error.xid)
        if handler is not None:
            handler(error)
            return True
        waiting = self._waiting.get(error.xid)
        if waiting is None:
            return False
        if not waiting.future.done():
            waiting.future.set_exception(OpenFlowError(error, waiting.request))
        return True

    def take_part(self, reply: MultipartReply) -> bool:
        """Whether somebody waits for it."""
        waiting = self._waiting.get(reply.xid)
        if waiting is None:
            return False
        waiting.parts.append(reply.body)
        if not reply.flags & MORE and not waiting.future.done():
            waiting.future.set_result(reply)
        return True

    def take_answer(self, message: Message) -> bool:
        """Whether somebody waits for it."""
        waiting = self._waiting.get(message.xid)
        if waiting is None:
            return False
        if not waiting.future.done():
            waiting.future.set_result(message)
        return True

    def fail(self, error: Exception) -> None:
        """Nobody will get an answer any more."""
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(error)
