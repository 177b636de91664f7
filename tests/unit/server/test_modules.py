"""The life of modules: order, failures, unloading, services, proxies and calls between them."""

import asyncio
from typing import Any, ClassVar

import pytest

from vlcp.server.api import BadParameterError, ConflictError, NoSuchApiError, NotFoundError
from vlcp.server.config import ConfigError, parse
from vlcp.server.module import Module, ModuleError, Proxy, api, depend
from vlcp.server.server import Server

HERE = __name__


class Diary(Module):
    """Writes down when modules are loaded and unloaded."""

    events: ClassVar[list[str]] = []

    async def load(self) -> None:
        await asyncio.sleep(0.01)
        self.events.append(f"+{self.name}")

    async def unload(self) -> None:
        self.events.append(f"-{self.name}")


class Store(Diary):
    service = True

    @api
    def get(self, key: str, timeout: int | None = None) -> Any:
        """Read one value."""
        return key, timeout


class Cache(Diary):
    service = True


@depend(Store, Cache)
class Network(Diary):
    @api
    async def createPort(self, id: int, *, name: str = "none", **kwargs: Any) -> dict[str, Any]:  # noqa: N802 (as users write)
        """Create a port.

        It gets a name.
        """
        return {"id": id, "name": name, **kwargs}


@depend(Network)
class Switch(Diary):
    pass


class Broken(Diary):
    async def load(self) -> None:
        raise OSError("the disk is full")


@depend(Broken, Cache)
class OnBroken(Diary):
    pass


class Slow(Diary):
    class Settings(Module.Settings, frozen=True, kw_only=True):
        loadtimeout: float = 0.05
        patience: int = 3

    settings: Settings

    async def load(self) -> None:
        await asyncio.sleep(30)


class Silent(Diary):
    pass


class Storage(Proxy):
    default = f"{HERE}.Store"


class Unset(Proxy):
    pass


@pytest.fixture(autouse=True)
def events() -> list[str]:
    Diary.events.clear()
    return Diary.events


@pytest.fixture
async def server() -> Any:
    server = Server(parse(""))
    yield server
    await server.loader.unload_all()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_dependencies_are_loaded_first_and_unloaded_last(server: Server, events: list[str]) -> None:
    switch = await server.load(Switch)
    assert isinstance(switch.dependency(Network), Network)
    assert sorted(events[:2]) == ["+cache", "+store"]
    assert events[2:] == ["+network", "+switch"]
    events.clear()
    await server.unload(Switch)
    assert events == ["-switch"]
    await server.unload(Store)
    assert events == ["-switch", "-network", "-cache", "-store"] or events == [
        "-switch",
        "-network",
        "-store",
        "-cache",
    ]


async def test_a_service_is_freed_with_its_last_dependent(server: Server) -> None:
    await server.load(Cache)
    await server.load(Network)
    assert set(server.modules) == {"network", "store", "cache"}
    await server.unload(Network)
    assert set(server.modules) == {"cache"}, "explicitly loaded services stay, others go"


async def test_unloading_everything_stops_the_server(server: Server) -> None:
    await server.load(Network)
    await server.unload(Network)
    assert server.stopping


async def test_concurrent_loads_and_unloads_of_shared_services(server: Server, events: list[str]) -> None:
    await asyncio.gather(*(server.load(cls) for cls in (Switch, Network, Store) for _ in range(3)))
    assert sorted(events) == ["+cache", "+network", "+store", "+switch"]
    await asyncio.gather(server.unload(Store), server.unload(Network), server.load(Silent))
    assert "silent" in server.modules
    assert "network" not in server.modules
    await server.load(Switch)
    assert set(server.modules) == {"store", "cache", "network", "switch", "silent"}


async def test_a_failure_is_isolated_and_says_why(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    await server.load(Silent)
    with pytest.raises(
        ModuleError, match=r"it depends on 'broken', which is failed \(OSError: the disk is full\)"
    ):
        await server.load(OnBroken)
    assert set(server.modules) == {"silent"}, "the service that was loaded for it is freed"
    assert "vlcp call manager/loadmodule" in caplog.text
    assert "the disk is full" in caplog.text
    record = server.loader.record("broken")
    assert record is not None
    assert record.status()["error"] == "OSError: the disk is full"


async def test_a_failed_module_can_be_loaded_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleError):
        await server.load(Broken)
    monkeypatch.setattr(Broken, "load", Diary.load)
    await server.load(OnBroken)
    assert {"broken", "onbroken"} <= set(server.modules)


async def test_load_has_a_time_limit(server: Server) -> None:
    with pytest.raises(ModuleError, match=r"load took longer than 0.05 s \(loadtimeout\)"):
        await server.load(Slow)


async def test_a_circle_is_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "dependencies", (Switch,))
    with pytest.raises(ModuleError, match="switch -> network -> store -> switch"):
        await server.load(Switch)


async def test_two_modules_of_one_name(server: Server) -> None:
    other = type("Store", (Diary,), {})
    await server.load(Store)
    with pytest.raises(ConflictError, match=r"its name is used by .*test_modules\.Store"):
        await server.load(other)


