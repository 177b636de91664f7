"""The key-value API of the embedded store, in memory and in a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vlcp.model import codec
from vlcp.model.codec import CodecError
from vlcp.server.api import BadParameterError
from vlcp.server.config import parse
from vlcp.server.module import ModuleError
from vlcp.server.server import Server
from vlcp.service.kvdb.embeddeddb import EmbeddedDB
from vlcp.service.kvdb.keyvalue import Stored, decode, encode
from vlcp.service.kvdb.storage import KVStorage
from vlcp.store.contract import Preconditions
from vlcp.store.errors import UndecodableError

Call = Callable[..., Awaitable[Any]]


def configured(path: str) -> Server:
    return Server(
        parse(
            "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
            f"module.embeddeddb.path = {path!r}\n"
            "module.embeddeddb.checkinterval = 0.05\n"
        )
    )


@pytest.fixture(params=["memory", "file"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    server = configured(":memory:" if request.param == "memory" else str(tmp_path / "some" / "vlcp.db"))
    await server.load(KVStorage)
    yield server
    await server.loader.unload_all()


@pytest.fixture
def call(server: Server) -> Call:
    return lambda api, **params: server.apis.call("kvstorage", api, params)


async def test_json_values_are_kept(call: Call) -> None:
    value = {"text": "ä", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    assert await call("get", key="a") is None
    assert await call("set", key="a", value=value) is None
    assert await call("get", key="a") == value
    await call("mset", kvpairs={"b": 1, "dir/c": "x"})
    await call("mset", kvpairs=[["d", [1]]])
    assert await call("mget", keys=["b", "none", "dir/c", "d"]) == [1, None, "x", [1]]
    await call("delete", key="b")
    await call("delete", key="b")
    assert await call("listallkeys") == ["a", "d", "dir/c"]


class StoreClock:
    """The time of the stores in this process, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time_ns(self) -> int:
        return time.time_ns() + int(self.ahead * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoreClock:
    clock = StoreClock()
    monkeypatch.setattr("vlcp.store.table.time", clock)
    return clock


async def test_a_value_expires_by_the_store_s_time(call: Call, clock: StoreClock) -> None:
    await call("set", key="a", value=1, timeout="60")
    await call("mset", kvpairs={"b": 1, "c": 1}, timeout=60)
    await call("set", key="c", value=2)
    assert await call("mget", keys=["a", "b", "c"]) == [1, 1, 2]
    clock.ahead = 60
    assert await call("mget", keys=["a", "b", "c"]) == [None, None, 2]
    assert await call("update", key="a", updater=lambda key, value: [value]) == [None]
    async with asyncio.timeout(5):
        while await call("listallkeys") != ["a", "c"]:  # noqa: ASYNC110 (the sweep tells nobody)
            await asyncio.sleep(0.01)


async def test_get_may_give_a_new_lifetime(call: Call, clock: StoreClock) -> None:
    await call("set", key="a", value=1)
    assert await call("get", key="a", timeout=60) == 1
    assert await call("get", key="a") == 1
    clock.ahead = 60
    assert await call("get", key="a") is None
    await call("set", key="b", value=1)
    assert await call("get", key="b", timeout=0) == 1
    assert await call("get", key="b") is None
    assert await call("get", key="never", timeout=60) is None
    await call("set", key="c", value=1)
    await call("set", key="c", value=1, timeout=0)
    assert "c" not in await call("listallkeys")


async def test_mgetwithcache_gives_the_same_object_while_it_is_unchanged(call: Call) -> None:
    await call("mset", kvpairs={"a": {"x": 1}, "b": {"x": 1}})
    first, cache = await call("mgetwithcache", keys=["a", "b", "none"])
    await call("set", key="b", value={"x": 2})
    second, cache = await call("mgetwithcache", keys=["a", "b", "none"], cache=cache)
    assert second == [{"x": 1}, {"x": 2}, None]
    assert second[0] is first[0]
    assert cache.keys() == {"a", "b"}


@pytest.mark.parametrize("stored", [b"{", b"!x\n1", b"!1", b'"\xff"', b"[" * 100_000])
async def test_what_cannot_be_decoded_is_named(server: Server, call: Call, stored: bytes) -> None:
    await server.module(EmbeddedDB).backend.commit(Preconditions(), {"bad": stored, "good": b"1"})
    for api, keys in (("get", {"key": "bad"}), ("mget", {"keys": ["good", "bad"]})):
        with pytest.raises(UndecodableError, match="the value of 'bad' cannot be decoded"):
            await call(api, **keys)
    with pytest.raises(CodecError):
        codec.decode("bad", stored)
    assert await call("get", key="good") == 1
    await call("set", key="bad", value=2)
    assert await call("get", key="bad") == 2


async def test_updates_are_atomic(call: Call) -> None:
    await asyncio.gather(
        *(call("update", key="n", updater=lambda key, value: (value or 0) + 1) for _ in range(100))
    )
    assert await call("get", key="n") == 100

    def swap(keys: list[str], values: list[Any]) -> tuple[list[str], list[Any]]:
        return ["n", "m"], [values[1], values[0]]

    assert await call("updateall", keys=["n", "m"], updater=swap) == (["n", "m"], [None, 100])
    assert await call("mget", keys=["n", "m"]) == [None, 100]
    assert await call("mupdate", keys=["n", "m"], updater=lambda key, value: f"{key}{value}") == [
        "nNone",
        "m100",
    ]


async def test_a_failing_update_writes_nothing(call: Call) -> None:
    def fail(keys: list[str], values: list[Any]) -> Any:
        raise RuntimeError("no")

    await call("set", key="a", value=1)
    with pytest.raises(RuntimeError, match="no"):
        await call("updateall", keys=["a"], updater=fail)
    with pytest.raises(BadParameterError, match="'b' cannot be stored"):
        await call("mupdate", keys=["a", "b"], updater=lambda key, value: 2 if key == "a" else object())
    assert await call("get", key="a") == 1


async def test_the_time_is_the_store_s(call: Call) -> None:
    times: list[int] = []

    def note(keys: list[str], values: list[Any], now: int) -> Any:
        times.append(now)
        return keys, values

    await call("updateallwithtime", keys=["a"], updater=note)
    assert abs(times[0] - time.time() * 1e6) < 5e6


@pytest.mark.parametrize(
    ("api", "params", "complaint"),
    [
        ("get", {"key": ""}, "'' is not a key"),
        ("set", {"key": "dir/", "value": 1}, "'dir/' is not a key"),
        ("set", {"key": "a", "value": object()}, "the value of 'a' cannot be stored"),
        ("mset", {"kvpairs": 5}, "kvpairs is neither a dictionary nor a list of pairs"),
        ("mset", {"kvpairs": [[1, 2]]}, "1 is not a key: a key is a text"),
        ("mset", {"kvpairs": {b"a": 2}}, "b'a' is not a key: a key is a text"),
        ("updateall", {"keys": [], "updater": lambda *_: ([None], [1])}, "None is not a key"),
        ("mget", {"keys": [1]}, "parameter 'keys'"),
        ("update", {"key": "a", "updater": "code"}, "parameter 'updater' must be a function"),
    ],
)
async def test_bad_parameters_are_named(call: Call, api: str, params: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadParameterError, match=complaint):
        await call(api, **params)


async def test_the_file_survives_and_serves_several_processes(tmp_path: Path) -> None:
    path = str(tmp_path / "vlcp.db")
    first, second = configured(path), configured(path)
    await first.load(EmbeddedDB)
    await first.apis.call("embeddeddb", "set", {"key": "a", "value": [1]})
    await second.load(EmbeddedDB)
    await first.loader.unload_all()
    assert await second.apis.call("embeddeddb", "get", {"key": "a"}) == [1]
    await second.loader.unload_all()
    third = configured(path)
    await third.load(EmbeddedDB)
    assert await third.apis.call("embeddeddb", "get", {"key": "a"}) == [1]
    await third.loader.unload_all()


async def test_a_wrong_setting_is_named() -> None:
    server = Server(
        parse("module.embeddeddb.path = '/nowhere/at/all'\nmodule.embeddeddb.synchronous = 'SOMETIMES'")
    )
    with pytest.raises(ModuleError, match="synchronous is 'SOMETIMES'; allowed are OFF, NORMAL, FULL, EXTRA"):
        await server.load(EmbeddedDB)
    await server.loader.unload_all()


def test_the_stored_forms() -> None:
    """These bytes lie in files of users: they must be readable for ever."""
    assert encode("a", Stored({"x": 1})) == b'{"x":1}'
    assert encode("a", Stored([1], 1700000000000000)) == b"!1700000000000000\n[1]"
    assert decode("a", b"!1700000000000000\n[1]") == ([1], 1700000000000000)
    assert decode("a", b'"!"') == ("!", None)


async def test_a_lifetime_beyond_all_clocks(call: Call) -> None:
    await call("set", key="a", value=1, timeout=1e308)
    assert await call("get", key="a", timeout=1e300) == 1
    for impossible in (float("nan"), float("inf"), "NaN"):
        with pytest.raises(BadParameterError, match="'timeout': expected a finite number"):
            await call("set", key="a", value=2, timeout=impossible)
    assert await call("get", key="a") == 1


@pytest.mark.parametrize("cache", [{"a": 1}, {"a": []}, {"a": ["x", 5]}, {"a": {"b": 1}}, [], "text"])
async def test_a_cache_that_is_none(call: Call, cache: Any) -> None:
    await call("set", key="a", value=1)
    assert (await call("mgetwithcache", keys=["a"], cache=cache))[0] == [1]
