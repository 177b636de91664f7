"""Which switches the manager knows: those that OVSDB says will come to us, and those that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sim.fakeswitch import FakeSwitch
from unit.service.sdn.rows import Ovsdb
from vlcp.flow.tables import PATH
from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.sdn.ioprocessing import IOProcessing
from vlcp.service.sdn.ofpmanager import OpenflowManager
from vlcp.service.sdn.ovsdbmanager import OVSDBManager
from vlcp.service.sdn.plugins.networklocaldriver import NetworkLocalDriver
from vlcp.service.sdn.viperflow import ViperFlow

CONFIG = """
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = ':memory:'
module.jsonrpcserver.url = None
module.openflowserver.url = 'unix://{directory}/of'
"""


class World:
    """A server with the manager, one network with the logical port `vm1`, and OVSDB."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.ovsdb = Ovsdb(directory)
        self.manager = server.module(OpenflowManager)

    def follow_ovsdb(self) -> asyncio.Task[None]:
        """OVSDB is connected now."""
        connection: Any = self.ovsdb
        return self.manager.spawn(self.server.module(OVSDBManager)._follow(connection), name="ovsdb")

    def known(self) -> list[int]:
        """The datapath ids of the switches that the manager knows."""
        return [switch.datapath_id for switch in self.manager.switches()]

    def flows(self) -> int:
        """How many flows the only switch shall have."""
        [switch] = self.manager.switches()
        return len(switch.desired.flows)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)

    def watched(self) -> int:
        """How many keys and directories of the store are watched."""
        watched = self.server.module(ObjectDB).mirror.statistics()["watched"]
        assert isinstance(watched, int)
        return watched

    def tasks(self) -> list[str]:
        """The names of the tasks of switches."""
        return [task.get_name() for task in asyncio.all_tasks() if "switch 0" in task.get_name()]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = Server(parse(CONFIG.format(directory=tmp_path)))
    for module in (ViperFlow, NetworkLocalDriver, IOProcessing):
        await server.load(module)
    server.ready.set()
    for api, parameters in (
        ("createphysicalnetwork", {"type": "local", "id": "p"}),
        ("createlogicalnetwork", {"physicalnetwork": "p", "id": "n"}),
        ("createlogicalport", {"logicalnetwork": "n", "id": "vm1"}),
    ):
        await server.apis.call("viperflow", api, parameters)
    try:
        yield World(server, tmp_path)
    finally:
        await server.loader.unload_all()


async def worked_out(world: World, datapath_id: int) -> None:
    """Wait until the flows of the port on the only switch, which has this id, are wanted."""
    await world.until(lambda: world.known() == [datapath_id] and world.flows() > len(PATH))


async def test_a_bridge_that_names_us_is_worked_out_before_it_connects(world: World) -> None:
    world.ovsdb.put_bridge(1)
    world.follow_ovsdb()
    await worked_out(world, 1)
    [status] = world.manager.status()
    assert (status["connected"], status["settled"]) == (False, False)
    fake = FakeSwitch(f"{world.directory}/of", 1)
    fake.add_port(1, "tap1")
    await fake.connect()
    await world.until(lambda: world.manager.status()[0]["settled"])
    assert len(fake.tables.flows) == status["flows"]
    await fake.disconnect()


async def test_a_bridge_of_another_controller_is_left_alone(world: World) -> None:
    world.ovsdb.put_bridge(1, "tcp:192.0.2.1:6653")
    world.follow_ovsdb()
    await asyncio.sleep(0.01)
    assert world.known() == []


async def test_a_bridge_that_changes_before_it_connects_is_dialled_once(world: World) -> None:
    dialled = list[asyncio.StreamWriter]()
    path = f"{world.directory}/br0.mgmt"
    async with await asyncio.start_unix_server(lambda reader, writer: dialled.append(writer), path):
        world.ovsdb.put_bridge(1)
        world.follow_ovsdb()
        await world.until(lambda: dialled)
        for _ in range(5):
            world.ovsdb.put_bridge(1)
            await asyncio.sleep(0.01)
        assert len(dialled) == 1
        for writer in dialled:
            writer.close()
            await writer.wait_closed()
        await world.until(lambda: not any("br0.mgmt" in task.get_name() for task in asyncio.all_tasks()))
        world.ovsdb.put_bridge(1)
        await world.until(lambda: len(dialled) == 2)
        dialled[1].close()


