"""Listeners of a whole controller: places that are taken or left behind, TLS, changes while it runs, and the end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from peers.controller import WEBAPI, Controller, free_port

MANAGER = "vlcp.service.manage.modulemanager.Manager"
OPENFLOW = "vlcp.service.connection.openflowserver.OpenflowServer"
JSONRPC = "vlcp.service.connection.jsonrpcserver.JsonRPCServer"
SOON = "protocol.default.retrylisten_interval = 0.2\n"


@contextmanager
def running(directory: Path, more: str = "", up: str = "manager/status") -> Iterator[Controller]:
    """A controller with the web API, OpenFlow and JSON-RPC; its log has no traceback."""
    controller = Controller(directory, (WEBAPI, MANAGER, OPENFLOW, JSONRPC), more, up)
    try:
        yield controller
    finally:
        status = controller.end()
    assert (status, [line for line in controller.log().splitlines() if "Traceback" in line]) == (0, [])


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether HTTP is answered at a port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/manager/discover")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ended(line: socket.socket) -> bool:
    """Whether the other side ends a connection, whatever it sends before."""
    line.settimeout(5)
    try:
        while line.recv(65536):
            pass
    except ConnectionResetError:
        pass
    line.close()
    return True


def quiet(more: str = "") -> str:
    """Settings with nothing at well-known ports."""
    return f"module.openflowserver.url = None\nmodule.jsonrpcserver.url = None\n{more}"


def test_a_port_in_use_is_told_at_once_shown_and_taken_when_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        with running(tmp_path, quiet(f"module.openflowserver.url = '{url}'\n{SOON}")) as controller:
            assert (
                f"cannot listen on {url}: Address already in use; tried again every 0.2 s" in controller.log()
            )
            status = controller.result("manager/status")["openflowserver"]
            assert status["state"] == "succeeded"
            assert status["error"].startswith(f"module.openflowserver.url = '{url}': cannot listen on {url}")
            (server,) = controller.result("openflowserver/getservers")
            assert (server["listening"], "already in use" in server["error"]) == (False, True)
            holder.close()
            until(lambda: controller.result("openflowserver/getservers")[0]["listening"])
            assert controller.result("manager/status")["openflowserver"]["error"] is None
            assert controller.log().count("cannot listen") == 1


def test_the_web_api_waits_for_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        more = quiet(f"module.httpserver.vhost.api.urls = ['tcp://127.0.0.1:{port}']\n{SOON}")
        with running(tmp_path, more):
            assert not answers(port)
            holder.close()
            until(lambda: answers(port))


def test_a_unix_socket_of_a_killed_process_is_replaced_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "of.sock"
    more = quiet(f"module.openflowserver.url = 'unix://{path}'\n{SOON}")
    first = Controller(tmp_path, (WEBAPI, MANAGER, OPENFLOW), more, "manager/status")
    (tmp_path / "second").mkdir()
    with running(tmp_path / "second", more) as second:
        assert "in use" in second.result("openflowserver/getservers")[0]["error"]
        assert path.exists()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        until(lambda: second.result("openflowserver/getservers")[0]["listening"])
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
            assert line.recv(8)[:2] == b"\x04\x00"  # the greeting of OpenFlow 1.3
    assert not path.exists()


def test_the_configuration_is_followed_over_the_very_server_that_moves(tmp_path: Path) -> None:
    new = free_port()
    with running(tmp_path, quiet()) as controller:
        text, old = controller.file.read_text(), controller.port
        idle = controller.connect()
        controller.file.write_text(f"{text}module.httpserver.vhost.api.url = 'tcp://127.0.0.1:{new}'\n")
        changed = controller.result("httpserver/updateconfig")
        assert changed == {
            "removed": [f"tcp://localhost:{old}"],
            "added": [f"tcp://127.0.0.1:{new}"],
            "unchanged": [],
        }
        assert (ended(idle), answers(old), answers(new)) == (True, False, True)
        controller.port = new
        controller.file.write_text(f"{text}module.httpserver.vhost.api.url = 'zk://h'\n")
        refused = controller.call("httpserver/updateconfig")
        place = f"{controller.file}:{len(text.splitlines()) + 1}: module.httpserver.vhost.api.url: 'zk://h'"
        assert (refused.status, place in refused.body["error"]) == (409, True)
        assert answers(new)


def test_only_clients_with_a_certificate_are_served(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (certificate, key), port = authority.sign("server"), free_port()
    more = f"""module.httpserver.vhost.api.urls = ['ssl://localhost:{port}']
module.httpserver.certificate = '{certificate}'
module.httpserver.key = '{key}'
module.httpserver.vhost.api.ca_certs = '{authority.certificate}'
"""
    context = ssl.create_default_context(cafile=authority.certificate)

    def call() -> Any:
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
        try:
            connection.request("GET", "/httpserver/getconnections")
            return json.loads(connection.getresponse().read())["result"]
        finally:
            connection.close()

    with running(tmp_path, quiet(more)):
        with pytest.raises(OSError, match=r"(?i)certificate required|alert|reset|closed|eof"):
            call()
        context.load_cert_chain(*authority.sign("client", "DNS:client"))
        assert [(c["url"], c["requests"]) for c in call()] == [(f"ssl://localhost:{port}", 1)]


def test_a_file_for_tls_that_is_missing_is_told_with_its_key(tmp_path: Path) -> None:
    more = quiet(
        f"module.openflowserver.url = 'ssl:///'\nmodule.openflowserver.certificate = '{tmp_path}/no.pem'\n"
    )
    with running(tmp_path, more) as controller:
        error = controller.result("manager/status")["openflowserver"]["error"]
        assert f"module.openflowserver.certificate = '{tmp_path}/no.pem': No such file or directory" in error


def test_a_controller_that_ends_closes_all_connections_at_once(tmp_path: Path) -> None:
    more = "module.openflowserver.url = 'tcp://127.0.0.1:0'\nmodule.jsonrpcserver.url = 'tcp://127.0.0.1:0'\n"
    with running(tmp_path, more) as controller:
        ports = [controller.port]
        for module in ("openflowserver", "jsonrpcserver"):
            (server,) = controller.result(f"{module}/getservers")
            ports.append(int(server["url"].rpartition(":")[2]))
        lines = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(20)]
        until(lambda: len(controller.result("openflowserver/getconnections")) == 20)
        until(lambda: len(controller.result("jsonrpcserver/getconnections")) == 20)
        begin = time.monotonic()
        assert controller.end() == 0
        assert time.monotonic() - begin < 4
        assert all(map(ended, lines))
