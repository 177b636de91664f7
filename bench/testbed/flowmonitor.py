"""Which flows come and go on a bridge, as the switch itself reports them."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import Message, MultipartReply, MultipartRequest

PATIENCE = 60.0
"""Seconds until something that does not happen ends a benchmark."""

_ONF, _FLOW_MONITOR = 0x4F4E4600, 1870
_EXPERIMENTER = 0xFFFF
_ADDED, _DELETED = 0, 1


class FlowMonitor:
    """Counts the flows that come and go on a bridge, as the switch itself reports them.

    The ONF extension 187 for OpenFlow 1.3, which Open vSwitch offers since 2.16: the switch tells at the end of each
    bundle which flows it has added and deleted.
    """

    def __init__(self) -> None:
        self.added = self.deleted = 0
        self.last_report = 0.0  # time.perf_counter()
        self._news = asyncio.Event()

    async def watch(self, connection: OpenFlowConnection) -> None:
        """Watch all tables. Changes that are made over this connection itself are not reported."""
        connection.on_message = self._take
        empty_match = struct.pack("!HH4x", 1, 4)
        flags = 0b1110  # added, deleted, modified
        everything = struct.pack("!IHHIB3x", 1, flags, 4, 0xFFFFFFFF, 255) + empty_match
        body = struct.pack("!II", _ONF, _FLOW_MONITOR) + everything
        await connection.multipart(MultipartRequest(_EXPERIMENTER, 0, body))

    def _take(self, message: Message) -> None:
        if not isinstance(message, MultipartReply):
            return
        body, offset = message.body, 8
        while offset < len(body):
            length, event = struct.unpack_from("!HH", body, offset)
            self.added += event == _ADDED
            self.deleted += event == _DELETED
            offset += length
        self.last_report = time.perf_counter()
        self._news.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the counts are as `reached` wants them. TimeoutError: not within `PATIENCE`."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._news.clear()
                await self._news.wait()

    def more(self, flows: int) -> Coroutine[Any, Any, None]:
        """To be awaited: so many flows have been added since this call."""
        target = self.added + flows
        return self.until(lambda: self.added >= target)

    def fewer(self, flows: int) -> Coroutine[Any, Any, None]:
        """To be awaited: so many flows have been deleted since this call."""
        target = self.deleted + flows
        return self.until(lambda: self.deleted >= target)

    async def silence(self, seconds: float = 0.4) -> None:
        """Wait until nothing has changed for a while."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return
