"""Peers of the server modules: plain JSON-RPC, clients, and who is given which connection."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from unit.service.connection.running import Running, Start, ended, until
from vlcp.link.jsonrpc import JsonRpcConnection
from vlcp.link.openflow import OpenFlowConnection
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.server.config import ConfigError, load
from vlcp.server.server import Server
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.openflowserver import OpenflowServer

# Plain JSON-RPC


async def exchange(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], *messages: Any) -> list[Any]:
    """Send messages, and take as many answers."""
    reader, writer = line
    writer.write("".join(map(json.dumps, messages)).encode())
    answers, text, decoder = [], "", json.JSONDecoder()
    async with asyncio.timeout(5):
        while len(answers) < len(messages):
            text += (await reader.read(65536)).decode()
            while text:
                answer, end = decoder.raw_decode(text)
                answers.append(answer)
                text = text[end:]
    return answers


async def test_plain_peers_are_answered(start: Start) -> None:
    running: Running = await start(JsonRPCServer, "X.url = 'tcp://127.0.0.1:0'")
    line = await running.connect()
    requests = [{"method": "echo", "params": [1], "id": 1}, {"method": "steal", "params": [], "id": "x"}]
    assert await exchange(line, *requests) == [
        {"id": 1, "result": [1], "error": None},
        {"id": "x", "result": None, "error": "method is not supported"},
    ]
    assert running.module.getconnections()[0]["messages_received"] == 2
    line[1].close()


async def test_methods_that_are_not_allowed(start: Start) -> None:
    running: Running = await start(
        JsonRPCServer, "X.url = 'tcp://127.0.0.1:0'\nprotocol.jsonrpc.allowedrequests = ()"
    )
    line = await running.connect()
    (answer,) = await exchange(line, {"method": "echo", "params": [], "id": 1})
    assert answer["error"] == "method is not allowed"
    line[1].close()


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        '{"id": 1, "method": "echo", "params": ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]}',
        '{"a": [[[[]]]]}',
        "}",
    ],
)
async def test_what_is_no_message_ends_that_connection_only(start: Start, text: str) -> None:
    limits = "protocol.jsonrpc.messagelimit = 60\nX.protocol.levellimit = 4"
    running: Running = await start(JsonRPCServer, f"X.url = 'tcp://127.0.0.1:0'\n{limits}")
    good, bad = await running.connect(), await running.connect()
    bad[1].write(text.encode())
    assert await ended(*bad)
    assert (await exchange(good, {"method": "echo", "params": [], "id": 1}))[0]["error"] is None
    good[1].close()


async def test_ovsdb_handlers_do_not_get_plain_peers(start: Start) -> None:
    hosts = "X.vhost.plain.url = 'tcp://127.0.0.1:0'\nX.vhost.db.url = 'tcp://127.0.0.1:0'"
    text = f"X.url = None\n{hosts}\nX.vhost.db.ovsdb = True"
    running: Running = await start(JsonRPCServer, text)
    module = running.module
    assert isinstance(module, JsonRPCServer)
    given: list[JsonRpcConnection] = []

    async def use(connection: JsonRpcConnection) -> None:
        given.append(connection)
        await connection.wait_closed()

    module.handle(OvsdbConnection, use)
    lines = [await running.connect("plain"), await running.connect("db")]
    await until(lambda: given)
    assert [s.vhost for s in module.sessions.all() if s.connection in given] == ["db"]
    for _, writer in lines:
        writer.close()


async def test_silent_peers_are_asked_and_given_up(start: Start) -> None:
    text = "X.url = 'tcp://127.0.0.1:0'\nX.protocol.keepalivetime = 0.05\nX.protocol.keepalivetimeout = 0.05"
    running: Running = await start(JsonRPCServer, text)
    reader, writer = await running.connect()
    assert json.loads(await asyncio.wait_for(reader.read(65536), 5))["method"] == "echo"
    assert await ended(reader, writer)


# Clients


async def test_a_client_dials_again_until_it_is_stopped(start: Start, tmp_path: Path) -> None:
    server: Running = await start(JsonRPCServer, f"X.url = 'unix://{tmp_path}/s'")
    client: Running = await start(JsonRPCServer, f"X.client = True\nX.url = 'unix://{tmp_path}/s'")
    await until(lambda: client.module.getservers()[0]["connected"])
    (status,) = client.module.getservers()
    assert (status["client"], status["listening"], status["peer"]) == (True, False, f"unix://{tmp_path}/s")
    await server.server.unload(JsonRPCServer)
    await until(lambda: client.module.getservers()[0]["failures"])
    assert client.module.getservers()[0]["error"]
    assert client.module.stoplisten() == 1
    again: Running = await start(JsonRPCServer, f"X.url = 'unix://{tmp_path}/s'")
    await asyncio.sleep(0.2)
    assert again.module.getconnections() == []
    assert await client.module.startlisten() == 1
    await until(lambda: client.module.getservers()[0]["connected"])


async def test_a_passive_client_waits_for_one_peer(start: Start) -> None:
    running: Running = await start(JsonRPCServer, "X.client = True\nX.url = 'ptcp://127.0.0.1:0'")
    await until(lambda: running.module.getservers()[0]["listening"])
    port = running.port()
    line = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: running.module.getservers()[0]["connected"])
    assert not running.module.getservers()[0]["listening"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    line[1].close()
    await until(lambda: running.module.getservers()[0]["listening"])


async def test_a_passive_client_with_tls_is_not_held_up_by_who_says_nothing(
    start: Start, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("passive")
    files = f"X.certificate = '{certificate}'\nX.key = '{key}'"
    running: Running = await start(JsonRPCServer, f"X.client = True\nX.url = 'pssl://127.0.0.1:0'\n{files}")
    await until(lambda: running.module.getservers()[0]["listening"])
    silent = await asyncio.open_connection("127.0.0.1", running.port())
    context = ssl.create_default_context(cafile=authority.certificate)
    line = await asyncio.open_connection("127.0.0.1", running.port(), ssl=context)
    running.writers += [silent[1], line[1]]
    assert (await exchange(line, {"method": "echo", "params": [], "id": 1}))[0]["result"] == []
    (server,) = running.module.getservers()
    assert (server["connected"], server["connections"]) == (True, 1)
    await running.server.unload(JsonRPCServer)
    assert await ended(*line)


async def test_handlers_choose_virtual_hosts(start: Start) -> None:
    running: Running = await start(OpenflowServer, "X.url = 'tcp://127.0.0.1:0'")
    assert isinstance(running.module, OpenflowServer)

    async def use(connection: OpenFlowConnection) -> None:
        raise AssertionError("it is not of this virtual host")

    running.module.handle(OpenFlowConnection, use, ("other",))
    line = await running.connect()
    assert not line[0].at_eof()
    line[1].close()


def test_a_missing_host_of_a_client_is_told_when_the_module_is_made(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("module.jsonrpcserver.client = True")
    with pytest.raises(ConfigError, match="a client needs a host"):
        JsonRPCServer(Server(load(file)))
