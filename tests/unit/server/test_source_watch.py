"""Files of loaded modules are watched: what changes is reloaded, and an error is told once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from unit.server.pets import Pets
from vlcp.server import generation
from vlcp.server.config import parse
from vlcp.server.server import Server


class Watched:
    """A server whose manager watches the files."""

    def __init__(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        self.server = server
        self._log = caplog

    def errors(self) -> list[str]:
        return [r.getMessage() for r in self._log.records if "files have changed, but" in r.getMessage()]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.005)

    async def a_while(self) -> None:
        """Several looks at the files."""
        await asyncio.sleep(0.15)


@pytest.fixture
async def watched(pets: Pets, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(generation, "WRITING_NS", 50_000_000)
    server = Server(parse("module.manager.checkinterval = 0.01\nmodule.manager.autoreload = True"))
    await asyncio.gather(
        server.load("pets.top.Top"), server.load("vlcp.service.manage.modulemanager.Manager")
    )
    watched = Watched(server, caplog)
    await watched.a_while()
    assert pets.events == ["+ground1", "+store1", "+top1"]
    yield watched
    await server.loader.unload_all()


async def test_changed_files_are_reloaded_together(pets: Pets, watched: Watched) -> None:
    pets.edit("rules", "1", "4")
    pets.edit("bottom", "service", "version = 2\n    service")
    seen: list[str] = []
    await watched.until(lambda: seen.extend(pets.events) or "+top1" in seen)
    assert seen == ["-top1~", "-store1~", "-ground1~", "+ground2", "+store1", "+top1"]
    assert await watched.server.call("top", "below") == 4
    await watched.a_while()
    assert pets.events == []


async def test_an_error_is_told_once_for_each_version_of_a_file(pets: Pets, watched: Watched) -> None:
    pets.edit("rules", "1", "1 +")
    await watched.until(watched.errors)
    await watched.a_while()
    assert len(watched.errors()) == 1
    assert "rules.py:1: SyntaxError" in watched.errors()[0]
    pets.edit("rules", "1 +", "1 ++")
    await watched.until(lambda: len(watched.errors()) == 2)
    assert pets.events == []
    pets.edit("rules", "1 ++", "5")
    await watched.until(lambda: pets.events)
    while watched.server.loader.busy:  # noqa: ASYNC110 (nothing tells)
        await asyncio.sleep(0.005)
    assert await watched.server.call("top", "below") == 5


async def test_a_file_that_is_away_for_a_moment(pets: Pets, watched: Watched) -> None:
    text = pets.file("rules").read_text()
    pets.file("rules").unlink()
    await watched.a_while()
    assert (watched.errors(), pets.events) == ([], [])
    pets.file("rules").write_text(text.replace("1", "6"))
    await watched.until(lambda: pets.events)


@pytest.mark.parametrize("off", ["false", "False", False, 0])
async def test_watching_ends_when_told(pets: Pets, watched: Watched, off: object) -> None:
    await watched.server.call("manager", "enableautoreload", enabled=off)
    pets.edit("rules", "1", "7")
    await watched.a_while()
    assert pets.events == []
    await watched.server.call("manager", "enableautoreload")
    await watched.a_while()
    assert pets.events == [], "what has changed in between is not looked at"
    pets.edit("rules", "7", "8")
    await watched.until(lambda: pets.events)


async def test_a_manager_that_is_reloaded_goes_on_watching(
    pets: Pets, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = sys.modules["vlcp.service.manage.modulemanager"]  # put back in the end: other tests know this one
    monkeypatch.setitem(sys.modules, own.__name__, own)
    monkeypatch.setattr(sys.modules["vlcp.service.manage"], "modulemanager", own)
    before = watched.server.modules["manager"]
    await watched.server.call(
        "manager", "reloadmodules", pathlist=["vlcp.service.manage.modulemanager.Manager"]
    )
    assert watched.server.modules["manager"] is not before
    await watched.a_while()
    pets.edit("rules", "1", "7")
    await watched.until(lambda: pets.events)


async def test_what_was_reloaded_by_hand_is_not_reloaded_again(pets: Pets, watched: Watched) -> None:
    pets.edit("rules", "1", "7")
    await watched.server.call("manager", "reloadmodules", pathlist=["pets.store.Store"])
    await watched.a_while()
    assert pets.events == ["-top1~", "-store1~", "+store1", "+top1"]
