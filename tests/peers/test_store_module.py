"""The module of the store is unloaded and reloaded while everything builds on it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.controller import MODULES, Controller

EMBEDDED = "vlcp.service.kvdb.embeddeddb.EmbeddedDB"
OBJECT = "viperflow.physicalnetwork.p"
LOGGING = (
    "server.logging.handlers = {'stderr': {'class': 'logging.StreamHandler'}}\n"
    "server.logging.root = {'level': 'INFO', 'handlers': ['stderr']}\n"
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path, more=LOGGING)
    yield controller
    assert controller.end() == 0
    assert "Traceback" not in controller.log()


def test_unloading_the_store_unloads_what_needs_it_first(running: Controller) -> None:
    before = set(running.result("manager/activemodules"))
    users = {"viperflow", "objectdb", "kvstorage", "updatenotifier", "embeddeddb", "autoload"}
    assert before > users - {"autoload"}
    running.result("manager/unloadmodule", path=EMBEDDED)
    after = set(running.result("manager/activemodules"))
    assert before - after <= users
    assert before - after >= users - {"autoload"}
    assert {"manager", "webapi", "httpserver", "memorystorage", "knowledge"} <= after
    order = re.findall(r"module '(\w+)' is unloaded", running.log())
    for user, needed in (("viperflow", "objectdb"), ("objectdb", "kvstorage"), ("objectdb", "updatenotifier"),
                         ("kvstorage", "embeddeddb"), ("updatenotifier", "embeddeddb")):  # fmt: skip
        assert order.index(user) < order.index(needed), order
    assert running.call("viperflow/listphysicalnetworks").status == 404
    running.result("manager/loadmodule", path=MODULES[0])
    assert running.result("viperflow/listphysicalnetworks") == []


def test_what_others_write_is_heard_of_after_a_reload_of_the_store(
    running: Controller, tmp_path: Path
) -> None:
    running.result("viperflow/createphysicalnetwork", type="local", id="p")
    assert running.result("objectdb/get", key=OBJECT, requestid="test")["id"] == "p"
    running.result("manager/reloadmodules", pathlist=[EMBEDDED])
    assert running.result("objectdb/watchlist") == {OBJECT: ["test"]}
    directory = tmp_path / "other"
    directory.mkdir()
    other = Controller(directory, more=f"module.embeddeddb.path = '{tmp_path}/vlcp.db'\n")
    try:
        other.result("viperflow/deletephysicalnetwork", id="p")
        deadline = time.monotonic() + 2
        while running.result("objectdb/get", key=OBJECT, requestid="again") is not None:
            assert time.monotonic() < deadline, "the mirror still has what was deleted"
            time.sleep(0.01)
    finally:
        assert other.end() == 0
