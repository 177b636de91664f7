"""The three server modules on real sockets: virtual hosts, their five APIs, and what changes while they run."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from certificates import Authority
from unit.service.connection.running import Running, Start, ended, free_port, until
from vlcp.server.api import ConflictError, NotFoundError
from vlcp.server.module import ModuleError
from vlcp.service.connection.connectionserver import ConnectionServer
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.openflowserver import OpenflowServer
from vlcp.web import routes
from vlcp.web.environment import Environment

MODULES: tuple[type[ConnectionServer], ...] = (HttpServer, JsonRPCServer, OpenflowServer)


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


async def test_what_cannot_be_opened_again_is_told_to_the_caller(start: Start, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    running: Running = await start(OpenflowServer, f"X.url = 'unix://{tmp_path}/d/s'")
    running.module.stoplisten()
    (tmp_path / "d").rmdir()
    with pytest.raises(ConflictError, match=r"x.conf:1: module.openflowserver.url = .*No such file"):
        await running.module.startlisten()
    (tmp_path / "d").mkdir()
    assert await running.module.startlisten() == 1


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


async def test_processes_share_a_port(start: Start) -> None:
    text = f"X.url = 'tcp://127.0.0.1:{free_port()}'\nprotocol.default.reuseport = True"
    servers: list[Running] = [await start(OpenflowServer, text) for _ in range(2)]
    assert [running.module.getservers()[0]["listening"] for running in servers] == [True, True]


async def test_a_virtual_host_has_settings_of_http_of_its_own(start: Start) -> None:
    text = """X.url = None
X.vhost.a.url = 'tcp://127.0.0.1:0'
X.vhost.a.protocol.http.idletimeout = 0.1
X.vhost.b.url = 'tcp://127.0.0.1:0'"""
    running: Running = await start(HttpServer, text)
    a, b = await running.connect("a"), await running.connect("b")
    for _, writer in (a, b):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await ended(*a)
    assert [c["vhost"] for c in running.module.getconnections()] == ["b"]
    assert not b[0].at_eof()


async def test_names_of_urls_are_host_names_only_while_they_are_configured(start: Start) -> None:
    running: Running = await start(
        HttpServer, "X.urls = ['tcp://127.0.0.1:0', 'tcp://localhost:0']\nX.url = None"
    )
    assert isinstance(running.module, HttpServer)
    assert running.module.host("").names == {"127.0.0.1", "localhost"}
    running.configure("X.url = 'tcp://127.0.0.2:0'")
    await running.module.updateconfig()
    assert running.module.host("").names == {"127.0.0.2"}


@pytest.mark.parametrize("how", ["unload", "updateconfig"])
@pytest.mark.parametrize("cls", MODULES)
async def test_a_peer_whose_handshake_ends_too_late_is_refused(
    start: Start, tmp_path: Path, cls: type[ConnectionServer], how: str
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    files = f"X.certificate = '{certificate}'\nX.key = '{key}'"
    running: Running = await start(cls, f"X.url = 'ssl://localhost:0'\n{files}")
    _, writer = await asyncio.open_connection("127.0.0.1", running.port())
    running.writers.append(writer)
    await until(lambda: running.module.getservers()[0]["accepted"])
    running.configure("X.url = None")
    await (running.server.unload(cls) if how == "unload" else running.module.updateconfig())
    lost = asyncio.Event()

    class Late(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    context = ssl.create_default_context(cafile=authority.certificate)
    try:
        loop = asyncio.get_running_loop()
        await loop.start_tls(writer.transport, Late(), context, server_hostname="localhost")
    except ConnectionError:
        return
    await asyncio.wait_for(lost.wait(), 5)


async def test_what_is_not_configured_any_more_is_not_started_at_the_same_time(start: Start) -> None:
    stays, goes = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    running: Running = await start(OpenflowServer, f"X.urls = ['{stays}', '{goes}']\nX.url = None")
    running.module.stoplisten()
    starting = asyncio.create_task(running.module.startlisten())
    await asyncio.sleep(0)
    running.configure(f"X.url = '{stays}'")
    await running.module.updateconfig()
    await starting
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(goes.rpartition(":")[2]))


@pytest.mark.parametrize("cls", MODULES)
async def test_peers_that_have_the_same_name_are_all_counted(
    start: Start, cls: type[ConnectionServer], tmp_path: Path
) -> None:
    running: Running = await start(cls, f"X.url = 'unix://{tmp_path}/s'")
    for _ in range(2):
        await running.connect()
    assert len(running.module.statistics()["connections"]) == 2


async def test_the_limit_of_bodies_is_that_of_the_present_configuration(start: Start) -> None:
    running: Running = await start(HttpServer, "X.url = 'tcp://127.0.0.1:0'\nX.bodylimit = 1")
    assert isinstance(running.module, HttpServer)

    async def size(env: Environment) -> str:
        return str(len(str(await env.parameters())))

    running.module.host("").add(routes.plain("/", size, methods=("POST",)))
    request = b"POST / HTTP/1.0\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    for expected in (413, 200):
        reader, writer = await running.connect()
        writer.write(request)
        assert int((await reader.read()).split()[1]) == expected
        running.configure("X.url = 'tcp://127.0.0.1:0'\nX.bodylimit = 2")
        await running.module.updateconfig()
