"""What a connection has to send: collected within one turn of the event loop, sent in one write."""

from __future__ import annotations

import asyncio

HIGH_WATER = 1 << 20
"""Bytes in the transport's buffer from which on nothing more is written."""
LONGEST_QUEUE = 64 << 20
"""Bytes that may wait while the peer takes nothing."""


class Outbox:
    """Messages on their way out. The owner puts them in and tells it what the transport says about writing."""

    def __init__(self) -> None:
        self.messages = self.bytes = self.writes = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._flush_planned = False
        self._writable = asyncio.Event()
        self._writable.set()

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Begin to send to this transport."""
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._transport = transport

    def detach(self) -> None:
        """Send nothing any more; whoever waits in `drained` goes on."""
        self._transport = None
        self._waiting.clear()
        self._waiting_bytes = 0
        self._writable.set()

    @property
    def queued(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._waiting_bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    @property
    def overfull(self) -> bool:
        """More waits than is reasonable: the peer takes nothing."""
        return self._waiting_bytes > LONGEST_QUEUE

    def put(self, message: bytes, *, ahead: bool = False) -> None:
        """Send the message at the end of this turn; `ahead` of everything else that waits."""
        self._waiting.insert(0 if ahead else len(self._waiting), message)
        self._waiting_bytes += len(message)
        self._plan_flush()

    def pause(self) -> None:
        """The peer is slow: hold what comes."""
        self._writable.clear()

    def resume(self) -> None:
        """The peer has caught up."""
        self._writable.set()
        self._plan_flush()

    async def drained(self) -> None:
        """Wait until the peer takes more."""
        await self._writable.wait()

    def _plan_flush(self) -> None:
        if not self._flush_planned and self._writable.is_set():
            self._flush_planned = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write everything now."""
        self._flush_planned = False
        if not self._waiting or self._transport is None:
            return
        data = b"".join(self._waiting)
        self.messages += len(self._waiting)
        self.bytes += len(data)
        self.writes += 1
        self._waiting.clear()
        self._waiting_bytes = 0
        self._transport.write(data)
