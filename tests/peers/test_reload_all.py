"""Every module can be reloaded while the process serves: one after the other, and all at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.controller import MODULES, Controller

MORE = (
    "vlcp.service.debugging.console.Console",
    "vlcp.service.kvdb.redisnotifier.UpdateNotifier",
    "vlcp.service.sdn.arpresponder.ARPResponder",
    "vlcp.service.sdn.dhcpserver.DHCPServer",
    "vlcp.service.sdn.ioprocessing.IOProcessing",
    "vlcp.service.sdn.l2switch.L2Switch",
    "vlcp.service.utils.remoteapi.RemoteCall",
    "vlcp.service.utils.session.Session",
    "vlcp.service.web.static.Static",
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Controller]:
    more = (
        f"module.console.telnetconsole = 'punix://{tmp_path}/console'\n"
        f"module.openflowserver.url = 'punix://{tmp_path}/openflow'\n"
        f"module.jsonrpcserver.url = 'punix://{tmp_path}/jsonrpc'\n"
    )
    controller = Controller(tmp_path, (*MODULES, *MORE), more)
    yield controller
    assert controller.end() == 0
    assert "Traceback" not in controller.log()


def states(controller: Controller) -> dict[str, str]:
    return {name: status["state"] for name, status in controller.result("manager/status").items()}


def test_one_after_the_other(running: Controller) -> None:
    before = running.result("manager/status")
    assert set(states(running).values()) == {"succeeded"}
    running.result("viperflow/createphysicalnetwork", type="local", id="p")
    for path in running.result("manager/activemodules").values():
        assert running.result("manager/reloadmodules", pathlist=[path]) is None
        after = running.result("manager/status")
        for name, status in before.items():
            assert {**after[name], "since": 0} == {**status, "since": 0}, f"{name} after a reload of {path}"
    running.result("viperflow/createlogicalnetwork", physicalnetwork="p", id="n")
    assert [network["id"] for network in running.result("viperflow/listlogicalnetworks")] == ["n"]


def test_all_at_once_under_calls(running: Controller) -> None:
    running.result("viperflow/createphysicalnetwork", type="local", id="p")
    before, ended, answers = states(running), threading.Event(), list[int]()

    def call() -> None:
        while not ended.is_set():
            try:
                answers.append(running.call("viperflow/listphysicalnetworks", id="p").status)
            except OSError:
                answers.append(0)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(3):
            paths = list(running.result("manager/activemodules").values())
            assert running.result("manager/reloadmodules", pathlist=paths) is None
            assert states(running) == before
    finally:
        ended.set()
        caller.join()
    assert running.call("viperflow/listphysicalnetworks", id="p").status == 200
    assert answers.count(200) > 3
    assert set(answers) <= {200, 404, 503, 0}, "0: nobody listens for a moment"