async def test_unknown_paths_name_the_nearest(server: Server) -> None:
    for path, hint in [
        ("Store", "full loading path"),
        ("vlcp.server.nosuch.X", "no Python module 'vlcp.server.nosuch'"),
        ("vlcp.server.module.Modul", "no 'Modul'"),
        ("vlcp.server.module.Module", "not a class derived"),
        ("json.JSONDecoder", "not a class derived"),
    ]:
        with pytest.raises(ModuleError, match=hint):
            await server.load(path)


async def test_settings_come_from_the_file_with_their_place() -> None:
    default = "module.default.loadtimeout = 7\nmodule.default.unloadtimeout = 8"
    slow = Slow(Server(parse(f"module.slow.patience = 5\n{default}", "x.conf")))
    assert (slow.settings.patience, slow.settings.unloadtimeout) == (5, 8.0)
    assert slow.settings.loadtimeout == 0.05, "it declares this one itself"
    assert Silent(Server(parse(default))).settings.loadtimeout == 7.0
    with pytest.raises(
        ConfigError, match=r"x.conf:1: module.slow.patience = 'long': expected `int`, got `str`"
    ):
        Slow(Server(parse("module.slow.patience = 'long'", "x.conf")))


async def test_a_crashed_task_shows_in_the_status(server: Server) -> None:
    async def crash() -> None:
        raise RuntimeError("out of luck")

    module = await server.load(Silent)
    await asyncio.wait([module.spawn(crash(), name="crash")])
    await asyncio.sleep(0)
    record = server.loader.record("silent")
    assert record is not None
    assert (record.state, record.status()["error"]) == ("failed", "RuntimeError: out of luck")
    with pytest.raises(ModuleError, match="before unloading the failed instance"):
        await server.load(Silent)


async def test_tasks_end_with_their_module(server: Server) -> None:
    module = await server.load(Silent)
    task = module.spawn(asyncio.sleep(100), name="nap")
    assert task.get_name() == "silent: nap"
    await server.unload(Silent)
    assert task.cancelled()


async def test_calls_are_checked_and_converted(server: Server) -> None:
    await server.load(Network)
    assert await server.call("network", "createport", id="7", colour="red") == {
        "id": 7,
        "name": "none",
        "colour": "red",
    }
    for module, name, params, error, text in [
        ("netwrok", "x", {}, NotFoundError, "no module 'netwrok' is loaded; did you mean network"),
        ("network", "createports", {}, NotFoundError, "did you mean network/createport"),
        (
            "network",
            "createport",
            {},
            BadParameterError,
            r"missing parameter 'id'; the parameters are \(id, name='none'\)",
        ),
        (
            "network",
            "createport",
            {"id": "x"},
            BadParameterError,
            "parameter 'id': expected `int`, got `str`",
        ),
        (
            "store",
            "get",
            {"key": "a", "timout": 3},
            BadParameterError,
            "unknown parameter 'timout'; did you mean timeout",
        ),
    ]:
        with pytest.raises(error, match=text):
            await server.apis.call(module, name, params)


async def test_discover_without_details(server: Server) -> None:
    await asyncio.gather(server.load(Network), server.load(Silent))
    plain = await server.call("network", "discover")
    assert plain["createport"] == "Create a port.\n\nIt gets a name."
    assert set(plain) == {"createport", "discover"}
    assert set(await server.call("silent", "discover", details="false")) == {"discover"}


async def test_discover_with_details(server: Server) -> None:
    await server.load(Network)
    answer = (await server.call("network", "discover", details="0"))["createport"]
    assert answer["extraparameters"] is True
    assert answer["parameters"] == [
        {"name": "id", "optional": False, "type": "<class 'int'>", "schema": {"type": "integer"}},
        {
            "name": "name",
            "optional": True,
            "default": "none",
            "type": "<class 'str'>",
            "schema": {"type": "string"},
        },
    ]
    get = (await server.call("store", "discover", details=True))["get"]
    assert get["parameters"][1]["type"] == ["<class 'int'>", None]
    assert get["extraparameters"] is False
    assert "extraparameters_type" not in get


async def test_a_call_waits_for_a_module_that_is_loading(server: Server) -> None:
    loading = asyncio.create_task(server.load(Store))
    await asyncio.sleep(0)
    assert await server.call("store", "get", key="k") == ("k", None)
    await loading
    broken = asyncio.gather(server.load(Broken), server.call("broken", "discover"), return_exceptions=True)
    assert [type(answer) for answer in await broken] == [ModuleError, NoSuchApiError]


async def test_a_proxy_forwards_to_its_implementation(server: Server) -> None:
    proxy = await server.load(Storage)
    assert isinstance(server.module(Storage), Store)
    assert await server.call("storage", "get", key="k", timeout="4") == ("k", 4)
    assert "get" in await server.call("storage", "discover")
    with pytest.raises(NotFoundError, match="module 'store'"):
        await server.call("storage", "put")
    await server.unload(type(proxy))
    assert server.modules == {}


async def test_proxies_come_from_the_configuration() -> None:
    server = Server(parse(f"proxy.storage = '{HERE}.Cache'\nproxy.unset = '{HERE}.Cahce'", "x.conf"))
    assert server.loader.implementation(Storage) is Cache
    with pytest.raises(ModuleError, match=r"x.conf:2: proxy.unset: .*did you mean .*Cache"):
        await server.load(Unset)
    with pytest.raises(ModuleError, match=r"proxy.unset is not specified"):
        await Server(parse("")).load(Unset)
