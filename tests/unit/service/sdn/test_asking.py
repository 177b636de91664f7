"""Several switches and databases in several virtual hosts: what is answered about them, and who waits for what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sim.fakeswitch import FakeSwitch
from unit.service.sdn.rows import Ovsdb
from vlcp.link.openflow import OpenFlowConnection
from vlcp.server.api import BadParameterError, CallTimeoutError, NotFoundError, UnavailableError
from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.sdn.ofpmanager import OpenflowManager
from vlcp.service.sdn.ofpportmanager import OpenflowPortManager
from vlcp.service.sdn.ovsdbmanager import OVSDBManager
from vlcp.service.sdn.ovsdbportmanager import OVSDBPortManager
from vlcp.wire.openflow import PortDescRequest

CONFIG = """
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = ':memory:'
module.jsonrpcserver.url = None
module.jsonrpcserver.vhost.far.url = None
module.openflowserver.url = 'unix://{directory}/of'
module.openflowserver.vhost.far.url = 'unix://{directory}/far'
module.openflowserver.vhost.unused.url = None
module.openflowmanager.vhostbind = ('', 'far')
"""


class World:
    """A server with the four modules."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.switches: list[FakeSwitch] = []

    async def call(self, api: str, **parameters: Any) -> Any:
        """Call `module/api` as other modules do."""
        module, _, name = api.partition("/")
        return await self.server.apis.call(module, name, parameters)

    def waiting(self, api: str, **parameters: Any) -> asyncio.Task[Any]:
        """A call that is on its way."""
        return asyncio.create_task(self.call(api, **parameters))

    async def switch(self, datapath_id: int, socket: str = "of") -> FakeSwitch:
        """A switch that dials in."""
        fake = FakeSwitch(f"{self.directory}/{socket}", datapath_id)
        self.switches.append(fake)
        await fake.connect()
        return fake

    async def database(self, datapath_id: int, vhost: str = "", system_id: str = "") -> Ovsdb:
        """A database that is connected, with one bridge."""
        database = Ovsdb(self.directory, vhost)
        connection: Any = database
        if system_id:
            database.put("Open_vSwitch", "o", {"external_ids": {"system-id": system_id}})
        database.put_bridge(datapath_id, "tcp:192.0.2.1")
        manager = self.server.module(OVSDBManager)
        manager.spawn(manager._follow(connection), name="ovsdb")
        await until(lambda: manager.connections.get(database.id))
        return database


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = Server(parse(CONFIG.format(directory=tmp_path)))
    for module in (OpenflowPortManager, OVSDBPortManager):
        await server.load(module)
    world = World(server, tmp_path)
    try:
        yield world
    finally:
        for switch in world.switches:
            await switch.disconnect()
        await server.loader.unload_all()


async def test_switches_of_several_virtual_hosts(world: World) -> None:
    await world.switch(1)
    await world.switch(2)
    await world.switch(1, "far")
    for datapath_id, vhost in ((1, ""), (2, ""), (1, "far")):
        connection = await world.call("openflowmanager/waitconnection", datapathid=datapath_id, vhost=vhost)
        assert isinstance(connection, OpenFlowConnection)
        assert (connection.datapath_id, connection.vhost) == (datapath_id, vhost)
        assert connection is await world.call(
            "openflowmanager/getconnection", datapathid=datapath_id, vhost=vhost
        )
    assert await world.call("openflowmanager/getdatapathids") == [1, 2]
    assert await world.call("openflowmanager/getdatapathids", vhost="far") == [1]
    assert set(await world.call("openflowmanager/getalldatapathids")) == {("", 1), ("", 2), ("far", 1)}
    assert len(await world.call("openflowmanager/getallconnections")) == 2
    assert len(await world.call("openflowmanager/getallconnections", vhost=None)) == 3
    assert await world.call("openflowmanager/getendpoints", vhost="far") == [f"{world.directory}/far"]
    assert [(d, v) for d, _, v in await world.call("openflowportmanager/getallports", vhost="far")] == [
        (1, "far")
    ]


async def test_the_oldest_connection_is_in_use_and_others_are_spares(world: World) -> None:
    await world.switch(1)
    first = await world.call("openflowmanager/waitconnection", datapathid=1)
    await world.switch(1)
    manager = world.server.module(OpenflowManager)
    await until(lambda: len(manager.getconnections(1)) == 2)
    assert await world.call("openflowmanager/getconnection", datapathid=1) is first
    await world.switches[0].disconnect()
    await until(lambda: len(manager.getconnections(1)) == 1)
    assert await world.call("openflowmanager/getconnection", datapathid=1) not in (None, first)
    await world.switches[1].disconnect()
    await until(lambda: manager.getconnection(1) is None)
    assert await world.call("openflowportmanager/getports", datapathid=1) is None


