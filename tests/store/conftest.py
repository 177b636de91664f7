"""The stores that every test of this directory runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from store.host import Host, running
from vlcp.store.contract import Backend
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.memory import MemoryBackend

MAKERS: dict[str, Callable[[Path], Backend]] = {
    "memory": lambda directory: MemoryBackend(),
    "embedded": lambda directory: EmbeddedBackend(str(directory / "store.db")),
}


@pytest.fixture(params=MAKERS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """A new, open store of every kind."""
    backend = MAKERS[request.param](tmp_path)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
async def host(backend: Backend) -> AsyncIterator[Host]:
    async with running(backend) as host:
        yield host


@pytest.fixture
async def other(backend: Backend) -> AsyncIterator[Host]:
    """Another process at the same store."""
    async with running(backend) as host:
        yield host
