#!/usr/bin/env python3
"""What the web API costs: CPU per `knowledge/get` over a kept-alive connection, against a bare aiohttp handler.

Two processes answer in turns, in the same run: `vlcp-start` with webapi and knowledge, and an aiohttp application with
one route whose handler looks the key up in a dictionary and answers the same JSON. Prints microseconds of CPU per
request, as medians over the turns, and their ratio.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import testbed

TURNS = 7
REQUESTS = 3000
PATIENCE = 30.0
"""Seconds for a process to answer the first time."""

BARE = """
import sys
from aiohttp import web
values = {"answer": "forty-two"}
async def get(request):
    return web.json_response({"result": values.get(request.query["key"])})
application = web.Application()
application.router.add_get("/knowledge/get", get)
try:
    import uvloop
    loop = uvloop.new_event_loop()
except ImportError:
    loop = None
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop)
"""
OURS = "import sys; from vlcp.cli.start import main; sys.exit(main())"
CONFIGURATION = """
server.startup = ('vlcp.service.manage.webapi.WebAPI', 'vlcp.service.utils.knowledge.Knowledge')
module.httpserver.url = None
module.httpserver.vhost.api.url = 'tcp://127.0.0.1:{port}'
"""
REQUEST = b"GET /knowledge/get?key=answer HTTP/1.1\r\nHost: localhost\r\n\r\n"
STORE = b"GET /knowledge/set?key=answer&value=forty-two HTTP/1.1\r\nHost: localhost\r\n\r\n"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Peer:
    """A process that answers, and one connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid, self.port = process.pid, port
        self.costs: list[float] = []

    async def connect(self) -> None:
        """Connect as soon as it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)

    async def ask(self, request: bytes) -> bytes:
        """One request and the body of its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self._reader.readexactly(int(length))

    async def turn(self) -> None:
        """Measure the CPU microseconds of a request."""
        before = testbed.cpu_seconds(self.pid)
        for _ in range(REQUESTS):
            await self.ask(REQUEST)
        self.costs.append((testbed.cpu_seconds(self.pid) - before) / REQUESTS * 1e6)

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process, ended afterwards."""
    environment = {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "PATH": ""}
    process = subprocess.Popen([sys.executable, "-c", *arguments], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def measure(bare: Peer, ours: Peer) -> None:
    for peer in (bare, ours):
        await peer.connect()
    await ours.ask(STORE)
    answers = {await peer.ask(REQUEST) for peer in (bare, ours)}
    assert answers == {b'{"result": "forty-two"}'}, answers
    for _ in range(TURNS):
        await bare.turn()
        await ours.turn()
    for peer in (bare, ours):
        peer.close()


def main() -> None:
    testbed.show_load()
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "vlcp.conf")
        file.write_text(CONFIGURATION.format(port=ports[1]))
        with running(BARE, str(ports[0])) as first, running(OURS, "-f", str(file)) as second:
            bare, ours = Peer(first, ports[0]), Peer(second, ports[1])
            asyncio.run(measure(bare, ours))
    rows = [
        (name, TURNS * REQUESTS, testbed.median(peer.costs))
        for name, peer in (("bare aiohttp", bare), ("webapi", ours))
    ]
    testbed.show(("handler", "requests", "CPU us each"), rows)
    ratios = [b / a for a, b in zip(bare.costs, ours.costs, strict=True)]
    print(f"webapi to bare aiohttp: {testbed.median(ratios):.2f} (goal: at most 2)")


main()
