"""Reloads of the product's own files, which the following tests must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vlcp.server.generation import Generation
from vlcp.server.server import Server


@asynccontextmanager
async def reloaded(server: Server, *paths: str) -> AsyncIterator[None]:
    """Reload modules by their loading paths; afterwards all is unloaded, and the Python modules are those of before."""
    before = Generation({path.rpartition(".")[0] for path in paths})
    try:
        await server.reload(paths)
        yield
    finally:
        await server.loader.unload_all()
        before.undo()