async def test_openflow_ports_come_change_and_go(world: World) -> None:
    name = world.waiting("openflowportmanager/waitportbyname", datapathid=1, name="tap1")
    number = world.waiting("openflowportmanager/waitportbyno", datapathid=1, portno=7)
    switch = await world.switch(1)
    await world.call("openflowmanager/waitconnection", datapathid=1)
    switch.add_port(7, "tap0")
    assert (await number)["name"] == "tap0"
    assert not name.done()
    switch.add_port(7, "tap1")
    port = await name
    assert (port["port_no"], port["hw_addr"]) == (7, "00:00:00:00:00:07")
    assert await world.call("openflowportmanager/getportbyno", datapathid="0x1", portno="7") == port
    switch.remove_port(7)
    await world.call("openflowportmanager/resync", datapathid=1)
    assert await world.call("openflowportmanager/getportbyno", datapathid=1, portno=7) is None


async def test_a_port_that_comes_while_a_switch_describes_its_ports_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = await world.switch(1)
    connection = await world.call("openflowmanager/waitconnection", datapathid=1)
    asked, ports = connection.multipart, world.server.module(OpenflowManager).ports(1, "")
    answers = []

    async def multipart(message: PortDescRequest) -> Any:
        answer = await asked(message)
        if not answers:
            switch.add_port(7, "tap1")
            await until(lambda: ports and ports.numbered(7))
        answers.append(answer)
        return answer

    monkeypatch.setattr(connection, "multipart", multipart)
    await world.call("openflowportmanager/resync", datapathid=1)
    assert len(answers) == 2
    assert (await world.call("openflowportmanager/getportbyname", datapathid=1, name="tap1"))["port_no"] == 7


async def test_a_switch_that_goes_while_it_is_asked_for_its_ports(world: World) -> None:
    switch = await world.switch(1)
    await world.call("openflowmanager/waitconnection", datapathid=1)
    switch.faults.silent = True
    resync = world.waiting("openflowportmanager/resync", datapathid=1)
    await asyncio.sleep(0.01)
    await switch.disconnect()
    with pytest.raises(UnavailableError, match=r"^switch 0000000000000001: .* closed"):
        await resync


async def test_databases_of_several_virtual_hosts(world: World) -> None:
    near, far = await world.database(1, "", "a"), await world.database(1, "far", "b")
    other = await world.database(2, "far")
    assert await world.call("ovsdbmanager/getconnection", datapathid=1) is near
    assert await world.call("ovsdbmanager/waitconnection", datapathid=1, vhost="far") is far
    assert await world.call("ovsdbmanager/getbridgeinfo", datapathid=2, vhost="far") == ("br0", None, "b")
    assert set(await world.call("ovsdbmanager/getalldatapathids")) == {("", 1), ("far", 1), ("far", 2)}
    assert set(await world.call("ovsdbmanager/getallsystemids")) == {("", "a"), ("far", "b")}
    assert await world.call("ovsdbmanager/getsystemids") == ["a"]
    assert await world.call("ovsdbmanager/getconnectionbysystemid", systemid="b") is None
    assert await world.call("ovsdbmanager/getconnectionbysystemid", systemid="b", vhost="far") is far
    assert len(await world.call("ovsdbmanager/getallbridges")) == 3
    assert len(await world.call("ovsdbportmanager/getallports", vhost="far")) == 2
    for connection in (other, other.id, dict(other.displayed())):
        assert await world.call("ovsdbmanager/getbridges", connection=connection) == [(2, "br0", "b")]


async def test_of_two_connections_to_one_database_the_newest_counts(world: World) -> None:
    await world.database(1, "", "a")
    second = await world.database(1, "", "a")
    assert await world.call("ovsdbmanager/getconnectionbysystemid", systemid="a") is second
    assert await world.call("ovsdbmanager/getdatapathids") == [1]
    assert len(await world.call("ovsdbportmanager/getallports")) == 1
    assert len(await world.call("ovsdbmanager/getallconnections")) == 2


