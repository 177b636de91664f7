"""The API of a controller, used as fast as one client can."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self
from urllib.parse import urlsplit

from testbed.bridge import Bridge
from testbed.flowmonitor import PATIENCE
from vlcp.lab.controller import form


class Client:
    """One kept-alive HTTP connection to the API of a controller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to `http://host:port`."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26))

    async def call(self, target: str, /, **parameters: object) -> Any:
        """Call `module/api`, give the result of the answer. RuntimeError: it was refused."""
        body = form(parameters).encode()
        head = (
            f"POST /{target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        answer = json.loads(await self._reader.readexactly(int(headers["content-length"])))
        if status.split()[1] != "200":
            raise RuntimeError(f"{target}: {answer.get('error', answer)}")
        return answer["result"]

    async def close(self) -> None:
        """End the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def make_network(client: Client) -> dict[str, str]:
    """A local network with room for 4000 ports; the parameters that its ports have in common."""
    await client.call("viperflow/createphysicalnetwork", type="local", id="here")
    await client.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
    await client.call("viperflow/createsubnet", logicalnetwork="blue", id="blue-subnet", cidr="10.100.0.0/20")
    return {"logicalnetwork": "blue", "subnet": "blue-subnet"}


async def until_settled(client: Client, bridge: Bridge) -> None:
    """Wait until the switch holds all that the controller wants."""
    async with asyncio.timeout(PATIENCE):
        while not all(switch["settled"] for switch in await client.call("openflowmanager/status")):
            await bridge.flows.silence(0.05)
    await bridge.flows.silence()
