"""The three server modules on real sockets: virtual hosts, their five APIs, and what changes while they run."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from vlcp.link.jsonrpc import JsonRpcConnection
from vlcp.link.openflow import OpenFlowConnection
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.server.api import ConflictError, NotFoundError
from vlcp.server.config import ConfigError, load
from vlcp.server.module import ModuleError
from vlcp.server.server import Server
from vlcp.service.connection.connectionserver import ConnectionServer
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.openflowserver import OpenflowServer

MODULES: tuple[type[ConnectionServer], ...] = (HttpServer, JsonRPCServer, OpenflowServer)
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


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Loads a module: `await start(cls, text)`; `X.` in the text is its node."""
    made: list[Running] = []

    async def begin(cls: type[ConnectionServer], text: str) -> Running:
        file = tmp_path / "x.conf"
        file.write_text(text.replace("X.", f"module.{cls.__name__.lower()}."))
        server = Server(load(file))
        try:
            await server.load(cls)
        except ModuleError:
            await server.loader.unload_all()
            raise
        made.append(Running(file, server, server.module(cls)))
        return made[-1]

    yield begin
    for running in made:
        await running.server.loader.unload_all()
        for writer in running.writers:
            writer.close()
    await asyncio.sleep(0.01)


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


@pytest.mark.parametrize("cls", MODULES)
async def test_virtual_hosts_and_their_apis(
    start: Start, cls: type[ConnectionServer], tmp_path: Path
) -> None:
    running: Running = await start(
        cls,
        f"""X.url = 'tcp://127.0.0.1:0'
X.vhost.a.url = 'unix://{tmp_path}/a'
X.vhost.a.mode = 0o600
X.vhost.a.vhost.b.urls = ['tcp://127.0.0.1:0', 'ltcp://127.0.0.1:0']
X.vhost.none.url = None""",
    )
    module = running.module
    servers = module.getservers()
    assert [server["vhost"] for server in servers] == ["", "a", "b", "b"]
    assert all(server["listening"] and not server["client"] for server in servers)
    assert {server["error"] for server in servers} == {None}
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o600
    lines = [await running.connect(name) for name in ("", "a", "b")]
    assert [c["vhost"] for c in module.getconnections()] == ["", "a", "b"]
    (mine,) = module.getconnections("")
    assert mine["url"] == mine["local"].replace("127", "tcp://127") == running.url()
    assert mine["peer"] == "127.0.0.1:{}".format(lines[0][1].get_extra_info("sockname")[1])
    assert module.getconnections("a")[0]["local"] == f"unix:{tmp_path}/a"
    assert (module.stoplisten("b"), module.stoplisten("b"), module.stoplisten()) == (2, 0, 2)
    assert [server["listening"] for server in module.getservers()] == [False] * 4
    assert (len(module.getconnections()), os.listdir(tmp_path)) == (3, ["x.conf"])
    assert (await module.startlisten("a"), await module.startlisten("none"), await module.startlisten()) == (
        1,
        0,
        3,
    )
    assert all(server["listening"] for server in module.getservers())
    await running.server.loader.unload_all()
    assert [await ended(*line) for line in lines] == [True] * 3
    assert os.listdir(tmp_path) == ["x.conf"]


@pytest.mark.parametrize("cls", MODULES)
async def test_an_unknown_virtual_host_is_told_with_the_known_ones(
    start: Start, cls: type[ConnectionServer]
) -> None:
    running: Running = await start(cls, "X.url = None\nX.vhost.api.url = 'tcp://127.0.0.1:0'")
    module = running.module
    assert (module.getservers(""), len(module.getservers("api"))) == ([], 1)
    for call in (module.getservers, module.stoplisten, module.getconnections):
        with pytest.raises(NotFoundError, match="no virtual host 'apu'; it has '', 'api'"):
            call("apu")
    with pytest.raises(NotFoundError):
        await module.startlisten("apu")