async def test_a_bridge_of_a_virtual_host_that_others_serve_is_left_alone(tmp_path: Path) -> None:
    more = (
        f"module.openflowserver.vhost.b.url = 'unix://{tmp_path}/b'\nmodule.openflowmanager.vhostbind = 'b'\n"
    )
    server = Server(parse(CONFIG.format(directory=tmp_path) + more))
    await server.load(OpenflowManager)
    world = World(server, tmp_path)
    world.ovsdb.put_bridge(1)
    world.follow_ovsdb()
    try:
        await world.until(lambda: server.module(OVSDBManager).statistics()["bridges"])
        assert world.known() == []
        world.ovsdb.put_bridge(1, f"unix:{tmp_path}/b")
        await world.until(lambda: world.known() == [1])
    finally:
        await server.loader.unload_all()


async def test_a_bridge_that_vanishes_before_it_connects_leaves_nothing(world: World) -> None:
    before = world.watched()
    world.follow_ovsdb()
    world.ovsdb.put_bridge(1)
    await worked_out(world, 1)
    assert world.watched() > before
    assert world.tasks()
    world.ovsdb.put("Bridge", "b", None)
    await world.until(lambda: world.watched() == before and not world.tasks())
    assert world.manager.status() == []
    world.ovsdb.put_bridge(1)
    await worked_out(world, 1)


async def test_an_awaited_bridge_gets_another_controller(world: World) -> None:
    world.follow_ovsdb()
    world.ovsdb.put_bridge(1)
    await worked_out(world, 1)
    world.ovsdb.put("Controller", "c", {"target": "tcp:192.0.2.1:6653"})
    assert world.known() == []


async def test_an_awaited_bridge_gets_another_datapath_id(world: World) -> None:
    world.follow_ovsdb()
    world.ovsdb.put_bridge(1)
    await worked_out(world, 1)
    world.ovsdb.put_bridge(2)
    await worked_out(world, 2)


async def test_what_was_connected_once_is_kept_when_its_bridge_vanishes(world: World) -> None:
    world.ovsdb.put_bridge(1)
    world.follow_ovsdb()
    fake = FakeSwitch(f"{world.directory}/of", 1)
    await fake.connect()
    await world.until(lambda: world.manager.status()[0]["connected"])
    await fake.disconnect()
    await world.until(lambda: not world.manager.status()[0]["connected"])
    world.ovsdb.put("Bridge", "b", None)
    assert world.known() == [1]


async def test_an_awaited_switch_outlives_the_connection_to_ovsdb(world: World) -> None:
    world.ovsdb.put_bridge(1)
    following = world.follow_ovsdb()
    await worked_out(world, 1)
    world.ovsdb.close()
    await following
    assert world.known() == [1]
    world.ovsdb = Ovsdb(world.directory)
    world.ovsdb.put_bridge(2)
    world.follow_ovsdb()
    await worked_out(world, 2)


async def test_a_switch_comes_before_ovsdb_names_it(world: World) -> None:
    fake = FakeSwitch(f"{world.directory}/of", 7)
    await fake.connect()
    await world.until(lambda: world.known() == [7])
    assert not fake.tables.flows, "what is plugged in is not known yet"
    world.ovsdb.put_bridge(7)
    world.follow_ovsdb()
    fake.add_port(1, "tap1")
    await world.until(lambda: world.manager.status()[0]["settled"] and world.flows() > len(PATH))
    await fake.disconnect()


async def test_a_switch_that_comes_while_modules_are_started_again_is_served_afterwards(world: World) -> None:
    world.server.ready.clear()
    fake = FakeSwitch(f"{world.directory}/of", 7)
    await fake.connect()
    await world.until(lambda: world.known() == [7])
    world.ovsdb.put_bridge(7)
    world.follow_ovsdb()
    fake.add_port(1, "tap1")
    await world.until(lambda: world.flows() > len(PATH))
    assert not fake.tables.flows, "others may be missing yet"
    world.server.ready.set()
    await world.until(lambda: len(fake.tables.flows) > len(PATH))
    await fake.disconnect()
