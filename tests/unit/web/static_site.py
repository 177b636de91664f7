"""A server that serves files of a directory, and a client that sends exactly what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from vlcp.server.config import load
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.web.static import Static

DIGITS = b"0123456789"
BIG = bytes(range(256)) * 4096
"""A file that is too long to be read at once."""


class Got(NamedTuple):
    """An answer; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A running server, the directory of its files, and the port of one of its virtual hosts."""

    def __init__(self, server: Server, root: Path, file: Path, vhost: str = "") -> None:
        self.server = server
        self.root = root
        self.file = file
        (endpoint,) = server.module(HttpServer).ports(vhost)
        assert endpoint.listener is not None
        self.port = endpoint.listener.address.port

    def configure(self, text: str) -> None:
        """Write another configuration, which nobody has read yet."""
        self.file.write_text(configuration(self.root, text))

    async def get(self, path: str, method: str = "GET", **headers: str) -> Got:
        """The answer to one request; `_` in the names of headers is `-`."""
        lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
        fields = {"Host": f"127.0.0.1:{self.port}"} | {n.replace("_", "-"): v for n, v in headers.items()}
        lines += [f"{name}: {value}" for name, value in fields.items()]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            async with asyncio.timeout(10):
                return parsed(await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()


def parsed(answer: bytes) -> Got:
    """An answer from its bytes, which end with the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Got(int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


def configuration(root: Path, text: str) -> str:
    """The text of a configuration file; ROOT stands for the directory."""
    own = f"module.httpserver.url = 'tcp://127.0.0.1:0'\nmodule.static.relativeroot = {str(root)!r}\n"
    return own + text.replace("ROOT", str(root))


def fill(root: Path) -> None:
    """Some files."""
    files = root / "static"
    (files / "sub").mkdir(parents=True)
    (files / "digits.txt").write_bytes(DIGITS)
    (files / "big.bin").write_bytes(BIG)
    (files / "empty.css").write_bytes(b"")
    (files / "sub" / "page ä.html").write_text("<p>ä")
    (root / "secret.txt").write_text("secret")
    (root / "other").mkdir()
    (root / "other" / "digits.txt").write_bytes(b"other")


@asynccontextmanager
async def serving(directory: Path, text: str = "") -> AsyncIterator[Site]:
    """Serve files of a directory with a configuration."""
    root = directory / "root"
    fill(root)
    file = directory / "vlcp.conf"
    file.write_text(configuration(root, text))
    server = Server(load(file))
    try:
        await server.load(Static)
        yield Site(server, root, file)
    finally:
        await server.loader.unload_all()
