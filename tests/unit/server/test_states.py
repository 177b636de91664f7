"""The states of modules: who is told of them, what the status shows, and loads that never end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vlcp.server import loader
from vlcp.server.config import parse
from vlcp.server.module import Module, ModuleError, depend
from vlcp.server.server import Server


class Quiet(Module):
    service = True


class Faulty(Module):
    service = True

    async def load(self) -> None:
        raise OSError("no")


@depend(Quiet)
class User(Module):
    pass


@depend(Quiet, Faulty)
class Unlucky(Module):
    pass


@depend(Quiet)
class Hanging(Module):
    class Settings(Module.Settings, frozen=True, kw_only=True):
        unloadtimeout: float = 0.05

    settings: Settings

    async def load(self) -> None:
        await asyncio.sleep(100)


@depend(Hanging)
class OnHanging(Module):
    pass


class Stubborn(Hanging):
    """Does not let itself be cancelled until the test says so."""

    over = asyncio.Event()

    async def load(self) -> None:
        while not self.over.is_set():
            try:
                await self.over.wait()
            except asyncio.CancelledError:
                continue


@depend(Quiet)
class Waiting(Module):
    """Is ready only when somebody says so."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.said = asyncio.Event()

    async def load(self) -> None:
        await self.said.wait()


@pytest.fixture
async def server() -> Any:
    server = Server(parse(""))
    yield server
    await server.loader.unload_all()


def state(server: Server, name: str) -> Any:
    return server.loader.status().get(name, {}).get("state")


async def test_every_transition_is_told(server: Server) -> None:
    with server.notifications.subscribe("server") as told:
        await server.load(User)
        with pytest.raises(ModuleError):
            await server.load(Unlucky)
        await server.unload(User)
    changes = [(t.attributes["module"], t.attributes["before"], t.name) async for t in told]
    assert [change[1:] for change in changes if change[0] == "quiet"] == [
        ("unloaded", "loading"),
        ("loading", "succeeded"),
        ("succeeded", "unloading"),
        ("unloading", "unloaded"),
    ]
    assert changes.index(("quiet", "loading", "succeeded")) < changes.index(("user", "loading", "succeeded"))
    assert changes.index(("user", "unloading", "unloaded")) < changes.index(
        ("quiet", "succeeded", "unloading")
    )
    assert [change[1:] for change in changes if change[0] == "unlucky"] == [
        ("unloaded", "loading"),
        ("loading", "failed"),
    ]


async def test_a_transition_brings_instance_and_error(server: Server) -> None:
    seen: list[Any] = []
    with server.notifications.listen(lambda told: seen.append(told.attributes), "server"):
        quiet = await server.load(Quiet)
        with pytest.raises(ModuleError):
            await server.load(Faulty)
    assert [(a["path"], a["instance"]) for a in seen if a["module"] == "quiet"] == [
        (f"{__name__}.Quiet", None),
        (f"{__name__}.Quiet", quiet),
    ]
    assert str(seen[-1]["error"]) == "no"


async def test_one_that_fails_when_told_stops_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.notifications.listen(lambda _: 1 / 0, "server", "succeeded"):
        await server.load(User)
    assert state(server, "user") == "succeeded"
    assert "ZeroDivisionError" in caplog.text


async def test_dependents_wait_until_a_module_says_that_it_is_ready(server: Server) -> None:
    user = type("Dependent", (Module,), {"dependencies": (Waiting,), "__module__": __name__})
    loading = asyncio.create_task(server.load(user))
    while state(server, "quiet") != "succeeded" or "waiting" not in server.modules:  # noqa: ASYNC110 (it is told)
        await asyncio.sleep(0.001)
    assert (state(server, "waiting"), state(server, "dependent")) == ("loading", "loading")
    server.modules["waiting"].said.set()  # type: ignore[attr-defined] # it is a Waiting
    await loading
    assert (state(server, "waiting"), state(server, "dependent")) == ("succeeded", "succeeded")


async def test_the_status_tells_what_is_needed_and_why_it_is_there(server: Server) -> None:
    await server.load(User)
    status = server.loader.status()
    assert {**status["user"], "since": 0} == {
        "path": f"{__name__}.User",
        "state": "succeeded",
        "since": 0,
        "error": None,
        "explicit": True,
        "dependencies": ["quiet"],
        "dependents": [],
    }
    assert (status["quiet"]["explicit"], status["quiet"]["dependents"]) == (False, ["user"])


async def test_an_unload_does_not_wait_for_a_load_that_hangs(server: Server) -> None:
    loading = asyncio.gather(server.load(Hanging), return_exceptions=True)
    while "hanging" not in server.modules:  # noqa: ASYNC110 (it is told)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(1):
        await server.unload(Hanging)
        [outcome] = await loading
    assert "it was unloaded before it was loaded" in str(outcome)
    assert server.modules == {}


async def test_dependents_wait_no_longer_than_a_load_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(parse("module.hanging.loadtimeout = 0.05"))
    async with asyncio.timeout(1):
        with pytest.raises(ModuleError, match=r"'hanging', which is failed \(load took longer than 0.05 s"):
            await server.load(OnHanging)
    await server.loader.unload_all()


async def test_what_a_hanging_module_needs_can_be_unloaded(server: Server) -> None:
    loading = asyncio.gather(server.load(Hanging), return_exceptions=True)
    while "hanging" not in server.modules:  # noqa: ASYNC110 (it is told)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(1):
        await server.unload(Quiet)
    assert "quiet" not in server.modules
    await loading


async def test_a_load_that_cannot_be_cancelled_holds_up_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "GRACE", 0.05)
    monkeypatch.setattr(Stubborn, "over", asyncio.Event())
    loading = asyncio.gather(server.load(Stubborn), return_exceptions=True)
    while "stubborn" not in server.modules:  # noqa: ASYNC110 (it is told)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(1):
        await server.unload(Stubborn)
        await server.load(User)
    assert state(server, "user") == "succeeded"
    Stubborn.over.set()
    await loading


async def test_a_module_that_failed_may_be_loaded_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModuleError):
        await server.load(Faulty)
    assert state(server, "faulty") == "failed"
    monkeypatch.setattr(Faulty, "load", Module.load)
    await server.load(Faulty)
    assert (state(server, "faulty"), server.loader.status()["faulty"]["error"]) == ("succeeded", None)
