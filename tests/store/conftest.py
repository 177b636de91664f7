"""The stores that every test of this directory runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from store.host import Host, running
from store.remote import Process, Remote, opened
from store.shared import shared
from vlcp.store.contract import Backend
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.memory import MemoryBackend

MAKERS: dict[str, Callable[[Path], Backend]] = {
    "memory": lambda directory: MemoryBackend(),
    "embedded": lambda directory: EmbeddedBackend(str(directory / "store.db")),
}
SHARED = "embedded, writers in other processes"


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Process]]:
    """Two processes that can open stores."""
    running = [Process(), Process()]
    yield running
    for process in running:
        process.end()


@pytest.fixture(params=[*MAKERS, SHARED])
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, processes: list[Process]
) -> AsyncIterator[Backend]:
    """A new, open store of every kind."""
    if request.param == SHARED:
        async with shared(tmp_path, processes) as both:
            yield both
        return
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


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.db")


@pytest.fixture
async def local(path: str) -> AsyncIterator[EmbeddedBackend]:
    """The store, open in this process."""
    backend = EmbeddedBackend(path)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
async def remote(local: EmbeddedBackend, path: str, processes: list[Process]) -> AsyncIterator[Remote]:
    """The same store, open in another process."""
    async with opened(processes[0], path) as remote:
        yield remote


@pytest.fixture
async def mortal(local: EmbeddedBackend, path: str) -> AsyncIterator[Remote]:
    """The same store, open in another process that may be killed."""
    process = Process()
    try:
        async with opened(process, path) as remote:
            yield remote
    finally:
        process.end()
