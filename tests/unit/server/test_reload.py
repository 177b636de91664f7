"""New code for loaded modules: what takes part, in which order, and what stays when the new code cannot run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from unit.server.pets import FILES, Pets
from vlcp.server.config import parse
from vlcp.server.module import ModuleError
from vlcp.server.server import Server


@pytest.fixture
async def server() -> Any:
    server = Server(parse(""))
    yield server
    await server.loader.unload_all()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


def states(server: Server) -> dict[str, str]:
    return {name: status["state"] for name, status in server.loader.status().items()}


async def test_what_depends_on_reloaded_code_is_started_again_around_it(pets: Pets, server: Server) -> None:
    await server.load("pets.top.Top")
    assert pets.events == ["+ground1", "+store1", "+top1"]
    before = server.loader.status()
    pets.edit("store", "version = 1", "version = 2")
    await server.reload(["pets.store.Store"])
    assert pets.events == ["-top1~", "-store1~", "+store2", "+top1"], "the service below stays"
    after = server.loader.status()
    for name, status in before.items():
        assert {**status, "since": 0} == {**after[name], "since": 0}
    assert await server.call("top", "below") == 1
    assert not any(module.reloading for module in server.modules.values())
    await server.unload("pets.top.Top")
    assert server.modules == {}, "services are freed as before"


async def test_what_a_module_owns_is_new_too_though_the_time_and_size_of_the_file_are_not(
    pets: Pets, server: Server
) -> None:
    await server.load("pets.top.Top")
    pets.edit("rules", "1", "2")
    await server.reload(["pets.store.Store"])
    assert await server.call("top", "below") == 2
    assert sys.modules["pets"].rules is sys.modules["pets.rules"]


async def test_one_that_takes_over_is_replaced_and_its_dependents_run_on(pets: Pets, server: Server) -> None:
    await asyncio.gather(server.load("pets.memory.User"), server.load("pets.memory.Shortcut"))
    old, user = server.modules["memory"], server.modules["user"]
    assert await server.call("user", "add", value=1) == (1, [1])
    pets.edit("memory", "version = 1", "version = 2")
    pets.edit(
        "memory", "class User(Module):", "class User(Module):\n    async def take_over(self, old): pass"
    )
    await server.reload(["pets.memory.Memory"])
    assert server.modules["memory"] is not old
    assert server.modules["user"] is not user, "its code is in the same file; it was restarted"
    user = server.modules["user"]
    pets.edit("memory", "version = 2", "version = 3")
    told = server.notifications.subscribe("server")
    await server.reload(["pets.memory.Memory"])
    told.close()
    assert {(t.name, t.attributes["module"], t.attributes["before"]) async for t in told} == {
        ("succeeded", name, "succeeded") for name in ("memory", "user", "shortcut")
    }
    assert await server.call("user", "add", value=2) == (3, [1, 2])
    assert await server.call("shortcut", "add", value=3) == (3, [1, 2, 3])
    assert old.statistics()["tasks"] == 0


BROKEN: dict[str, tuple[str, Callable[[Pets], None], str]] = {
    "syntax": (
        "pets.store.Store",
        lambda pets: pets.edit("store", "version = 1", "version = = 1"),
        r"pets/store\.py:\d+: SyntaxError: invalid syntax; the old code runs on",
    ),
    "syntax of what it owns": (
        "pets.store.Store",
        lambda pets: pets.edit("rules", "ANSWER", "def"),
        r"pets/rules\.py:1: SyntaxError",
    ),
    "a name that does not exist": (
        "pets.store.Store",
        lambda pets: pets.edit("store", "version = 1", "version = nothing"),
        r"pets/store\.py:8: NameError: name 'nothing' is not defined",
    ),
    "an import that fails": (
        "pets.store.Store",
        lambda pets: pets.edit("rules", "ANSWER", "import no.such\nANSWER"),
        r"pets/rules\.py:1: ModuleNotFoundError: No module named 'no'",
    ),
    "a program that ends": (
        "pets.store.Store",
        lambda pets: pets.edit("rules", "ANSWER", "raise SystemExit(3)\nANSWER"),
        r"pets/rules\.py:1: SystemExit: 3",
    ),
    "the class is gone": (
        "pets.store.Store",
        lambda pets: pets.edit("store", "class Store(", "class Storage("),
        r"there is no 'Store' in pets\.store; did you mean pets\.store\.Storage\?; the old code runs on",
    ),
    "no text": (
        "pets.store.Store",
        lambda pets: pets.file("store").unlink(),
        r"FileNotFoundError: .*pets/store\.py'; the old code runs on",
    ),
    "the new code cannot be loaded": (
        "pets.store.Store",
        lambda pets: pets.edit("store", "@api", "async def load(self): raise OSError('no')\n    @api"),
        r"cannot load 'pets\.store\.Store': OSError: no",
    ),
    "a dependent cannot be loaded": (
        "pets.bottom.Ground",
        lambda pets: pets.edit(
            "bottom", "service", "answer = None\n    async def load(self): 1/0\n    service"
        ),
        r"cannot load 'pets\.\w+\.\w+': .*ZeroDivisionError",
    ),
    "an API that cannot be called": (
        "pets.memory.Memory",
        lambda pets: pets.edit("memory", "value: int", "*values: int"),
        r"TypeError: Memory\.add: the parameters of a module API must be usable by keyword",
    ),
    "the new code cannot take over": (
        "pets.memory.Memory",
        lambda pets: pets.edit("memory", "old.values", "old.nothing"),
        r"cannot reload: AttributeError: 'Memory' object has no attribute 'nothing'; the old code runs on",
    ),
}


@pytest.mark.parametrize(("path", "spoil", "told"), BROKEN.values(), ids=BROKEN)
async def test_new_code_that_cannot_run_changes_nothing(
    pets: Pets, server: Server, path: str, spoil: Callable[[Pets], None], told: str
) -> None:
    await asyncio.gather(server.load("pets.top.Top"), server.load("pets.memory.Memory"))
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "pets"}
    kept = {name: file.read_text() for name in FILES if (file := pets.file(name))}
    memory, before = server.modules["memory"], states(server)
    tasks = set(asyncio.all_tasks())
    explicit = {name: status["explicit"] for name, status in server.loader.status().items()}
    spoil(pets)
    with pytest.raises(ModuleError, match=told):
        await server.reload([path])
    assert {name: module for name, module in sys.modules.items() if name.split(".")[0] == "pets"} == modules
    assert all(
        getattr(modules["pets"], name.partition(".")[2]) is modules[name] for name in modules if "." in name
    )
    assert states(server) == before
    assert {name: status["explicit"] for name, status in server.loader.status().items()} == explicit
    assert server.modules["memory"] is memory
    assert set(asyncio.all_tasks()) == tasks
    assert await server.call("top", "below") == 1
    for name, text in kept.items():
        pets.file(name).write_text(text)
    pets.edit("rules", "1", "3")
    await server.reload(["pets.store.Store"])
    assert await server.call("top", "below") == 3, "a later edit works"


@pytest.mark.parametrize(
    ("paths", "status", "told"),
    [
        (["Store"], 404, "give the full loading path, such as 'package.file.Store'"),
        (["pets.nothing.Store"], 404, "no Python module 'pets.nothing'"),
        (["pets.store.Nothing"], 404, "there is no 'Nothing' in pets.store"),
        (["pets.top.Top", "pets.memory.Memory"], 409, "'pets.memory.Memory': it is not loaded; load it with"),
        (["vlcp.service.utils.knowledge.Knowledge"], 409, "it is not loaded"),
        ([], 400, "at least one loading path"),
    ],
)
async def test_paths_that_cannot_be_reloaded(
    pets: Pets, server: Server, paths: list[str], status: int, told: str
) -> None:
    await server.load("pets.top.Top")
    pets.edit("top", "self.dependency", "1/0")
    with pytest.raises(Exception, match=told) as refused:
        await server.reload(paths)
    assert getattr(refused.value, "status", None) == status
    assert await server.call("top", "below") == 1


async def test_a_module_that_failed_to_load_gets_its_new_code(pets: Pets, server: Server) -> None:
    good = pets.file("store").read_text()
    pets.edit("store", "@api", "async def load(self): raise OSError('no')\n    @api")
    with pytest.raises(ModuleError):
        await server.load("pets.store.Store")
    pets.file("store").write_text(good)
    await server.reload(["pets.store.Store"])
    assert states(server) == {"store": "succeeded", "ground": "succeeded"}


async def test_new_code_may_need_other_modules(pets: Pets, server: Server) -> None:
    await server.load("pets.memory.User")
    pets.edit(
        "memory",
        "class Memory(Module):",
        "from pets.bottom import Ground\n@depend(Ground)\nclass Memory(Module):",
    )
    await server.reload(["pets.memory.Memory"])
    assert states(server) == dict.fromkeys(("memory", "user", "ground"), "succeeded")
    assert server.loader.status()["memory"]["dependencies"] == ["ground"]
    pets.edit("memory", "@depend(Ground)\n", "")
    await server.reload(["pets.memory.Memory"])
    assert states(server) == dict.fromkeys(("memory", "user"), "succeeded")


async def test_a_caller_that_goes_away_leaves_no_reload_half_done(pets: Pets, server: Server) -> None:
    await server.load("pets.top.Top")
    pets.edit("store", "version = 1", "version = 2")
    caller = asyncio.create_task(server.reload(["pets.store.Store"]))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    while server.loader.busy:  # noqa: ASYNC110 (nothing tells)
        await asyncio.sleep(0.001)
    assert pets.events[-2:] == ["+store2", "+top1"]


async def test_reloads_wait_for_each_other(pets: Pets, server: Server) -> None:
    await server.load("pets.top.Top")
    paths = ["pets.store.Store", "pets.top.Top", "pets.bottom.Ground"]
    await asyncio.gather(*(server.reload([path]) for path in paths), server.reload(paths))
    assert states(server) == dict.fromkeys(("top", "store", "ground"), "succeeded")
    assert await server.call("top", "below") == 1


async def test_packages_and_what_has_no_file_are_refused(pets: Pets, server: Server) -> None:
    pets.file("__init__").write_text("from vlcp.server.module import Module\nclass Whole(Module): pass\n")
    await server.load("pets.Whole")
    with pytest.raises(ModuleError, match="cannot reload pets: it is a package"):
        await server.reload(["pets.Whole"])


async def test_classes_that_are_not_loaded_now_are_new_as_well(pets: Pets, server: Server) -> None:
    pets.edit("store", "@depend(Ground)", "class Spare(Diary): pass\n@depend(Ground)")
    pets.file("tool").write_text(
        "from pets.diary import Diary\nfrom pets.store import Spare\nfrom vlcp.server.module import depend\n"
        "@depend(Spare)\nclass Tool(Diary): pass\n"
    )
    await server.load("pets.top.Top")
    await server.load("pets.tool.Tool")
    await server.unload("pets.store.Spare")
    pets.edit("store", "class Spare(Diary): pass", "class Spare(Diary): version = 2")
    await server.reload(["pets.store.Store"])
    await server.load("pets.tool.Tool")
    await server.load("pets.store.Spare")
    assert pets.events[-2:] == ["+spare2", "+tool1"]
