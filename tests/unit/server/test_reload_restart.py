"""While modules are started again by a reload: who calls them, who waits for all, and a restart that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from unit.server.pets import Pets
from vlcp.server.config import parse
from vlcp.server.module import ModuleError
from vlcp.server.server import Server

FAILING = "async def load(self): raise OSError('no')\n    @api"


@pytest.fixture
async def server() -> Any:
    server = Server(parse(""))
    yield server
    await server.loader.unload_all()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_calls_wait_for_a_module_that_is_started_again(pets: Pets, server: Server) -> None:
    pets.edit("top", "@api", "async def unload(self):\n        await Top.gone.wait()\n    @api")
    await server.load("pets.top.Top")
    type(server.modules["top"]).gone = gone = asyncio.Event()  # type: ignore[attr-defined]  # a test's own
    pets.edit("rules", "1", "2")
    reload = asyncio.create_task(server.reload(["pets.store.Store"]))
    await asyncio.sleep(0.01)
    call = asyncio.create_task(server.call("top", "below"))
    await asyncio.sleep(0.01)
    assert not call.done()
    gone.set()
    await reload
    assert await call == 2


async def test_calls_do_not_wait_for_a_module_that_does_not_come_back(pets: Pets, server: Server) -> None:
    pets.edit(
        "store", "@api", "async def load(self):\n        if Store.spoilt: raise OSError('no')\n    @api"
    )
    pets.edit("store", "version = 1", "version, spoilt = 1, False")
    await server.load("pets.top.Top")
    type(server.modules["store"]).spoilt = True  # type: ignore[attr-defined]  # a test's own
    pets.edit("store", "spoilt = 1, False", "spoilt = 1, True")
    with pytest.raises(ModuleError, match=r"OSError: no; the old code does not run again: .*OSError: no"):
        await server.reload(["pets.store.Store"])
    assert {name: status["state"] for name, status in server.loader.status().items()} == {"top": "failed"}
    for name in ("top", "store"):
        with pytest.raises(Exception, match="no module"):
            await asyncio.wait_for(server.call(name, "discover"), 1)


async def test_nobody_is_told_that_all_are_loaded_before_the_old_code_is_back(
    pets: Pets, server: Server
) -> None:
    """Such as who sends flows when all modules that bring some are there."""
    await server.load("pets.top.Top")
    server.ready.set()
    told = list[set[str]]()

    async def watch() -> None:
        while server.ready.is_set():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
        await server.ready.wait()
        told.append(set(server.modules))

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    pets.edit("store", "@api", FAILING)
    with pytest.raises(ModuleError, match="OSError: no"):
        await server.reload(["pets.store.Store"])
    await watcher
    assert told == [{"top", "store", "ground"}]


async def test_one_that_was_not_running_is_not_put_back(
    pets: Pets, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It failed before; another one that takes over fails now."""
    pets.file("extra").write_text(
        "from vlcp.server.module import Module\n"
        "class Extra(Module):\n"
        "    async def load(self): raise OSError('no')\n"
        "    async def take_over(self, old): old.nothing\n"
    )
    await server.load("pets.memory.Memory")
    with pytest.raises(ModuleError):
        await server.load("pets.extra.Extra")
    pets.edit("memory", "old.values", "old.nothing")
    with pytest.raises(ModuleError, match="'Memory' object has no attribute 'nothing'"):
        await server.reload(["pets.memory.Memory", "pets.extra.Extra"])
    assert "does not run again" not in caplog.text
    assert server.loader.status()["extra"]["error"] == "OSError: no"


