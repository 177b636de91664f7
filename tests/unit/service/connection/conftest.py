"""Loads server modules, and closes what they and the tests opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from unit.service.connection.running import Running, Start
from vlcp.server.config import load
from vlcp.server.module import ModuleError
from vlcp.server.server import Server
from vlcp.service.connection.connectionserver import ConnectionServer


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Loads a module: `await start(cls, text)`; `X.` in the text is its node."""
    made: list[Running] = []

    async def begin(cls: type[ConnectionServer], text: str) -> Running:
        file = tmp_path / "x.conf"
        file.write_text(text.replace("X.", f"module.{cls.__name__.lower()}."))
        server = Server(load(file))
        try:
            await server.load(cls)
        except ModuleError:
            await server.loader.unload_all()
            raise
        made.append(Running(file, server, server.module(cls)))
        return made[-1]

    yield begin
    for running in made:
        await running.server.loader.unload_all()
        for writer in running.writers:
            writer.close()
    await asyncio.sleep(0.01)
