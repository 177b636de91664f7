"""A server ends by itself when all modules are unloaded, or when none of them has anything to do."""

from __future__ import annotations

import asyncio

import pytest

from vlcp.server import server as server_module
from vlcp.server.config import parse
from vlcp.server.module import Module, module_path
from vlcp.server.server import Server


class Passive(Module):
    """Only answers."""


class Busy(Module):
    """Works until it is told that it has done enough."""

    async def load(self) -> None:
        self.enough = asyncio.Event()
        self.spawn(self.enough.wait(), name="work")


class Sweeping(Module):
    async def load(self) -> None:
        self.spawn(asyncio.sleep(100), name="sweep", background=True)


class Listening(Module):
    """Waits for something that is no task of its own."""

    open = True

    @property
    def working(self) -> bool:
        return self.open


class Failing(Module):
    async def load(self) -> None:
        raise OSError("no")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "WORK_INTERVAL", 0.01)


def server_of(*classes: type[Module]) -> Server:
    return Server(parse(f"server.startup = {tuple(map(module_path, classes))!r}"))


async def started(server: Server) -> asyncio.Task[int]:
    running = asyncio.create_task(server.run())
    await server.ready.wait()
    await asyncio.sleep(0.1)
    return running


async def ended(running: asyncio.Task[int]) -> int:
    async with asyncio.timeout(1):
        return await running


@pytest.mark.parametrize("cls", [Passive, Sweeping])
async def test_nothing_to_do(cls: type[Module]) -> None:
    server = server_of(cls)
    assert await ended(await started(server)) == 0
    assert server.stop_reason == "nothing is left to do: no module listens, is connected or has a task"


async def test_tasks_are_work_until_they_end() -> None:
    server = server_of(Busy, Sweeping)
    running = await started(server)
    assert not running.done()
    busy = server.modules["busy"]
    assert isinstance(busy, Busy)
    busy.enough.set()
    assert await ended(running) == 0


async def test_a_module_says_itself_what_its_work_is() -> None:
    server = server_of(Listening)
    running = await started(server)
    assert not running.done()
    listening = server.modules["listening"]
    assert isinstance(listening, Listening)
    listening.open = False
    assert await ended(running) == 0


async def test_work_that_could_not_begin_is_a_failure() -> None:
    assert await ended(await started(server_of(Passive, Failing))) == 1


async def test_all_modules_are_unloaded() -> None:
    server = server_of(Busy, Listening)
    running = await started(server)
    await server.unload(Busy)
    assert not running.done()
    await server.unload(Listening)
    assert await ended(running) == 0
    assert server.stop_reason == "all modules are unloaded"


async def test_what_is_to_be_finished_is_finished_after_the_modules() -> None:
    server = server_of(Busy)
    running = await started(server)
    said: list[str] = []

    async def say() -> None:
        await asyncio.sleep(0.05)
        said.append(str(server.modules))

    server.finish(say(), name="last words")
    server.stop("the test ends")
    assert await ended(running) == 0
    assert said == ["{}"]
