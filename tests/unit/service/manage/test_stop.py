"""Clients are answered when the server stops."""

import asyncio
import json
from pathlib import Path
from typing import Any

from vlcp.server.config import parse
from vlcp.server.module import Module, api
from vlcp.server.server import Server

CONFIG = """
server.startup = ('vlcp.service.manage.webapi.WebAPI', '{module}.Sleeper')
module.httpserver.url = None
module.httpserver.vhost.api.url = 'unix://{directory}/api'
"""


class Sleeper(Module):
    """Takes its time."""

    @api
    async def sleep(self, seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "awake"


async def get(directory: Path, path: str) -> tuple[int, Any]:
    """Status and body of one request."""
    reader, writer = await asyncio.open_unix_connection(f"{directory}/api")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_calls_under_way_are_answered(tmp_path: Path) -> None:
    server = Server(parse(CONFIG.format(directory=tmp_path, module=__name__)))
    running = asyncio.create_task(server.run(), name="server")
    await server.ready.wait()
    calls = [
        asyncio.create_task(get(tmp_path, f"/sleeper/sleep?seconds={seconds}"), name=f"sleep {seconds}")
        for seconds in (60, 0.1)
    ]
    async with asyncio.timeout(20):
        while server.apis.statistics().get("calls", 0) < 2:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.01)
        server.stop("test")
        assert await asyncio.gather(*calls) == [
            (503, {"error": "the server is stopping"}),
            (200, {"result": "awake"}),
        ]
        assert await running == 0
