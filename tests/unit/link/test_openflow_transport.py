"""The session on transports that are not those of asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import Hello, parse


class OtherTransport:
    """One of an event loop that does not derive its transports from those of asyncio, such as uvloop."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, name: str) -> str:
        return "/path"

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data


async def test_any_event_loop_will_do() -> None:
    transport: Any = OtherTransport()
    connection = OpenFlowConnection()
    connection.connection_made(transport)
    await asyncio.sleep(0)
    assert isinstance(parse(transport.written), Hello)
    connection.connection_lost(None)
