"""Every API of every module is called once with good input, whose effect is seen, and once with bad input.

Good and bad calls go over HTTP to a real controller. An API that takes a function or a live object gets its good call
in the process: over HTTP there is only the bad one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from peers.controller import Controller
from peers.every_api import Inside, Over, Row
from peers.every_module import EMBEDDED, KNOWN, everything, name
from peers.service_rows import FILES, GOOD, MODULES, PHYSICAL_PORTS, REMOTE, SERVERS, objects_of
from peers.session_rows import SESSIONS
from peers.store_rows import EMBEDDED_STORE, OBJECTS, values
from peers.switch_rows import SWITCHES
from vlcp.server.config import parse
from vlcp.server.server import Server

PROXIES = tuple(map(name, KNOWN["proxies"]))

TABLE: list[Row] = [
    *(row for module in ("knowledge", "memorystorage", "embeddeddb", "kvstorage") for row in values(module)),
    *EMBEDDED_STORE,
    *OBJECTS,
    *(row for kind in GOOD for row in objects_of(kind)),
    *PHYSICAL_PORTS,
    *MODULES,
    *SERVERS,
    *SWITCHES,
    *REMOTE,
    *SESSIONS,
    *FILES,
]  # fmt: skip


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with everything(tmp_path_factory.mktemp("every")) as running:
        running.result("viperflow/createphysicalnetwork", type="local", id="p")
        running.result("viperflow/createphysicalnetwork", type="wired", id="w")
        running.result("viperflow/createlogicalnetwork", physicalnetwork="p", id="n")
        yield running


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """The modules that take functions, in this process."""
    server = Server(parse(f"proxy.kvstorage = {EMBEDDED!r}\nmodule.embeddeddb.path = ':memory:'\n"))
    await server.load("vlcp.service.kvdb.objectdb.ObjectDB")
    await server.load("vlcp.service.utils.knowledge.MemoryStorage")
    yield server
    await server.loader.unload_all()


@pytest.mark.parametrize("row", [row for row in TABLE if isinstance(row, Over)], ids=lambda row: row.api)
def test_good_input(controller: Controller, row: Over) -> None:
    for path, params in row.before:
        assert controller.call(path, **params).status == 200
    good = row.good(controller) if callable(row.good) else row.good
    assert row.check(controller, controller.result(row.api, **good))


@pytest.mark.parametrize("row", [row for row in TABLE if isinstance(row, Inside)], ids=lambda row: row.api)
async def test_good_input_inside(server: Server, row: Inside) -> None:
    await row.good(server, row.api.partition("/")[0])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.api)
def test_bad_input(controller: Controller, row: Row) -> None:
    answer = controller.call(row.api, **row.bad)
    assert answer.status == row.status, answer
    assert list(answer.body) == ["error"]
    assert row.told in answer.body["error"]
    assert answer.seconds < 1


def test_discover_of_every_module(controller: Controller) -> None:
    for module in ("public", *controller.result("manager/activemodules")):
        shown = controller.result(f"{module}/discover", details="true")
        assert shown["discover"]["parameters"] == [{"name": "details", "optional": True, "default": False}]
        answer = controller.call(f"{module}/discover", detail="true")
        assert answer.status == 400
        assert "unknown parameter 'detail'; did you mean details?" in answer.body["error"]


def test_every_api_has_a_row(controller: Controller) -> None:
    """A proxy may have rows; what it forwards to must."""
    existing = {
        (module, api)
        for module in controller.result("manager/activemodules")
        for api in controller.result(f"{module}/discover")
        if api != "discover"
    }
    rows = [tuple(row.api.split("/")) for row in TABLE]
    assert {pair for pair in existing - set(rows) if pair[0] not in PROXIES} == set()
    assert set(rows) - existing == set()
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_offers_what_it_stands_for(controller: Controller, proxy: str) -> None:
    told = controller.call(f"{proxy}/nosuch").body["error"]
    module = told.partition("in module '")[2].partition("'")[0]
    assert module not in PROXIES
    for details in ("", "true"):
        shown = controller.result(f"{proxy}/discover", details=details)
        assert shown == controller.result(f"{module}/discover", details=details)
