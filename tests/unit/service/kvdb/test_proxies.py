"""The proxies of the stores: what they forward, and what is told when there is nothing to forward to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from vlcp.server.api import NotFoundError
from vlcp.server.config import parse
from vlcp.server.module import Module, ModuleError, module_path
from vlcp.server.server import Server
from vlcp.service.kvdb.embeddeddb import EmbeddedDB
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.kvdb.redisnotifier import UpdateNotifier
from vlcp.service.kvdb.storage import KVStorage
from vlcp.service.utils.knowledge import Knowledge, MemoryStorage

EMBEDDED = f"proxy.kvstorage = {module_path(EmbeddedDB)!r}\nmodule.embeddeddb.path = ':memory:'\n"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(parse(EMBEDDED))
    for proxy in (KVStorage, UpdateNotifier, MemoryStorage):
        await server.load(proxy)
    yield server
    await server.loader.unload_all()


@pytest.mark.parametrize(
    ("proxy", "implementation"),
    [("kvstorage", "embeddeddb"), ("updatenotifier", "embeddeddb"), ("memorystorage", "knowledge")],
)
async def test_every_call_is_forwarded(server: Server, proxy: str, implementation: str) -> None:
    ours, theirs = [
        await server.apis.call(name, "discover", {"details": True}) for name in (proxy, implementation)
    ]
    assert ours == theirs
    assert {"get", "mget", "set", "update", "discover"} <= ours.keys()
    await server.apis.call(proxy, "set", {"key": "a", "value": [1]})
    assert await server.apis.call(implementation, "get", {"key": "a"}) == [1]
    with pytest.raises(NotFoundError, match=f"'nosuch' is not defined in module '{implementation}'"):
        await server.apis.call(proxy, "nosuch", {})


async def test_without_a_key_the_defaults_are_those_of_version_2() -> None:
    assert KVStorage.default == "vlcp.service.connection.redisdb.RedisDB"
    assert UpdateNotifier.default == "vlcp.service.kvdb.redisnotifier.RedisNotifier"
    assert MemoryStorage.default == module_path(Knowledge)


DEFAULT = r"redisdb\.RedisDB', the default of proxy\.kvstorage, does not exist in this version"
MISTAKES: list[tuple[str, type[Module], list[str]]] = [
    ("", ObjectDB, [DEFAULT, "set proxy.kvstorage", module_path(EmbeddedDB)]),
    ("", UpdateNotifier, ["proxy.kvstorage", module_path(EmbeddedDB)]),
    (
        "proxy.kvstorage = 'no.such.Store'",
        ObjectDB,
        ["configuration:1: proxy.kvstorage: cannot load 'no.such.Store'", "set proxy.kvstorage"],
    ),
    (
        f"{EMBEDDED}proxy.updatenotifier = 'no.such.Notifier'",
        ObjectDB,
        ["configuration:3: proxy.updatenotifier: cannot load 'no.such.Notifier'", "set proxy.updatenotifier"],
    ),
    (
        f"{EMBEDDED}proxy.updatenotifier = 5",
        ObjectDB,
        ["proxy.updatenotifier = 5: expected the loading path"],
    ),
]


@pytest.mark.parametrize(("lines", "cls", "told"), MISTAKES)
async def test_what_cannot_be_loaded_names_the_key(lines: str, cls: type[Module], told: list[str]) -> None:
    server = Server(parse(lines))
    for text in told:
        with pytest.raises(ModuleError, match=text):
            await server.load(cls)
    await server.loader.unload_all()


async def test_the_notifier_is_that_of_the_store() -> None:
    server = Server(parse(EMBEDDED))
    await server.load(ObjectDB)
    assert server.loader.implementation(UpdateNotifier) is EmbeddedDB
    assert server.loader.record("updatenotifier") is not None
    await server.unload(ObjectDB)
    assert [record.name for record in server.loader.records()] == []


async def test_unknown_vhosts_are_named(server: Server) -> None:
    params: dict[str, dict[str, Any]] = {
        "get": {"key": "a"},
        "set": {"key": "a", "value": 1},
        "delete": {"key": "a"},
        "mget": {"keys": ["a"]},
        "mgetwithcache": {"keys": ["a"]},
        "mset": {"kvpairs": {"a": 1}},
        "update": {"key": "a", "updater": lambda key, value: 1},
        "mupdate": {"keys": ["a"], "updater": lambda key, value: 1},
        "updateall": {"keys": ["a"], "updater": lambda keys, values: (keys, [1])},
        "updateallwithtime": {"keys": ["a"], "updater": lambda keys, values, now: (keys, [1])},
        "listallkeys": {},
        "getclient": {},
        "createnotifier": {},
    }
    offered = await server.apis.call("kvstorage", "discover", {})
    assert offered.keys() - params.keys() == {"discover"}
    for name, given in params.items():
        with pytest.raises(NotFoundError, match="vhost 'x' is not defined in embeddeddb"):
            await server.apis.call("kvstorage", name, {**given, "vhost": "x"})
        await server.apis.call("kvstorage", name, {**given, "vhost": ""})


async def test_getclient_gives_the_store(server: Server) -> None:
    backend, encoder, decoder = await server.apis.call("kvstorage", "getclient", {})
    await server.apis.call("kvstorage", "set", {"key": "a", "value": [1]})
    [entry] = (await backend.read(["a"])).entries.values()
    assert decoder("a", entry.value).value == [1]
    assert encoder("a", decoder("a", entry.value)) == entry.value
