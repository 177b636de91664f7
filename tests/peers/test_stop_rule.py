"""A process ends by itself, with status 0, when its modules are unloaded or nothing can happen any more."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.controller import MODULES, VIPERFLOW, WEBAPI, Controller

MANAGER = "vlcp.service.manage.modulemanager.Manager"
HTTPSERVER = "vlcp.service.connection.httpserver.HttpServer"
KEEPERS = ("vlcp.service.utils.knowledge.Knowledge", "vlcp.service.kvdb.embeddeddb.EmbeddedDB")
"""Modules that keep something."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path)
    yield controller
    controller.end()


def status(controller: Controller) -> int:
    """The exit status of a process that ends by itself."""
    return controller.process.wait(10)


def is_quiet(controller: Controller) -> bool:
    return "Traceback" not in controller.log() and "ERROR" not in controller.log()


def test_the_unload_of_the_last_listener_is_answered(running: Controller) -> None:
    loaded = running.result("manager/activemodules")
    assert set(MODULES) < set(loaded.values())
    for path in loaded.values():
        if path not in (WEBAPI, MANAGER, HTTPSERVER):
            assert running.result("manager/unloadmodule", path=path) is None
    assert set(running.result("manager/activemodules")) == {"manager", "webapi", "httpserver"}
    answer = running.call("manager/unloadmodule", path=WEBAPI)
    assert (answer.status, answer.body) == (200, {"result": None})
    assert answer.seconds < 1
    assert status(running) == 0
    assert is_quiet(running)


def test_the_manager_unloads_itself(running: Controller) -> None:
    assert running.call("manager/unloadmodule", path=MANAGER).body == {"result": None}
    assert running.call("manager/status").status == 404
    assert running.call("viperflow/listphysicalnetworks").status == 200
    assert running.end() == 0
    assert is_quiet(running)


def test_the_last_listener_and_the_last_connection_are_closed(running: Controller) -> None:
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    client.request("POST", "/httpserver/stoplisten")
    response = client.getresponse()
    assert (response.status, response.read()) == (200, b'{"result": 1}')
    with pytest.raises(ConnectionRefusedError):
        running.call("manager/status")
    client.request("GET", "/manager/activemodules")
    assert client.getresponse().read().startswith(b'{"result"'), "an open connection is work"
    time.sleep(1.5)
    assert running.process.poll() is None
    client.close()
    assert status(running) == 0
    assert is_quiet(running)


def test_listening_again_in_time(running: Controller) -> None:
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    for api in ("stoplisten", "startlisten"):
        client.request("POST", f"/httpserver/{api}")
        assert client.getresponse().read() == b'{"result": 1}'
    client.close()
    time.sleep(1.5)
    assert running.call("manager/status").status == 200


def test_a_client_that_dials_is_work(tmp_path: Path) -> None:
    more = f"module.jsonrpcserver.client = True\nmodule.jsonrpcserver.url = 'unix://{tmp_path}/nobody'\n"
    dialling = ("vlcp.service.connection.jsonrpcserver.JsonRPCServer",)
    controller = Controller(tmp_path, (*MODULES, *dialling), more)
    controller.result("httpserver/stoplisten")
    time.sleep(1.5)
    assert controller.process.poll() is None
    assert controller.end() == 0


def test_a_reload_of_the_server_under_the_request_is_answered(running: Controller) -> None:
    running.result("knowledge/set", key="a", value=1)
    running.result("kvstorage/set", key="b", value=2)
    before = running.result("manager/status")
    slow = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    slow.request("GET", "/manager/activemodules")
    assert slow.getresponse().read(), "another connection, idle now"
    assert (
        running.result("manager/reloadmodules", pathlist=[HTTPSERVER, VIPERFLOW, MANAGER, *KEEPERS]) is None
    )
    slow.close()
    after = running.result("manager/status")
    assert {name: state["state"] for name, state in after.items()} == dict.fromkeys(before, "succeeded")
    assert after["webapi"]["since"] > before["webapi"]["since"], "it needs the server"
    assert after["objectdb"]["since"] == before["objectdb"]["since"], "the store is replaced where it stands"
    assert (running.result("knowledge/get", key="a"), running.result("kvstorage/get", key="b")) == (1, 2)
    assert is_quiet(running)


@pytest.mark.parametrize(
    ("pathlist", "code", "told"),
    [
        (["WebAPI"], 404, "give the full loading path"),
        (["vlcp.service.manage.webapi.WebAPi"], 404, "did you mean vlcp.service.manage.webapi.WebAPI"),
        (
            ["vlcp.service.utils.remoteapi.RemoteCall"],
            409,
            "it is not loaded; load it with manager/loadmodule",
        ),
        ([], 400, "at least one loading path"),
        ([5], 400, "pathlist"),
        ({"a": 1}, 400, "pathlist"),
    ],
)
def test_reloads_that_cannot_be(controller: Controller, pathlist: object, code: int, told: str) -> None:
    answer = controller.call("manager/reloadmodules", pathlist=pathlist)
    assert answer.status == code
    assert told in answer.body["error"]
