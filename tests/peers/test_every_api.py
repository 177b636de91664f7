"""Every API of every module is called once with good input, whose effect is seen, and once with bad input.

Good and bad calls go over HTTP to a real controller. An API that takes a function or a live object gets its good call
in the process: over HTTP there is only the bad one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from peers.controller import Controller
from peers.every_module import EMBEDDED, KNOWN, everything, name
from vlcp.server.config import parse
from vlcp.server.server import Server

Params = dict[str, Any]
Check = Callable[[Controller, Any], object]
Calls = tuple[tuple[str, Params], ...]


class Over(NamedTuple):
    """An API, called over HTTP: good parameters, a check of the effect, bad parameters, and what is answered to them.

    The check gets the controller and the result. `before` are calls that the good one needs.
    """

    api: str
    good: Params
    check: Check
    bad: Params
    status: int
    told: str
    before: Calls = ()


class Inside(NamedTuple):
    """An API that takes a function or an object: what makes a good call in the process, and the bad call over HTTP."""

    api: str
    good: Callable[[Server, str], Awaitable[None]]
    bad: Params
    status: int
    told: str


PROXIES = tuple(map(name, KNOWN["proxies"]))
NOTHING_TO_GIVE: tuple[dict[str, Any], int, str] = (
    {"x": "1"},
    400,
    "unknown parameter 'x'; the parameters are (",
)


# Key-value stores


def _stored(key: str, value: Any) -> Callable[[str], Check]:
    return lambda module: lambda c, _: c.result(f"{module}/get", key=key) == value


def values(module: str) -> list[Over | Inside]:
    """The APIs that every key-value store has."""

    def path(api: str) -> str:
        return f"{module}/{api}"

    def read(c: Controller, *keys: str) -> Any:
        return c.result(path("mget"), keys=keys)

    def given(**pairs: Any) -> Calls:
        return ((path("mset"), {"kvpairs": pairs}),)

    function = (400, "'updater' must be a function")
    return [
        Over(path("get"), {"key": "g"}, lambda c, r: r == {"a": [1]},
             {"key": "g", "timeout": "soon"}, 400, "parameter 'timeout': expected `float", given(g={"a": [1]})),
        Over(path("set"), {"key": "s", "value": "1"}, lambda c, r: r is None and read(c, "s") == ["1"],
             {"key": "s"}, 400, "missing parameter 'value'"),
        Over(path("delete"), {"key": "d"}, lambda c, r: r is None and read(c, "d") == [None],
             {}, 400, "missing parameter 'key'", given(d=1)),
        Over(path("mget"), {"keys": ["m", "absent", "n"]}, lambda c, r: r == [1, None, 2],
             {"keys": "m"}, 400, "parameter 'keys': expected `array`", given(m=1, n=2)),
        Over(path("mgetwithcache"), {"keys": ["m", "absent"]}, lambda c, r: r[0] == [1, None],
             {"keys": 5}, 400, "parameter 'keys': expected `array`", given(m=1)),
        Over(path("mset"), {"kvpairs": {"x": 1, "y": [2]}}, lambda c, r: r is None and read(c, "x", "y") == [1, [2]],
             {"kvpairs": 5}, 400, "kvpairs is neither a dictionary nor a list of pairs"),
        Inside(path("update"), _update, {"key": "u", "updater": "len"}, *function),
        Inside(path("mupdate"), _mupdate, {"keys": ["u"], "updater": "len"}, *function),
        Inside(path("updateall"), _updateall, {"keys": ["u"], "updater": "len"}, *function),
        Inside(path("updateallwithtime"), _updateallwithtime, {"keys": ["u"], "updater": 5}, *function),
    ]  # fmt: skip


async def _update(server: Server, module: str) -> None:
    for expected in (1, 2):
        assert (
            await server.call(module, "update", key="u", updater=lambda key, old: (old or 0) + 1) == expected
        )
    assert await server.call(module, "update", key="u", updater=lambda key, old: None) is None
    assert await server.call(module, "get", key="u") is None


async def _mupdate(server: Server, module: str) -> None:
    result = await server.call(module, "mupdate", keys=["a", "b"], updater=lambda key, old: key * 2)
    assert result == await server.call(module, "mget", keys=["a", "b"]) == ["aa", "bb"]


async def _updateall(server: Server, module: str) -> None:
    await server.call(module, "set", key="a", value=1)
    result = await server.call(
        module, "updateall", keys=["a"], updater=lambda keys, old: (["a", "c"], [None, old[0] + 1])
    )
    assert tuple(result) == (["a", "c"], [None, 2])
    assert await server.call(module, "mget", keys=["a", "c"]) == [None, 2]


async def _updateallwithtime(server: Server, module: str) -> None:
    before = time.time_ns() // 1000
    await server.call(module, "updateallwithtime", keys=["t"], updater=lambda keys, old, now: (keys, [now]))
    assert before - 1e6 <= await server.call(module, "get", key="t") <= time.time_ns() // 1000 + 1e6


async def _getclient(server: Server, module: str) -> None:
    backend, encode, decode = await server.call(module, "getclient")
    await server.call(module, "set", key="c", value=[1])
    snapshot = await backend.read(["c"])
    assert decode("c", snapshot.entries["c"].value).value == [1]
    assert encode("c", decode("c", b"[1]")) == b"[1]"


async def _createnotifier(server: Server, module: str) -> None:
    notifier = await server.call(module, "createnotifier")
    await notifier.add_listen("heard")
    await server.call(module, "set", key="unheard", value=1)
    await server.call(module, "set", key="heard", value=1)
    assert (await anext(aiter(notifier))).keys == ("heard",)
    notifier.close()


EMBEDDED_STORE: list[Over | Inside] = [
    Over("embeddeddb/listallkeys", {}, lambda c, r: "listed" in r, {"vhost": "nosuch"}, 404, "nosuch",
         (("embeddeddb/set", {"key": "listed", "value": 1}),)),
    Inside("embeddeddb/getclient", _getclient, {"vhost": 5}, 400, "parameter 'vhost': expected `str`"),
    Inside("embeddeddb/createnotifier", _createnotifier, {"vhost": "nosuch"}, 404, "nosuch"),
]  # fmt: skip


# Objects

KEY = "viperflow.logicnetwork.n"


def _held(c: Controller, request: str) -> list[str]:
    return list(c.result("objectdb/watchlist", requestid=request))


def _is_n(value: Any) -> bool:
    return isinstance(value, dict) and value["physicalnetwork"] == "p"


def _get(request: str) -> Calls:
    return (("objectdb/get", {"key": KEY, "requestid": request}),)


async def _transact(server: Server, module: str) -> None:
    def swap(keys: list[str], values: list[Any]) -> tuple[list[str], list[Any]]:
        return keys, [values[1], values[0]]

    await server.call("kvstorage", "mset", kvpairs={"a": {"n": 1}, "b": {"n": 2}})
    await server.call(module, "transact", keys=["a", "b"], updater=swap)
    assert await server.call("kvstorage", "mget", keys=["a", "b"]) == [{"n": 2}, {"n": 1}]


async def _asynctransact(server: Server, module: str) -> None:
    async def prepare(last: Any, container: Any) -> Any:
        now = await container.call(module, "gettimestamp")
        return (lambda keys, values: (keys, [{"since": now}])), ["a"]

    await server.call(module, "asynctransact", asyncupdater=prepare)
    assert (await server.call(module, "getonce", key="a"))["since"] > 0


async def _walk(server: Server, module: str) -> None:
    def walker(key: str, value: Any, walk: Any, save: Any) -> None:
        save(key)
        try:
            if walk(value["next"]) is not None:
                save(value["next"])
        except KeyError:
            pass

    await server.call("kvstorage", "mset", kvpairs={"a": {"next": "b"}, "b": {"next": "c"}})
    saved, values = await server.call(module, "walk", keys=["a"], walkerdict={"a": walker}, requestid="w")
    assert sorted(saved) == ["a", "b"]
    assert sorted(value["next"] for value in values) == ["b", "c"]
    assert await server.call(module, "watchlist", requestid="w") == {"a": ["w"], "b": ["w"]}


def _count(walk: Any, write: Any) -> None:
    """A walker that writes."""
    write("a", {"n": walk("a")["n"] + 1})


async def _writewalk(server: Server, module: str) -> None:
    await server.call("kvstorage", "set", key="a", value={"n": 1})
    await server.call(module, "writewalk", keys=["a"], walker=_count)
    assert await server.call("kvstorage", "get", key="a") == {"n": 2}


async def _asyncwritewalk(server: Server, module: str) -> None:
    async def prepare(last: Any, container: Any) -> Any:
        return ["a"], _count

    await server.call("kvstorage", "set", key="a", value={"n": 1})
    await server.call(module, "asyncwritewalk", asyncwalker=prepare)
    assert await server.call("kvstorage", "get", key="a") == {"n": 2}


OBJECTS: list[Over | Inside] = [
    Over("objectdb/get", {"key": KEY, "requestid": "g"}, lambda c, r: _is_n(r) and _held(c, "g") == [KEY],
         {"key": "d/", "requestid": "g"}, 400, "'d/' is not a key"),
    Over("objectdb/mget", {"keys": [KEY, "absent"], "requestid": "mg"},
         lambda c, r: _is_n(r[0]) and r[1] is None and _held(c, "mg") == [KEY],
         {"keys": [KEY]}, 400, "missing parameter 'requestid'"),
    Over("objectdb/getonce", {"key": KEY}, lambda c, r: _is_n(r), {"key": ""}, 400, "'' is not a key"),
    Over("objectdb/mgetonce", {"keys": ["absent", KEY]}, lambda c, r: r[0] is None and _is_n(r[1]),
         {"keys": "x"}, 400, "parameter 'keys': expected `array`"),
    Over("objectdb/watch", {"key": "later", "requestid": "w"}, lambda c, r: _held(c, "w") == ["later"],
         {"key": "later", "requestid": {}}, 400, "'requestid' must be hashable"),
    Over("objectdb/mwatch", {"keys": [KEY, "later"], "requestid": "mw"},
         lambda c, r: _is_n(r[0]) and set(_held(c, "mw")) == {KEY, "later"},
         {"keys": [5], "requestid": "mw"}, 400, "key"),
    Over("objectdb/unwatch", {"key": KEY, "requestid": "u"}, lambda c, r: _held(c, "u") == [],
         {"key": KEY}, 400, "missing parameter 'requestid'", _get("u")),
    Over("objectdb/munwatch", {"keys": [KEY], "requestid": "mu"}, lambda c, r: _held(c, "mu") == [],
         {"keys": KEY, "requestid": "mu"}, 400, "parameter 'keys': expected `array`", _get("mu")),
    Over("objectdb/unwatchall", {"requestid": "all"}, lambda c, r: _held(c, "all") == [],
         {"requestid": ["all"]}, 400, "'requestid' must be hashable", _get("all")),
    Over("objectdb/watchlist", {"requestid": "list"}, lambda c, r: list(r) == [KEY] and "list" in r[KEY],
         {"request": "list"}, 400, "unknown parameter 'request'; did you mean requestid?", _get("list")),
    Over("objectdb/gettimestamp", {}, lambda c, r: abs(r - time.time() * 1e6) < 10e6, *NOTHING_TO_GIVE),
    Inside("objectdb/transact", _transact, {"keys": ["x"], "updater": "len"}, 400, "'updater' must be a function"),
    Inside("objectdb/asynctransact", _asynctransact, {"asyncupdater": 5}, 400, "'asyncupdater' must be a function"),
    Inside("objectdb/walk", _walk, {"keys": ["x"], "walkerdict": ["x"], "requestid": "w"}, 400, "'walkerdict' must be"),
    Inside("objectdb/writewalk", _writewalk, {"keys": ["x"], "walker": None}, 400, "'walker' must be a function"),
    Inside("objectdb/asyncwritewalk", _asyncwritewalk, {}, 400, "missing parameter 'asyncwalker'"),
]  # fmt: skip


# The network

GOOD: dict[str, dict[str, Any]] = {
    "physicalnetwork": {"type": "local"},
    "logicalnetwork": {"physicalnetwork": "p"},
    "subnet": {"logicalnetwork": "n", "cidr": "10.77.0.0/24"},
    "logicalport": {"logicalnetwork": "n"},
}
"""Kind of object -> what a call to create one needs."""
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "physicalnetwork": ({"type": "nosuch"}, 400, "type is 'nosuch'"),
    "logicalnetwork": (
        {"physicalnetwork": "nosuch"},
        404,
        "physicalnetwork: there is no physical network 'nosuch'",
    ),
    "subnet": ({"logicalnetwork": "n", "cidr": "10.77.0.0/33"}, 400, "cidr is '10.77.0.0/33'"),
    "logicalport": ({"logicalnetwork": "n", "subnet": "nosuch"}, 404, "subnet: there is no subnet 'nosuch'"),
}
"""What must be wrong about it."""
SEVERAL = {
    "physicalnetwork": "networks",
    "logicalnetwork": "networks",
    "subnet": "subnets",
    "logicalport": "ports",
}


def objects_of(kind: str) -> list[Over | Inside]:
    """The APIs of one kind of object."""
    good, (bad, status, told), several = GOOD[kind], BAD[kind], SEVERAL[kind]

    def ids(c: Controller, *wanted: str) -> bool:
        found = [item["id"] for item in c.result(f"viperflow/list{kind}s")]
        return all(each in found for each in wanted)

    def gone(c: Controller, id: str) -> bool:
        return bool(c.result(f"viperflow/list{kind}s", id=id) == [])

    def made(id: str) -> Calls:
        return ((f"viperflow/create{kind}", good | {"id": id}),)

    def deleted(id: str) -> Check:  # so that the next subnet can have the prefix
        return lambda c, r: ids(c, id) and c.call(f"viperflow/delete{kind}", id=id).status == 200

    return [
        Over(f"viperflow/create{kind}", good | {"id": "one"}, deleted("one"), bad, status, told),
        Over(f"viperflow/create{kind}s", {several: [good | {"id": "many"}]}, deleted("many"),
             {several: [bad]}, status, f"{several}[0].{told}"),
        Over(f"viperflow/delete{kind}", {"id": "old"}, lambda c, r: gone(c, "old"),
             {"id": "never"}, 404, "id: there is no ", made("old")),
        Over(f"viperflow/delete{kind}s", {several: [{"id": "older"}]}, lambda c, r: gone(c, "older"),
             {several: [{"id": "never"}]}, 404, f"{several}[0].id: there is no ", made("older")),
        Over(f"viperflow/list{kind}s", {"id": "here"}, lambda c, r: r[0]["id"] == "here" and deleted("here")(c, r),
             {"id": ["here"]}, 400, "parameter 'id': expected `str | null`", made("here")),
    ]  # fmt: skip


# Modules

AUTOLOAD = "vlcp.service.utils.autoload.AutoLoad"


def _is_active(c: Controller, path: str) -> bool:
    return path in c.result("manager/activemodules").values()


LOADED: Calls = (("manager/loadmodule", {"path": AUTOLOAD}),)
UNLOADED: Calls = (("manager/unloadmodule", {"path": AUTOLOAD}),)
MODULES: list[Over | Inside] = [
    Over("manager/activemodules", {}, lambda c, r: r["autoload"] == AUTOLOAD, *NOTHING_TO_GIVE, LOADED),
    Over("manager/status", {}, lambda c, r: r["autoload"]["state"] == "succeeded", *NOTHING_TO_GIVE, LOADED),
    Over("manager/statistics", {}, lambda c, r: r["apis"]["calls"] > 0 and "webapi" in r["of"], *NOTHING_TO_GIVE),
    Over("manager/loadmodule", {"path": AUTOLOAD}, lambda c, r: _is_active(c, AUTOLOAD),
         {"path": "vlcp.service.utils.autoload.AutoLoat"}, 404, "did you mean", UNLOADED),
    Over("manager/unloadmodule", {"path": AUTOLOAD}, lambda c, r: not _is_active(c, AUTOLOAD),
         {"path": "nosuch.Module"}, 404, "there is no Python module 'nosuch'", LOADED),
]  # fmt: skip


# Servers


def _listening(c: Controller, module: str, vhost: str) -> list[bool]:
    return [server["listening"] for server in c.result(f"{module}/getservers", vhost=vhost)]


def listeners(module: str) -> list[Over | Inside]:
    """The APIs of a module that listens, with the virtual host `spare` of its own."""
    spare = {"vhost": "spare"}
    wrong = ({"vhost": 5}, 400, "parameter 'vhost': expected `str | null`")
    start: Calls = ((f"{module}/startlisten", spare),)
    stop: Calls = ((f"{module}/stoplisten", spare),)
    return [
        Over(f"{module}/getservers", spare, lambda c, r: [s["listening"] for s in r] == [True], *wrong, start),
        Over(f"{module}/stoplisten", spare, lambda c, r: r == 1 and _listening(c, module, "spare") == [False],
             *wrong, start),
        Over(f"{module}/startlisten", spare, lambda c, r: r == 1 and _listening(c, module, "spare") == [True],
             *wrong, stop),
    ]  # fmt: skip


def _knows_client(c: Controller, result: list[dict[str, Any]]) -> bool:
    """An HTTP connection that is open is shown."""
    with c.connect() as client:
        port = client.getsockname()[1]
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if str(port) in str(c.result("httpserver/getconnections", vhost="api")):
                return result != []
    return False


SERVERS: list[Over | Inside] = [
    *listeners("httpserver"),
    Over("httpserver/getconnections", {"vhost": "api"}, _knows_client,
         {"vhosts": "api"}, 400, "unknown parameter 'vhosts'; did you mean vhost?"),
]  # fmt: skip


# Switches

SWITCHES: list[Over | Inside] = [
    Over("openflowmanager/status", {}, lambda c, r: [(s["datapath_id"], s["connected"]) for s in r] == [
        (f"{0x1d:016x}", True)], *NOTHING_TO_GIVE),
    Over("openflowmanager/explain", {"cookie": "0x100000000000000"}, lambda c, r: r["feature"] == "ioprocessing",
         {"cookie": "a flow"}, 400, "cookie: 'a flow' is not a number"),
    Over("openflowmanager/lastacquiredtables", {}, lambda c, r: r[0] == r[1][""] and r[0][0][1] == 0,
         {"vhost": 5}, 400, "parameter 'vhost': expected `str`"),
]  # fmt: skip


TABLE: list[Over | Inside] = [
    *(row for module in ("knowledge", "memorystorage", "embeddeddb", "kvstorage") for row in values(module)),
    *EMBEDDED_STORE,
    *OBJECTS,
    *(row for kind in GOOD for row in objects_of(kind)),
    *MODULES,
    *SERVERS,
    *SWITCHES,
]  # fmt: skip


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with everything(tmp_path_factory.mktemp("every")) as running:
        running.result("viperflow/createphysicalnetwork", type="local", id="p")
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
    assert row.check(controller, controller.result(row.api, **row.good))


@pytest.mark.parametrize("row", [row for row in TABLE if isinstance(row, Inside)], ids=lambda row: row.api)
async def test_good_input_inside(server: Server, row: Inside) -> None:
    await row.good(server, row.api.partition("/")[0])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.api)
def test_bad_input(controller: Controller, row: Over | Inside) -> None:
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
