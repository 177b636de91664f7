"""A server with one virtual host that tests put routes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.web.host import VirtualHost

CONFIG = "module.httpserver.url = 'tcp://localhost:0'\n"


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


class Site:
    """The default virtual host of a running server, and a client."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session
        self.host: VirtualHost = server.module(HttpServer).host("")
        (url,) = [entry["url"] for entry in server.module(HttpServer).getservers("")]
        self.port = int(url.rpartition(":")[2])

    async def send(self, path: str, method: str = "GET", **options: Any) -> Answer:
        """Send one request; redirects are not followed."""
        url = aiohttp.client.URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(method, url, allow_redirects=False, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def raw(self, data: bytes) -> bytes:
        """Everything that the server answers to some bytes until it closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def running(config: str = "", *modules: Any) -> AsyncIterator[Site]:
    """A site with this configuration and these modules."""
    server = Server(parse(CONFIG + config, "site.conf"))
    try:
        await asyncio.gather(*(server.load(module) for module in (HttpServer, *modules)))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Site(server, session)
    finally:
        await server.loader.unload_all()
