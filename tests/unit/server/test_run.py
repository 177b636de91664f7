"""A server from start to stop, and random loading and unloading."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from vlcp.server import process
from vlcp.server.config import parse
from vlcp.server.loader import State, check_all
from vlcp.server.module import Module, ModuleError, depend, module_path
from vlcp.server.server import Server


class Base(Module):
    """Keeps count of what is loaded, and checks that its dependencies are."""

    up: ClassVar[set[str]] = set()
    chance: ClassVar[random.Random | None] = None

    async def load(self) -> None:
        missing = [cls for cls in self.dependencies if cls.__name__.lower() not in self.up]
        assert not missing
        await self.pause()
        self.up.add(self.name)

    async def unload(self) -> None:
        await self.pause()
        dependents = [name for name in self.up if self.name in NEEDS.get(name, ())]
        assert not dependents
        self.up.discard(self.name)

    async def pause(self) -> None:
        if self.chance is not None:
            await asyncio.sleep(self.chance.choice([0, 0, 0.0005, 0.001]))


class Bottom(Base):
    service = True


class Side(Base):
    service = True


@depend(Bottom)
class Middle(Base):
    service = True


@depend(Middle, Side)
class Top(Base):
    pass


@depend(Bottom, Side)
class Other(Base):
    pass


class Hanging(Base):
    async def load(self) -> None:
        await asyncio.sleep(100)


class Failing(Base):
    async def load(self) -> None:
        raise OSError("no")


ALL = (Bottom, Side, Middle, Top, Other)
NEEDS = {cls.__name__.lower(): {d.__name__.lower() for d in cls.dependencies} for cls in ALL}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    Base.up.clear()
    Base.chance = None
    yield
    assert Base.up == set()


def server_of(*classes: type[Module]) -> Server:
    return Server(parse(f"server.startup = {tuple(map(module_path, classes))!r}"))


async def test_it_runs_until_it_is_stopped() -> None:
    server = server_of(Top)
    running = asyncio.create_task(server.run())
    await server.ready.wait()
    assert set(server.modules) == {"top", "middle", "side", "bottom"}
    server.stop("the test ends")
    assert await running == 0
    assert server.modules == {}


async def test_a_failure_among_others_is_no_reason_to_end() -> None:
    server = server_of(Failing, Top)
    running = asyncio.create_task(server.run())
    await server.ready.wait()
    await asyncio.sleep(0.01)
    assert not running.done()
    server.stop("the test ends")
    assert await running == 0


async def test_when_all_fail_the_status_is_1() -> None:
    assert await server_of(Failing).run() == 1


async def test_stopping_does_not_wait_for_a_module_that_is_loading() -> None:
    server = server_of(Hanging, Top)
    running = asyncio.create_task(server.run())
    await asyncio.sleep(0.05)
    server.stop("the test ends")
    async with asyncio.timeout(1):
        assert await running == 0


@pytest.mark.parametrize("turns", range(6))
async def test_stopping_in_the_first_turns_of_the_loop_ends_at_once(turns: int) -> None:
    server = server_of(Top)
    running = asyncio.create_task(server.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    server.stop("the test ends")
    async with asyncio.timeout(1):
        assert await running == 0
    assert server.modules == {}


async def test_two_startup_modules_of_one_name() -> None:
    other = type("Top", (Base,), {"__module__": "elsewhere"})
    with pytest.raises(ModuleError, match="same module name"):
        check_all(server_of().loader, [Top, other])


@pytest.mark.parametrize("seed", range(30))
async def test_random_loads_and_unloads_keep_the_order(seed: int) -> None:
    chance = Base.chance = random.Random(seed)
    server = Server(parse(""))

    async def act() -> None:
        for _ in range(10):
            cls = chance.choice(ALL)
            operation: Any = chance.choice([server.load, server.unload])
            await operation(cls)
            await asyncio.sleep(chance.choice([0, 0.001]))

    async with asyncio.timeout(20):
        await asyncio.gather(*(act() for _ in range(4)))
        while busy := [record for record in server.loader.records() if not record.settled.is_set()]:
            await asyncio.gather(*map(server.loader.outcome, busy))  # services may still be freed
        for record in server.loader.records():
            assert record.state is State.SUCCEEDED
            assert NEEDS[record.name] <= Base.up
        await server.loader.unload_all()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_the_configuration_is_read_again_only_when_all_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its end were that of the start for a service manager, and modules followed that are not there yet."""
    told = list[str]()
    monkeypatch.setattr(process.systemd, "notify", lambda *states: told.extend(states))
    server = Server(parse(""))
    again = asyncio.create_task(process._reconfigure(server))
    await asyncio.sleep(0.01)
    assert told == []
    server.ready.set()
    await again
    assert [state.partition("=")[0] for state in told] == ["RELOADING", "MONOTONIC_USEC", "READY", "STATUS"]