async def test_what_comes_into_a_database_is_waited_for(world: World) -> None:
    calls = [
        world.waiting("ovsdbmanager/waitbridgeinfo", datapathid=1),
        world.waiting("ovsdbmanager/waitconnectionbysystemid", systemid="a"),
        world.waiting("ovsdbportmanager/waitportbyid", id="vm1"),
        world.waiting("ovsdbportmanager/waitportbyname", datapathid=1, name="tap1"),
        world.waiting("ovsdbportmanager/waitportbyno", datapathid=1, portno=0x10001),
    ]
    database = await world.database(1, "", "a")
    info, connection, (datapath_id, port), named, numbered = await asyncio.gather(*calls)
    assert (info, connection, datapath_id) == (("br0", "a", "b"), database, 1)
    assert port == named == numbered
    late = world.waiting("ovsdbportmanager/waitportbyid", id="vm2")
    await asyncio.sleep(0)
    database.put("Interface", "i", {"name": "tap1", "ofport": 1, "external_ids": {"iface-id": "vm2"}})
    assert (await late)[1]["id"] == "vm2"
    assert await world.call("ovsdbportmanager/resync", datapathid=1) is None


async def test_a_connection_that_ends_ends_the_waiting_for_its_bridges(world: World) -> None:
    database = await world.database(1)
    calls = [
        world.waiting("ovsdbmanager/waitbridge", connection=database, name="br1"),
        world.waiting("ovsdbmanager/waitbridgebyuuid", connection=database, uuid="none"),
    ]
    await asyncio.sleep(0.01)
    database.close()
    for call in calls:
        with pytest.raises(UnavailableError, match=r"^connection '.*' has ended$"):
            await call
    with pytest.raises(NotFoundError, match="there is no open connection"):
        await world.call("ovsdbmanager/getbridges", connection=database)


async def test_a_module_that_is_unloaded_ends_all_waiting(world: World) -> None:
    calls = [
        world.waiting("openflowmanager/waitconnection", datapathid=1),
        world.waiting("ovsdbportmanager/waitportbyid", id="vm1"),
    ]
    await asyncio.sleep(0.01)
    await world.server.loader.unload_all()
    for call, module in zip(calls, ("openflowmanager", "ovsdbmanager"), strict=True):
        with pytest.raises(UnavailableError, match=rf"^module '{module}' is being unloaded$"):
            await call


@pytest.mark.parametrize(
    ("api", "parameters", "missing"),
    [
        ("openflowmanager/waitconnection", {"datapathid": 1, "vhost": "far"},
         "datapath 0000000000000001 is not connected (virtual host 'far')"),
        ("openflowportmanager/waitportbyno", {"datapathid": 1, "portno": 3},
         "datapath 0000000000000001 is not connected, or has no port 3"),
        ("ovsdbmanager/waitconnectionbysystemid", {"systemid": "a"}, "system 'a' is not connected"),
        ("ovsdbportmanager/waitportbyname", {"datapathid": 1, "name": "tap1"},
         "datapath 0000000000000001 has no port 'tap1' in a database that is connected"),
    ],
)  # fmt: skip
async def test_what_does_not_come_in_time(
    world: World, api: str, parameters: dict[str, Any], missing: str
) -> None:
    with pytest.raises(CallTimeoutError) as error:
        await world.call(api, timeout=0.01, **parameters)
    assert str(error.value) == f"{missing}, and did not come within 0.01 s"


@pytest.mark.parametrize("vhost", ["unused", "nosuch"])
async def test_a_virtual_host_that_is_not_used(world: World, vhost: str) -> None:
    with pytest.raises(NotFoundError) as error:
        await world.call("openflowportmanager/getportbyno", datapathid=1, portno=1, vhost=vhost)
    assert str(error.value) == f"vhost: openflowmanager uses no virtual host '{vhost}'; it uses '', 'far'"


@pytest.mark.parametrize("datapathid", ["tap", "", -1, 1 << 64, "0x10000000000000000", "1.5"])
async def test_what_is_no_datapath_id(world: World, datapathid: int | str) -> None:
    with pytest.raises(BadParameterError, match="datapathid: expected a number of 64 bits"):
        await world.call("openflowmanager/getconnection", datapathid=datapathid)


@pytest.mark.parametrize("datapathid", [16, "16", "0x10", "0000000000000010"])
async def test_the_forms_of_a_datapath_id(world: World, datapathid: int | str) -> None:
    await world.database(16)
    assert await world.call("ovsdbmanager/getbridgeinfo", datapathid=datapathid) == ("br0", None, "b")


async def test_a_peer_by_its_name(world: World) -> None:
    for name in ("localhost", "127.0.0.1", "::1"):
        assert await world.call("openflowmanager/getconnectionsbyendpointname", name=name) == []
    database = await world.database(1)
    for name in ("", f"{world.directory}/db.sock"):
        assert await world.call("ovsdbmanager/getconnectionsbyendpointname", name=name) == [database]
