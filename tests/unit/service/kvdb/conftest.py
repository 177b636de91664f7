"""An object database over a store in memory, behind a line that tests may cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from store.faultydb import CONFIGURATION, FaultyDB, Line
from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def more() -> str:
    """Further lines of the configuration."""
    return ""


@pytest.fixture
async def database(more: str) -> AsyncIterator[Server]:
    """A server with the object database alone."""
    server = Server(parse(f"{CONFIGURATION}module.objectdb.storetimeout = 0.3\n{more}"))
    await server.load(ObjectDB)
    yield server
    await server.loader.unload_all()


@pytest.fixture
def line(database: Server) -> Line:
    return database.module(FaultyDB).line


@pytest.fixture
def objectdb(database: Server) -> Call:
    """Call an API of objectdb."""
    return lambda api, **params: database.apis.call("objectdb", api, params)


@pytest.fixture
def write(objectdb: Call) -> Call:
    """Write keys; None deletes."""

    async def write(**values: Any) -> None:
        await objectdb(
            "transact", keys=[], updater=lambda keys, _: (list(values), list(values.values())), maxtime=5
        )

    return write
