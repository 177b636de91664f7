"""The store is away: what is unknown is never answered as empty, and what is known stays."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peers.controller import free_port
from store.faultydb import CONFIGURATION, FaultyDB, Line
from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.kvdb import objectdb as module
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.store.contract import Preconditions
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.errors import EndlessWalkError, StaleError, StoreUnavailableError

Call = Callable[..., Awaitable[Any]]
Get = Callable[..., Awaitable[tuple[int, Any]]]


async def test_stale_results_are_given_unless_nostale(objectdb: Call, write: Call, line: Line) -> None:
    await write(a={"x": 1}, b=1)
    reference = await objectdb("get", key="a", requestid="r")
    line.away = True
    for api in ("get", "watch"):
        assert await objectdb(api, key="a", requestid="r") == {"x": 1}
        with pytest.raises(StoreUnavailableError):
            await objectdb(api, key="b", requestid="r")
        with pytest.raises(StaleError) as raised:
            await objectdb(api, key="a", requestid="r", nostale=True)
        assert raised.value.result == [{"x": 1}]
        assert raised.value.status == 503
    assert await objectdb("getonce", key="a") == {"x": 1}
    with pytest.raises(StaleError) as raised:
        await objectdb("mgetonce", keys=["a", "b"], nostale=True)
    assert raised.value.result == [{"x": 1}, None]
    with pytest.raises(StoreUnavailableError):
        await objectdb("gettimestamp")
    line.away = False
    assert await objectdb("get", key="a", requestid="r", nostale=True) == {"x": 1}
    assert reference.x == 1


async def test_a_store_that_does_not_answer_is_waited_for_a_bounded_time(
    objectdb: Call, write: Call, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(a=1)

    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(line.memory, "read", hang)
    monkeypatch.setattr(line.memory, "commit", hang)
    walker: Any = lambda walk, write: write("b", walk("a"))  # noqa: E731 (it is a parameter)
    for api, params in (
        ("get", {"key": "a", "requestid": "r"}),
        ("getonce", {"key": "a"}),
        ("gettimestamp", {}),
        ("transact", {"keys": [], "updater": lambda keys, values: (["a"], [2]), "maxtime": 0.5}),
        ("transact", {"keys": ["a"], "updater": lambda keys, values: (keys, [2]), "maxtime": 0.5}),
        ("writewalk", {"keys": [], "walker": walker}),
    ):
        begin = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await objectdb(api, **params)
        assert time.monotonic() - begin < 2, api
    assert await objectdb("watchlist") == {}


async def test_walkers_without_end_are_cut(objectdb: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 100)

    def walker(key: str, value: Any, walk: Any, save: Any) -> None:
        number = 0
        while True:
            walk(f"key{number}")
            number += 1

    with pytest.raises(EndlessWalkError, match="still ask for more after 100 rounds"):
        await objectdb("walk", keys=["a"], walkerdict={"a": walker}, requestid="r")
    assert await objectdb("watchlist") == {}


async def test_a_walk_sees_one_version(objectdb: Call, write: Call, line: Line) -> None:
    """Somebody else moves a value between two keys all the time; a walk never sees it twice or not at all."""
    await write(start="x", a=1, b=0)

    async def move() -> None:
        for n in range(300):
            here, there = (b"1", b"0") if n % 2 else (b"0", b"1")
            await line.memory.commit(Preconditions(), {"a": here, "b": there})
            await asyncio.sleep(0)

    sums = set()

    def walker(key: str, value: Any, walk: Any, save: Any) -> None:
        sums.add(walk("a") + walk("b"))

    async with asyncio.TaskGroup() as group:
        moving = group.create_task(move())
        while not moving.done():
            await objectdb("walk", keys=["start"], walkerdict={"start": walker}, requestid="r")
    assert sums == {1}


async def test_walkers_may_read_their_own_writes(objectdb: Call, write: Call) -> None:
    await objectdb("mwatch", keys=["a", "b"], requestid="r")
    for n in range(50):
        await write(b=n)
        seen: list[Any] = []

        def walker(key: str, value: Any, walk: Any, save: Any, seen: list[Any] = seen) -> None:
            seen.append(walk("b"))

        await objectdb("walk", keys=["a"], walkerdict={"a": walker}, requestid="r")
        assert seen == [n]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def controller(port: int) -> AsyncIterator[Server]:
    server = Server(
        parse(
            f"{CONFIGURATION}module.objectdb.storetimeout = 0.3\nmodule.httpserver.url = None\n"
            f"module.httpserver.vhost.api.url = 'tcp://127.0.0.1:{port}'\n"
        )
    )
    for path in (
        "vlcp.service.sdn.viperflow.ViperFlow",
        "vlcp.service.manage.webapi.WebAPI",
        "vlcp.service.utils.autoload.AutoLoad",
    ):
        await server.load(path)
    yield server
    await server.loader.unload_all()


@pytest.fixture
async def get(controller: Server, port: int) -> AsyncIterator[Get]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def get(path: str, **params: str) -> tuple[int, Any]:
            async with session.get(path, params=params) as response:
                return response.status, json.loads(await response.text())

        yield get


async def test_lists_are_refused_and_never_empty(controller: Server, get: Get) -> None:
    line = controller.module(FaultyDB).line
    assert (await get("/viperflow/createphysicalnetwork", type="local", id="p"))[0] == 200
    assert (await get("/objectdb/get", key="viperflow.physicalnetwork.p", requestid="r"))[0] == 200
    line.away = True
    for what in ("physicalnetworks", "logicalnetworks", "subnets", "logicalports"):
        begin = time.monotonic()
        assert await get(f"/viperflow/list{what}") == (503, {"error": "the line is cut"})
        assert time.monotonic() - begin < 2
    status, body = await get("/objectdb/get", key="viperflow.physicalnetwork.p", requestid="r")
    assert (status, body["result"]["id"]) == (200, "p"), "what is kept stays"
    assert (await get("/objectdb/get", key="other", requestid="r"))[0] == 503
    assert (await get("/objectdb/getonce", key="viperflow.physicalnetwork.p", nostale="true"))[0] == 503
    line.away = False
    assert [each["id"] for each in (await get("/viperflow/listphysicalnetworks"))[1]["result"]] == ["p"]


async def test_lists_show_the_good_ones_beside_one_that_is_not(controller: Server, get: Get) -> None:
    line = controller.module(FaultyDB).line
    for name in ("a", "b", "c"):
        await get("/viperflow/createphysicalnetwork", type="local", id=name)
    await line.memory.commit(Preconditions(), {"viperflow.physicalnetwork.b": b"{"})
    status, body = await get("/viperflow/listphysicalnetworks")
    assert status == 200
    assert [each["id"] for each in body["result"]] == ["a", "b", "c"]
    assert set(body["result"][1]) == {"id", "error"}
    assert "'viperflow.physicalnetwork.b' cannot be decoded" in body["result"][1]["error"]
    assert list(controller.module(ObjectDB).statistics()["undecodable"]) == ["viperflow.physicalnetwork.b"]
    status, body = await get(
        "/objectdb/mgetonce", keys='`["viperflow.physicalnetwork.a","viperflow.physicalnetwork.b"]`'
    )
    assert status == 409
    assert "'viperflow.physicalnetwork.b'" in body["error"]


async def test_a_copy_is_not_older_than_what_was_told(objectdb: Call, write: Call, line: Line) -> None:
    """Whatever the mirror is reading just then, what this process wrote is seen by its next call."""
    await write(a=0)
    await objectdb("get", key="a", requestid="r")
    line.chance = random.Random(1)
    for n in range(200):
        await write(a=n)
        for _ in range(n % 7):
            await asyncio.sleep(0)
        assert await objectdb("getonce", key="a") == n


async def test_nostale_asks_the_file_that_processes_share(tmp_path: Path) -> None:
    path = str(tmp_path / "vlcp.db")
    server = Server(
        parse(
            "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
            f"module.embeddeddb.path = {path!r}\n"
        )
    )
    await server.load(ObjectDB)
    other = EmbeddedBackend(path)
    await other.open()
    other._wakeups.close()  # nobody is told
    for n in range(5):
        await other.commit(Preconditions(), {"a": str(n).encode()})
        assert await server.call("objectdb", "getonce", key="a", nostale=True) == n
        await other.commit(Preconditions(), {"a": str(-n).encode()})
        assert await server.call("objectdb", "get", key="a", requestid="r", nostale=True) == -n
    await other.close()
    os.unlink(path)
    assert await server.call("objectdb", "getonce", key="a") == -4
    for api, params in (("getonce", {}), ("get", {"requestid": "r"})):
        with pytest.raises(StaleError):
            await server.call("objectdb", api, key="a", nostale=True, **params)
    await server.loader.unload_all()
