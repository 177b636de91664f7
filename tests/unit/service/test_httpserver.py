"""The HTTP listeners of a process that starts: clients may come at once, answers wait for the library."""

import asyncio
import sys

import pytest

from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.connection import httpserver
from vlcp.service.connection.httpserver import HttpServer

CONFIG = "module.httpserver.url = 'tcp://127.0.0.1:0'"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not imported yet, as in a process that starts."""
    monkeypatch.delitem(sys.modules, "vlcp.web.connection", raising=False)


async def ask(server: Server) -> bytes:
    """The first line of the answer to a request."""
    url = server.module(HttpServer).getservers()[0]["url"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    try:
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.usefixtures("fresh")
async def test_a_client_that_comes_early_is_answered() -> None:
    server = Server(parse(CONFIG))
    await server.load(HttpServer)
    assert "vlcp.web.connection" not in sys.modules
    assert b" 404 " in await ask(server)
    await server.loader.unload_all()


@pytest.mark.usefixtures("fresh")
async def test_a_busy_process_answers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpserver, "_PATIENCE", 0.05)
    server = Server(parse(CONFIG))
    await server.load(HttpServer)
    working = asyncio.create_task(work())
    assert b" 404 " in await ask(server)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await server.loader.unload_all()


async def work() -> None:
    """Leave the event loop no rest."""
    end = asyncio.get_running_loop().time() + 10
    while asyncio.get_running_loop().time() < end:
        slice_end = asyncio.get_running_loop().time() + 0.003
        while asyncio.get_running_loop().time() < slice_end:
            pass
        await asyncio.sleep(0)


@pytest.mark.usefixtures("fresh")
async def test_it_may_be_unloaded_before_it_has_answered() -> None:
    server = Server(parse(CONFIG))
    await server.load(HttpServer)
    await server.loader.unload_all()
    assert server.loader.records() == []


async def test_it_answers_again_after_it_had_stopped_listening() -> None:
    server = Server(parse(CONFIG))
    module = await server.load(HttpServer)
    assert isinstance(module, HttpServer)
    assert (module.stoplisten(), await module.startlisten()) == (1, 1)
    assert b" 404 " in await ask(server)
    await server.loader.unload_all()
