"""Calls of the APIs of stores: values by key, and objects."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from peers.controller import Controller
from peers.every_api import NOTHING_TO_GIVE, Calls, Check, Inside, Over, Row
from vlcp.server.server import Server

# Key-value stores


def _stored(key: str, value: Any) -> Callable[[str], Check]:
    return lambda module: lambda c, _: c.result(f"{module}/get", key=key) == value


def values(module: str) -> list[Row]:
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


EMBEDDED_STORE: list[Row] = [
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


OBJECTS: list[Row] = [
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
