"""A client that begins a body and does not end it."""

import asyncio
import json

import pytest

from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.manage.webapi import WebAPI
from vlcp.web import parameters

CONFIG = """
module.httpserver.url = None
module.httpserver.vhost.api.url = 'tcp://localhost:0'
protocol.http.closetimeout = 0.1
"""
HEAD = (
    b"POST /x/y HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
)


async def test_it_is_told_and_the_connection_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "BODY_TIME", 0.1)
    server = Server(parse(CONFIG))
    await server.load(WebAPI)
    url = server.module(HttpServer).getservers("api")[0]["url"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(HEAD)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body) == {"error": "the body did not arrive within 0.1 s"}
    writer.close()
    await writer.wait_closed()
    await server.loader.unload_all()
