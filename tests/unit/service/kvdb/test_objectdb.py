"""The object database: what is kept, walked, and written all or none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.model.objects import LogicalPort
from vlcp.server.api import BadParameterError, status_of
from vlcp.server.config import parse
from vlcp.server.module import ModuleError
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.store.errors import StaleError, StoreUnavailableError
from vlcp.web.display import Display

Call = Callable[..., Awaitable[Any]]
PORT = LogicalPort(id="p", logicalnetwork="n", mac_address="02:00:00:00:00:01")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(
        parse(
            "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\nmodule.embeddeddb.path = ':memory:'"
        )
    )
    await server.load(ObjectDB)
    yield server
    await server.loader.unload_all()


@pytest.fixture
def call(server: Server) -> Call:
    return lambda api, **params: server.apis.call("objectdb", api, params)


async def write(call: Call, **values: Any) -> None:
    await call("transact", keys=[], updater=lambda keys, _: (list(values), list(values.values())))


async def test_objects_and_plain_values_are_kept(call: Call) -> None:
    await write(call, port=PORT, plain={"a": [1]})
    assert await call("mget", keys=["port", "none", "plain"], requestid="r") == [PORT, None, {"a": [1]}]
    assert await call("get", key="port", requestid="s") == await call("get", key="port", requestid="r")
    assert await call("watchlist") == {"port": ["r", "s"], "plain": ["r"]}
    assert await call("watchlist", requestid="s") == {"port": ["r", "s"]}
    await call("unwatch", key="port", requestid="r")
    await call("unwatchall", requestid="s")
    assert await call("watchlist") == {"plain": ["r"]}
    await call("munwatch", keys=["plain", "never"], requestid="r")
    assert await call("watchlist") == {}


async def test_what_is_kept_is_up_to_date(call: Call, server: Server) -> None:
    await write(call, a=1)
    await call("get", key="a", requestid="r")
    await write(call, a=2)
    assert await call("get", key="a", requestid="r") == 2, "a later call on the same node must see it at once"
    await call("unwatchall", requestid="r")
    await asyncio.sleep(0.01)
    assert server.module(ObjectDB).mirror.statistics()["watched"] == 0


async def test_getonce_gives_copies_and_keeps_nothing(call: Call) -> None:
    await write(call, a={"list": [1]})
    await call("get", key="a", requestid="r")
    (await call("getonce", key="a"))["list"].append(2)
    assert await call("mgetonce", keys=["a", "none"]) == [{"list": [1]}, None]
    assert await call("watchlist") == {"a": ["r"]}


async def test_transact(call: Call) -> None:
    await write(call, a=[1], b=2)

    def change(keys: list[str], values: list[Any]) -> Any:
        values[0].append(3)
        return ["a", "b", "c"], [values[0], None, "new"]

    assert await call("transact", keys=["a", "b"], updater=change) is None
    assert await call("mgetonce", keys=["a", "b", "c"]) == [[1, 3], None, "new"]
    times: list[int] = []
    await call(
        "transact", keys=[], updater=lambda keys, values, now: (times.append(now), ([], []))[1], withtime=True
    )
    assert abs(times[0] - time.time() * 1e6) < 5e6
    assert abs(await call("gettimestamp") - times[0]) < 5e6


async def test_what_an_updater_raises_reaches_the_caller_and_nothing_is_written(call: Call) -> None:
    def fail(keys: list[str], values: list[Any]) -> Any:
        values[0].append("changed in place")
        raise KeyError("mine")

    await write(call, a=[1])
    await call("get", key="a", requestid="r")
    with pytest.raises(KeyError, match="mine"):
        await call("transact", keys=["a"], updater=fail)
    assert await call("getonce", key="a") == [1]


async def test_walk_follows_keys_to_one_moment(call: Call) -> None:
    await write(call, start="first", first="second", second={"end": 1}, other=5)
    calls = []

    def walker(key: str, value: Any, walk: Any, save: Any) -> None:
        calls.append(key)
        save(key)
        try:
            second = walk(walk(value))
            save(walk(value))
            assert second == {"end": 1}
        except KeyError:
            return
        assert walk("none") is None

    keys, values = await call("walk", keys=["start"], walkerdict={"start": walker}, requestid="r")
    assert dict(zip(keys, values, strict=True)) == {"start": "first", "second": {"end": 1}}
    assert set(await call("watchlist")) == {"start", "second"}
    assert len(calls) <= 4


async def test_a_failing_walker_fails_only_its_call(call: Call) -> None:
    def fail(key: str, value: Any, walk: Any, save: Any) -> None:
        raise RuntimeError("a bad walker")

    await write(call, a=1)
    with pytest.raises(RuntimeError, match="a bad walker"):
        await call("walk", keys=["a"], walkerdict={"a": fail}, requestid="r")
    assert await call("get", key="a", requestid="r") == 1


async def test_writewalk(call: Call) -> None:
    await write(call, a="b", b={"n": 1})

    def walker(walk: Any, write: Any, now: int) -> None:
        try:
            target = walk("a")
            value = walk(target)
        except KeyError:
            return
        value["n"] += 1
        write(target, value)
        assert walk(target) == {"n": 2}
        write("new", now)
        write("a", None)

    assert await call("writewalk", keys=["a"], walker=walker, withtime=True) is None
    assert await call("mgetonce", keys=["a", "b"]) == [None, {"n": 2}]
    assert abs(await call("getonce", key="new") - time.time() * 1e6) < 5e6


async def test_concurrent_writewalks_are_exact(call: Call) -> None:
    def increment(walk: Any, write: Any) -> None:
        write("n", (walk("n") or 0) + 1)

    await asyncio.gather(*(call("writewalk", keys=[], walker=increment) for _ in range(100)))
    assert await call("getonce", key="n") == 100


async def test_unknown_is_never_answered_as_empty(call: Call, server: Server) -> None:
    await write(call, a=1)
    await call("get", key="a", requestid="r")
    database = server.module(ObjectDB)
    await database._backend.close()
    with pytest.raises(StoreUnavailableError):
        await call("getonce", key="b")
    assert await call("getonce", key="a") == 1
    with pytest.raises(StaleError, match="nostale"):
        await call("getonce", key="a", nostale=True)
    await database._backend.open()


@pytest.mark.parametrize(
    ("api", "params", "complaint"),
    [
        ("get", {"key": "a", "requestid": ["r"]}, "parameter 'requestid' must be hashable"),
        ("transact", {"keys": ["a"], "updater": "code"}, "parameter 'updater' must be a function"),
        ("writewalk", {"keys": ["a"], "walker": "code"}, "parameter 'walker' must be a function"),
        (
            "walk",
            {"keys": ["a"], "walkerdict": 1, "requestid": "r"},
            "parameter 'walkerdict' must be a dictionary",
        ),
    ],
)
async def test_bad_parameters_are_named(call: Call, api: str, params: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadParameterError, match=complaint):
        await call(api, **params)


async def test_a_store_that_cannot_be_used_is_named() -> None:
    server = Server(parse("proxy.kvstorage = 'vlcp.service.utils.knowledge.Knowledge'"))
    with pytest.raises(ModuleError, match=r"Knowledge \(proxy.kvstorage\) is not a store"):
        await server.load(ObjectDB)
    await server.loader.unload_all()


@pytest.mark.parametrize("key", ["", "directory/", "\ud800"])
async def test_what_is_not_a_key(call: Call, key: str) -> None:
    with pytest.raises(BadParameterError, match="is not a key"):
        await call("get", key=key, requestid="r")
    with pytest.raises(BadParameterError, match="is not a key"):
        await call("getonce", key=key)


async def test_a_walker_must_be_a_function(call: Call) -> None:
    with pytest.raises(BadParameterError, match="'walkerdict' must be a function"):
        await call("walk", keys=["a"], walkerdict={"a": "text"}, requestid="r")


async def test_deeply_nested_values_are_copied(call: Call) -> None:
    nested: list[Any] = []
    for _ in range(600):
        nested = [nested]
    await write(call, nested=nested)
    assert await call("getonce", key="nested") == nested


JSON: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "d/", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
GOOD = {"key": "a", "keys": ["a"], "requestid": "r", "walkerdict": {}, "nostale": False}
"""Values that are allowed, of every parameter that may come from outside."""


async def test_any_values_are_answered(call: Call) -> None:
    """Whatever comes as JSON gets a value that can be shown, or an error that says whose fault it is."""
    apis = {name: api["parameters"] for name, api in (await call("discover", details=True)).items()}
    calls: list[tuple[str, dict[str, Any]]] = []

    @given(st.sampled_from(sorted(apis)), st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=2))
    def collect(api: str, params: dict[str, Any]) -> None:
        names = {parameter["name"] for parameter in apis[api]}
        calls.append((api, {name: value for name, value in {**GOOD, **params}.items() if name in names}))

    collect()
    answered = 0
    for api, params in calls:
        status = await _status(call, api, params)
        assert status in (200, 400, 404), (api, params)
        answered += status == 200
    assert answered > 20


async def _status(call: Call, api: str, params: dict[str, Any]) -> int | None:
    try:
        Display().encode(await call(api, **params))
    except Exception as error:
        return status_of(error)
    return 200
