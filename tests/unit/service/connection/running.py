"""One server module on real sockets, with its configuration file."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlcp.server.server import Server
from vlcp.service.connection.connectionserver import ConnectionServer

Start = Callable[..., Any]


class Running:
    """A server with one module, and its configuration file."""

    def __init__(self, file: Path, server: Server, module: ConnectionServer) -> None:
        self.file, self.server, self.module = file, server, module
        self.writers: list[asyncio.StreamWriter] = []

    def url(self, vhost: str = "") -> str:
        """The first URL of a virtual host."""
        return str(self.module.getservers(vhost)[0]["url"])

    def port(self, vhost: str = "") -> int:
        return int(self.url(vhost).rpartition(":")[2])

    def configure(self, text: str) -> None:
        """Write the file anew; `X.` is the module's node."""
        self.file.write_text(text.replace("X.", f"module.{self.module.name}."))

    async def connect(self, vhost: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that the module knows of."""
        before = len(self.module.getconnections())
        url = self.url(vhost)
        if url.startswith("unix:"):
            ends = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        else:
            ends = await asyncio.open_connection("127.0.0.1", self.port(vhost))
        self.writers.append(ends[1])
        await until(lambda: len(self.module.getconnections()) > before)
        return ends


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the peer ends the connection, whatever it sends before."""
    try:
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass
    except ConnectionResetError:
        pass
    writer.close()
    return True
