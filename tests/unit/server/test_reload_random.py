"""Loads, unloads, reloads, edits that fail and crashes, all at once: whatever happens, the modules fit together."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from effort import effort
from unit.server.pets import FILES, Pets
from vlcp.server.api import NoSuchApiError
from vlcp.server.config import parse
from vlcp.server.module import ModuleError
from vlcp.server.record import State
from vlcp.server.server import Server

PATHS = [
    *("pets.top.Top", "pets.store.Store", "pets.bottom.Ground"),
    *("pets.memory.Memory", "pets.memory.User", "pets.memory.Shortcut"),
]
MISTAKES = [
    ("store", "@api", "async def load(self): raise OSError('no')\n    @api"),
    ("memory", "old.values", "old.nothing"),
    ("bottom", "service", "def ("),
]
LIMIT = 5.0


async def crash() -> None:
    raise ValueError("a mistake")


class Actor:
    """Does one thing after the other, like any user: an answer may be a refusal, but there is one."""

    def __init__(self, server: Server, pets: Pets, chance: random.Random) -> None:
        self._server, self._pets, self._chance = server, pets, chance
        self._texts = {name: pets.file(name).read_text() for name in FILES}

    async def act(self) -> None:
        for _ in range(6):
            await asyncio.sleep(self._chance.choice([0, 0, 0, 0.001, 0.002]))
            try:
                async with asyncio.timeout(LIMIT):
                    await self._chance.choice(
                        [self._load, self._unload, self._reload, self._reload, self._crash]
                    )()
            except (ModuleError, NoSuchApiError):
                continue

    async def _load(self) -> None:
        await self._server.load(self._chance.choice(PATHS))

    async def _unload(self) -> None:
        await self._server.unload(self._chance.choice(PATHS))

    async def _reload(self) -> None:
        for name, text in self._texts.items():
            self._pets.file(name).write_text(text)
        if self._chance.random() < 0.5:
            self._pets.edit(*self._chance.choice(MISTAKES))
        await self._server.reload(self._chance.sample(PATHS, self._chance.choice([1, 2])))

    async def _crash(self) -> None:
        if (memory := self._server.modules.get("memory")) is not None:
            memory.spawn(crash(), name="crash")
        await self._server.call(self._chance.choice(["top", "memory", "user", "store"]), "discover")


def check(server: Server) -> None:
    """What is so whenever nothing is under way."""
    assert server.ready.is_set()
    assert server.apis.statistics()["loading"] == 0
    assert server.apis.statistics()["targets"] == len(server.modules)
    for name, status in server.loader.status().items():
        assert status["state"] in (State.SUCCEEDED, State.FAILED)
        if name in server.modules:
            assert set(status["dependencies"]) <= server.modules.keys()
            module = server.modules[name]
            assert not module.reloading
            assert type(module) is getattr(sys.modules[type(module).__module__], type(module).__name__)


@pytest.mark.parametrize("seed", range(effort(20)))
async def test_modules_fit_together(pets: Pets, seed: int) -> None:
    server = Server(parse(""))
    server.ready.set()
    chance = random.Random(seed)
    await asyncio.gather(*(Actor(server, pets, chance).act() for _ in range(5)))
    while server.loader.busy:  # noqa: ASYNC110 (nothing tells)
        await asyncio.sleep(0.001)
    check(server)
    async with asyncio.timeout(LIMIT):
        await server.loader.unload_all()
    assert server.modules == {}
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