async def test_files_that_only_new_code_imports_are_read_again_after_it_failed(
    pets: Pets, server: Server
) -> None:
    await server.load("pets.top.Top")
    rules = pets.file("rules").read_text()
    pets.file("numbers_of_pets").write_text("NUMBER = 0\n")
    pets.edit("rules", "ANSWER = 1", "from pets import numbers_of_pets\nANSWER = 7 // numbers_of_pets.NUMBER")
    with pytest.raises(ModuleError, match="ZeroDivisionError"):
        await server.reload(["pets.store.Store"])
    assert pets.file("rules").read_text() != rules
    pets.file("numbers_of_pets").write_text("NUMBER = 1  # not 0\n")
    await server.reload(["pets.store.Store"])
    assert await server.call("top", "below") == 7


async def test_only_the_module_with_this_path_is_unloaded(pets: Pets, server: Server) -> None:
    pets.file("shop").write_text("from vlcp.server.module import Module\nclass Store(Module): pass\n")
    await server.load("pets.top.Top")
    await server.unload("pets.shop.Store")
    assert server.loader.status()["store"]["path"] == "pets.store.Store"
    assert set(server.modules) == {"top", "store", "ground"}


async def test_what_is_loaded_while_new_code_fails_goes_back_too(pets: Pets, server: Server) -> None:
    memory = await server.load("pets.memory.Memory")
    memory.gate = gate = asyncio.Event()  # type: ignore[attr-defined]  # a test's own
    pets.edit("memory", "old.values", "await old.gate.wait() and old.nothing")
    pets.edit("memory", "return self.dependency(Memory).add(value)", "return 'new'")
    reload = asyncio.create_task(server.reload(["pets.memory.Memory"]))
    await asyncio.sleep(0.01)
    await server.load("pets.memory.User")
    assert await server.call("user", "add", value=1) == "new"
    gate.set()
    with pytest.raises(ModuleError, match="no attribute 'nothing'; the old code runs on"):
        await reload
    assert server.modules["memory"] is memory
    assert await server.call("user", "add", value=1) == (1, [1])
    assert server.loader.status()["user"]["explicit"]


async def test_nobody_waits_for_what_cannot_be_started_again(pets: Pets, server: Server) -> None:
    """Somebody loads another module of one of the names just then; the one after it in turn is given up."""
    pets.file("atop").write_text(pets.file("top").read_text().replace("class Top", "class Atop"))
    pets.file("other").write_text("from vlcp.server.module import Module\nclass Top(Module): pass\n")
    wait = "async def unload(self):\n        if hasattr(self, 'gate'): await self.gate.wait()"
    pets.edit("store", "@api", f"{wait}\n    @api")
    await asyncio.gather(server.load("pets.top.Top"), server.load("pets.atop.Atop"))
    server.modules["store"].gate = gate = asyncio.Event()  # type: ignore[attr-defined]  # a test's own
    reload = asyncio.create_task(server.reload(["pets.store.Store"]))
    while server.modules.keys() & {"top", "atop"}:  # noqa: ASYNC110 (nothing tells)
        await asyncio.sleep(0.001)
    other = await server.load("pets.other.Top")
    gate.set()
    with pytest.raises(ModuleError, match=r"the old code does not run again: .*used by 'pets\.other\.Top'"):
        await reload
    assert server.modules["top"] is other
    assert list(await asyncio.wait_for(server.call("top", "discover"), 1)) == ["discover"]
    with pytest.raises(Exception, match="no module 'atop' is loaded"):
        await asyncio.wait_for(server.call("atop", "discover"), 1)


async def test_old_code_that_cannot_take_over_is_started_again(pets: Pets, server: Server) -> None:
    pets.edit("memory", "old.values", "old.nothing")
    await server.load("pets.memory.User")
    await server.load("pets.top.Top")
    pets.edit("memory", "old.nothing", "old.values")
    pets.edit("memory", "version = 1", "version = 2")
    pets.edit("store", "@api", FAILING)
    with pytest.raises(ModuleError, match=r"OSError: no; the old code runs on"):
        await server.reload(["pets.memory.Memory", "pets.store.Store"])
    assert await server.call("user", "add", value=7) == (1, [7])
    assert await server.call("top", "below") == 1
