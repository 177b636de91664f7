"""One process that uses a store: a line, a mirror and a transactor; and the few steps that tests take."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from store.faults import BadLine
from vlcp.store.contract import Backend, Preconditions
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Transactor


def decode(key: str, data: bytes) -> Any:
    return json.loads(data)


async def put(backend: Backend, **values: Any) -> str:
    """Write values as JSON; `__` in a name stands for `/`, None deletes."""
    result = await backend.commit(
        Preconditions(),
        {
            name.replace("__", "/"): None if value is None else json.dumps(value).encode()
            for name, value in values.items()
        },
    )
    assert not hasattr(result, "fresh")
    return result.version


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (the condition is anything that can be seen from outside)
            await asyncio.sleep(0.001)


def encode(key: str, value: Any) -> bytes:
    return json.dumps(value).encode()


Told = list[tuple[frozenset[str] | None, str]]
"""Keys and revisions, as a watcher is told them."""


class Host:
    """One process that uses a store."""

    def __init__(self, backend: Backend) -> None:
        self.line = BadLine(backend)
        self.mirror = Mirror(self.line, decode)
        self.transactor = Transactor(self.line, self.mirror, encode)
        self.reader = self.mirror.reader(lambda change: None)

    async def value(self, key: str) -> Any:
        entry = (await self.line.backend.read([key])).entries[key]
        return json.loads(entry.value) if entry is not None else None

    async def follow(self, *names: str) -> None:
        await self.reader.ready(
            [name for name in names if not name.endswith("/")], [name for name in names if name.endswith("/")]
        )


@contextlib.asynccontextmanager
async def running(backend: Backend) -> AsyncIterator[Host]:
    host = Host(backend)
    await host.mirror.start()
    try:
        yield host
    finally:
        await host.mirror.stop()


@contextlib.asynccontextmanager
async def following(backend: Backend, directory: str = "d/") -> AsyncIterator[Told]:
    """What is told of a directory and of the key `a`."""
    told: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    await watcher.add(["a"], [directory])
    yield told
    watcher.close()


def count(backend: Backend, name: str) -> int:
    return int(backend.statistics()[name])