@pytest.mark.parametrize("cls", MODULES)
async def test_the_configuration_is_followed(start: Start, cls: type[ConnectionServer]) -> None:
    a, b, c = free_port(), free_port(), free_port()
    running: Running = await start(
        cls, f"X.url = 'tcp://127.0.0.1:{a}'\nX.vhost.v.url = 'tcp://127.0.0.1:{b}'"
    )
    module = running.module
    stays, goes = await running.connect(), await running.connect("v")
    running.configure(f"X.url = 'tcp://127.0.0.1:{a}'\nX.vhost.w.url = 'tcp://127.0.0.1:{c}'")
    assert await module.updateconfig() == {
        "removed": [f"tcp://127.0.0.1:{b}"],
        "added": [f"tcp://127.0.0.1:{c}"],
        "unchanged": [f"tcp://127.0.0.1:{a}"],
    }
    assert await ended(*goes)
    assert [(s["vhost"], s["listening"]) for s in module.getservers()] == [("", True), ("w", True)]
    with pytest.raises(NotFoundError):
        module.getservers("v")
    await running.connect("w")
    assert len(module.getconnections("")) == 1
    assert not stays[0].at_eof()
    running.configure(
        f"X.url = 'tcp://127.0.0.1:{a}'\nX.vhost.w.url = 'tcp://127.0.0.1:{c}'\nX.protocol.backlogsize = 9"
    )
    assert (await module.updateconfig())["unchanged"] == []
    assert await ended(*stays)
    await running.connect()


@pytest.mark.parametrize("cls", MODULES)
async def test_a_bad_configuration_changes_nothing(start: Start, cls: type[ConnectionServer]) -> None:
    good = f"X.url = 'tcp://127.0.0.1:{free_port()}'\n"
    running: Running = await start(cls, good)
    line = await running.connect()
    node = f"module.{running.module.name}"
    for text, told in (
        (f"{good}X.urls = 5", f"x.conf:2: {node}.urls = 5: expected `array`"),
        (f"{good}X.vhost.v.url = 'zk://h'", f"x.conf:2: {node}.vhost.v.url: 'zk://h' is not an address"),
        (
            f"{good}X.urls = ['ssl:///']\nX.certificate = '/none'",
            f"x.conf:3: {node}.certificate = '/none': No such",
        ),
        (f"{good}oops", "x.conf:2: expected `key = value`"),
    ):
        running.configure(text)
        with pytest.raises(ConflictError, match="nothing is changed") as caught:
            await running.module.updateconfig()
        assert told in str(caught.value)
    running.file.unlink()
    with pytest.raises(ConflictError, match="No such file"):
        await running.module.updateconfig()
    assert len(running.module.getconnections()) == 1
    assert await running.connect()
    assert not line[0].at_eof()


@pytest.mark.parametrize("cls", MODULES)
async def test_a_port_in_use_is_shown_and_taken_when_it_is_free(
    start: Start, cls: type[ConnectionServer], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        running: Running = await start(
            cls,
            f"X.url = '{url}'\nX.urls = ['tcp://127.0.0.1:0']\nprotocol.default.retrylisten_interval = 0.05",
        )
        taken, other = running.module.getservers()
        assert (taken["listening"], other["listening"], "in use" in taken["error"]) == (False, True, True)
        assert f"cannot listen on {url}" in caplog.text
        status = running.server.loader.status()[running.module.name]
        assert (status["state"], f"{url}': cannot listen" in status["error"]) == ("succeeded", True)
    await until(lambda: running.module.getservers()[0]["listening"])
    assert running.server.loader.status()[running.module.name]["error"] is None


@pytest.mark.parametrize("cls", MODULES)
async def test_a_port_in_use_may_be_an_error(start: Start, cls: type[ConnectionServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(ModuleError, match=rf"x.conf:1: .*url = '{url}': .*in use"):
            await start(cls, f"X.url = '{url}'\nX.protocol.listen_persist = False")


async def test_tls_files_of_a_level(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    text = f"X.url = None\nX.certificate = '{certificate}'\nX.key = '{key}'\nX.vhost.s.url = 'ssl://localhost:0'\n"
    server: Running = await start(OpenflowServer, text)
    more = f"X.client = True\nX.url = '{server.url('s')}'\n"
    with pytest.raises(
        ModuleError, match=r"x.conf:3: module.openflowserver.ca_certs = '/none': No such file"
    ):
        await start(OpenflowServer, f"{more}X.ca_certs = '/none'")
    stranger: Running = await start(OpenflowServer, more)
    await until(lambda: "CERTIFICATE_VERIFY_FAILED" in str(stranger.module.getservers()[0]["error"]))
    known: Running = await start(OpenflowServer, f"{more}X.ca_certs = '{authority.certificate}'")
    await until(lambda: server.module.getconnections("s"))
    assert known.module.getservers()[0]["error"] is None


async def test_unloading_closes_peers_that_have_not_said_who_they_are(start: Start) -> None:
    running: Running = await start(OpenflowServer, "X.url = 'tcp://127.0.0.1:0'")
    line = await running.connect()
    assert running.module.getconnections()[0]["state"] == "connecting"
    await running.server.unload(OpenflowServer)
    assert await ended(*line)


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
    assert [module.vhost_of(connection) for connection in given] == ["db"]
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
