"""The knowledge module: values in memory with a lifetime, and updates all or none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from unit.reloading import reloaded
from vlcp.server.api import BadParameterError, UnavailableError
from vlcp.server.config import parse
from vlcp.server.module import module_path as path
from vlcp.server.server import Server
from vlcp.service.utils.knowledge import Knowledge, MemoryStorage


class Caller:
    """Calls one module by name."""

    def __init__(self, server: Server, module: str) -> None:
        self._server = server
        self._module = module

    async def __call__(self, api: str, **params: Any) -> Any:
        return await self._server.apis.call(self._module, api, params)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(parse("module.knowledge.checkinterval = 0.05"))
    await server.load(MemoryStorage)
    yield server
    await server.loader.unload_all()


@pytest.fixture
def call(server: Server) -> Caller:
    return Caller(server, "memorystorage")


async def test_values_are_kept_by_reference(call: Caller) -> None:
    value = object()
    assert await call("get", key="a") is None
    assert await call("set", key=("any", 1), value=value) is None
    assert await call("get", key=("any", 1)) is value
    assert await call("mset", kvpairs=[("b", 2), ("c", 3)]) is None
    assert await call("mget", keys=["b", "x", "c"]) == [2, None, 3]
    assert await call("mgetwithcache", keys=["b"], cache="mine") == ([2], "mine")
    assert await call("delete", key="b") is None
    assert await call("delete", key="b") is None
    assert await call("mget", keys=["b", "c"]) == [None, 3]


async def test_a_value_expires(call: Caller, server: Server) -> None:
    await call("set", key="a", value=1, timeout="0.02")
    await call("set", key="b", value=1, timeout=0.02)
    await call("set", key="b", value=2)
    assert await call("get", key="a") == 1
    await asyncio.sleep(0.03)
    assert await call("mget", keys=["a", "b"]) == [None, 2]
    await call("set", key="c", value=1, timeout=0.01)
    await asyncio.sleep(0.12)
    assert server.module(Knowledge).statistics()["keys"] == 1, "what expired was not swept"


async def test_get_may_give_a_new_lifetime(call: Caller) -> None:
    await call("set", key="a", value=1)
    assert await call("get", key="a", timeout=0.02) == 1
    await asyncio.sleep(0.03)
    assert await call("get", key="a") is None
    await call("set", key="a", value=1)
    assert await call("get", key="a", timeout=0) == 1
    assert await call("get", key="a") is None
    await call("set", key="b", value=1)
    await call("set", key="b", value=1, timeout=-1)
    assert await call("get", key="b") is None
    assert await call("get", key="never", timeout=60) is None


async def test_updates(call: Caller) -> None:
    await call("set", key="a", value=1)
    assert await call("update", key="a", updater=lambda key, value: value + 1) == 2
    assert await call("update", key="a", updater=lambda key, value: None) is None
    assert await call("mupdate", keys=["a", "b"], updater=lambda key, value: [key, value]) == [
        ["a", None],
        ["b", None],
    ]
    pair = await call("updateall", keys=["a"], updater=lambda keys, values: (["a", "c"], [None, 3]))
    assert pair == (["a", "c"], [None, 3])
    assert await call("mget", keys=["a", "b", "c"]) == [None, ["b", None], 3]
    times: list[int] = []

    def note(keys: list[str], values: list[Any], now: int) -> Any:
        times.append(now)
        return [], []

    await call("updateallwithtime", keys=["a"], updater=note)
    assert abs(times[0] - time.time() * 1e6) < 5e6


async def test_a_failing_update_writes_nothing(call: Caller) -> None:
    def fail_at_b(key: str, value: Any) -> Any:
        if key == "b":
            raise RuntimeError("no")
        return 1

    with pytest.raises(RuntimeError):
        await call("mupdate", keys=["a", "b"], updater=fail_at_b)
    assert await call("get", key="a") is None
    for api in ("updateall", "updateallwithtime"):
        for answer in ((["a", "b"], [1]), (["a"], [1, 2]), (["a", []], [1, 2]), None, (5, 5)):
            with pytest.raises((ValueError, TypeError, BadParameterError)):
                await call(api, keys=["a"], updater=lambda *given, answer=answer: answer)
            assert await call("get", key="a") is None, (api, answer)


@pytest.mark.parametrize(
    ("api", "params", "complaint"),
    [
        ("get", {"key": ["a"]}, "a key must be hashable, a text for example, not list"),
        ("get", {"key": "a", "timeout": "soon"}, "parameter 'timeout'"),
        ("mset", {"kvpairs": 5}, "kvpairs is neither a dictionary nor a list of pairs"),
        ("update", {"key": "a", "updater": "code"}, "parameter 'updater' must be a function"),
    ],
)
async def test_bad_parameters_are_named(
    call: Caller, api: str, params: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadParameterError, match=complaint):
        await call(api, **params)


@pytest.mark.parametrize("keys", [None, 1, 1.5, True, "text"])
async def test_keys_are_a_list(call: Caller, keys: Any) -> None:
    with pytest.raises(BadParameterError, match="'keys': expected `array`"):
        await call("mget", keys=keys)


async def test_updates_set_a_new_lifetime(call: Caller) -> None:
    await call("set", key="a", value=1, timeout=0.02)
    await call("update", key="a", updater=lambda key, value: value + 1)
    await call("mupdate", keys=["b"], updater=lambda key, value: 1, timeout=0.02)
    await call("updateall", keys=["c"], updater=lambda keys, values: (["c"], [1]), timeout=0.02)
    await call("mset", kvpairs={"d": 1}, timeout=0.02)
    assert await call("mget", keys=["a", "b", "c", "d"]) == [2, 1, 1, 1]
    await asyncio.sleep(0.03)
    assert await call("mget", keys=["a", "b", "c", "d"]) == [2, None, None, None]


async def test_figures(call: Caller, server: Server) -> None:
    await call("mset", kvpairs={"a": 1, "b": 2})
    await call("set", key="c", value=3, timeout=60)
    await call("set", key="d", value=4, timeout=0.01)
    await asyncio.sleep(0.02)
    assert await call("get", key="d") is None
    figures = server.module(Knowledge).statistics()
    assert (figures["keys"], figures["expiring"], figures["expired"]) == (3, 1, 1)


async def test_values_survive_reloads(call: Caller, server: Server) -> None:
    value = object()
    await call("set", key="a", value=value)
    await call("set", key="b", value=value, timeout=0.05)
    async with reloaded(server, path(Knowledge), path(MemoryStorage)):
        assert server.modules["knowledge"].__class__ is not Knowledge
        assert await call("mget", keys=["a", "b"]) == [value, value]
        await asyncio.sleep(0.15)
        assert server.modules["knowledge"].statistics()["keys"] == 1, "nobody sweeps any more"


async def test_values_survive_who_used_them() -> None:
    server = Server(parse(""))
    await server.load(Knowledge)
    await server.load("vlcp.service.utils.session.Session")
    await server.call("knowledge", "set", key="a", value=1)
    await server.unload("vlcp.service.utils.session.Session")
    assert await server.call("knowledge", "get", key="a") == 1
    await server.loader.unload_all()


async def test_there_may_be_a_limit() -> None:
    server = Server(parse("module.knowledge.limit = 3"))
    await server.load(Knowledge)
    call = Caller(server, "knowledge")
    await call("mset", kvpairs={"a": 1, "b": 2})
    full = r"there are 2 values already \(module.knowledge.limit is 3\)"
    calls: dict[str, dict[str, Any]] = {
        "mset": {"kvpairs": {"a": 5, "c": 3, "d": 4}},
        "mupdate": {"keys": ["a", "c", "d"], "updater": lambda key, value: 5},
        "updateall": {"keys": [], "updater": lambda keys, values: (["a", "c", "d"], [5, 5, 5])},
    }
    for api, params in calls.items():
        with pytest.raises(UnavailableError, match=full):
            await call(api, **params)
        assert await call("mget", keys=["a", "c"]) == [1, None]
    await call("set", key="c", value=3, timeout=0.01)
    await call("set", key="c", value=3, timeout=0.01)
    await call("set", key="d", value=4, timeout=0)
    with pytest.raises(UnavailableError):
        await call("set", key="d", value=4)
    await asyncio.sleep(0.02)
    await call("set", key="d", value=4)
    await server.loader.unload_all()
