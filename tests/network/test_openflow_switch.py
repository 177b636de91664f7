"""The session against a real switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from network.openflow_switch import Switch, private_switch
from vlcp.link.address import Address
from vlcp.link.openflow import BundleError, MessageHandler, OpenFlowConnection, OpenFlowError, serve
from vlcp.wire.openflow import (
    ApplyActions,
    Bucket,
    DescRequest,
    Experimenter,
    FlowMod,
    FlowModCommand,
    FlowRequest,
    GotoTable,
    Group,
    GroupDescRequest,
    GroupMod,
    GroupModCommand,
    Match,
    Message,
    MultipartType,
    Output,
    PacketIn,
    PacketOut,
    Port,
    PortDescRequest,
    PortReason,
    PortStatus,
    flow_entries,
    group_entries,
    port_entries,
    to_controller,
)
from vlcp.wire.openflow.multipart import Desc

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    with private_switch() as switch:
        yield switch


@pytest.fixture
async def connection(switch: Switch) -> AsyncIterator[OpenFlowConnection]:
    connection = await switch.connect()
    try:
        await connection.bundle(
            [
                FlowMod(command=FlowModCommand.DELETE, table=255),
                GroupMod(GroupModCommand.DELETE, group_id=0xFFFFFFFC),
            ]
        )
        yield connection
    finally:
        connection.close()
        await connection.wait_closed()


async def flows(connection: OpenFlowConnection) -> list[tuple[int, int]]:
    bodies = await connection.multipart(FlowRequest())
    return sorted((entry.table, entry.priority) for body in bodies for entry in flow_entries(body))


def flow(priority: int, **fields: int) -> FlowMod:
    return FlowMod(priority=priority, match=Match(**fields), instructions=(ApplyActions((Output(1),)),))


async def test_the_switch_says_who_it_is(connection: OpenFlowConnection, switch: Switch) -> None:
    assert f"{connection.datapath_id:016x}" == switch.vsctl(
        "get", "bridge", "br0", "datapath-id"
    ).strip().strip('"')
    assert connection.auxiliary_id == 0
    (body,) = await connection.multipart(DescRequest())
    assert Desc.unpack(body, 0, len(body)).manufacturer == "Nicira, Inc."


async def test_ports_are_listed_with_their_numbers(connection: OpenFlowConnection) -> None:
    ports = {
        port.name: port.number
        for body in await connection.multipart(PortDescRequest())
        for port in port_entries(body)
    }
    assert ports["p1"] == 1
    assert ports["br0"] == Port.LOCAL


async def test_a_bundle_installs_groups_and_flows_in_order(connection: OpenFlowConnection) -> None:
    group = GroupMod(GroupModCommand.ADD, group_id=7, buckets=(Bucket((Output(2),)),))
    to_group = FlowMod(table=3, priority=9, instructions=(ApplyActions((Group(7),)), GotoTable(4)))
    await connection.bundle([group, to_group])
    assert await flows(connection) == [(3, 9)]
    bodies = await connection.multipart(GroupDescRequest())
    assert [(entry.group_id, entry.type) for body in bodies for entry in group_entries(body)] == [(7, 0)]


@pytest.mark.parametrize(
    ("refused", "name"),
    [
        (FlowMod(table=5, instructions=(GotoTable(2),)), "BAD_TABLE_ID"),  # refused when it is decoded
        (
            FlowMod(priority=4, instructions=(ApplyActions((Group(77),)),)),
            "BAD_OUT_GROUP",
        ),  # when it is carried out
    ],
)
async def test_a_refused_flow_is_named_and_nothing_is_changed(
    connection: OpenFlowConnection, refused: FlowMod, name: str
) -> None:
    await connection.bundle([flow(1)])
    with pytest.raises(BundleError) as caught:
        await connection.bundle(
            [flow(2), FlowMod(command=FlowModCommand.DELETE, priority=1), refused, flow(3)]
        )
    ((index, error),) = caught.value.errors
    assert index == 2
    assert name in str(error)
    assert await flows(connection) == [(0, 1)]


async def test_a_bundle_of_packed_messages_is_taken(connection: OpenFlowConnection) -> None:
    await connection.bundle([flow(5).pack(), flow(6).pack()])
    assert await flows(connection) == [(0, 5), (0, 6)]


async def test_ten_thousand_flows_arrive_and_are_dumped(connection: OpenFlowConnection) -> None:
    flows_of_ports = [flow(100, in_port=1, reg1=number) for number in range(10_000)]
    await connection.bundle(flows_of_ports)
    loop = asyncio.get_running_loop()
    started = loop.time()
    bodies = await connection.multipart(FlowRequest())
    entries = [entry for body in bodies for entry in flow_entries(body)]
    elapsed = loop.time() - started
    assert {entry.match for entry in entries} == {mod.match.pack() for mod in flows_of_ports}
    assert elapsed < 2, f"{elapsed:.3f} s"


async def test_a_refused_request_raises_the_error_of_the_switch(connection: OpenFlowConnection) -> None:
    with pytest.raises(OpenFlowError) as caught:
        await connection.request(Experimenter(0x12345678, 1))
    assert "BAD_REQUEST/BAD_EXPERIMENTER" in str(caught.value)
    await connection.barrier()  # the connection lives on


@asynccontextmanager
async def dialled(switch: Switch, on_message: MessageHandler) -> AsyncIterator[OpenFlowConnection]:
    """The connection that the switch makes to its controller: only there it reports what happens."""
    arrived: asyncio.Queue[OpenFlowConnection] = asyncio.Queue()
    listener = await serve(Address("punix", path=f"{switch.directory}/controller"), arrived.put_nowait)
    try:
        await asyncio.to_thread(switch.vsctl, "set-controller", "br0", f"unix:{switch.directory}/controller")
        connection = await asyncio.wait_for(arrived.get(), 5)
        connection.on_message = on_message
        yield connection
        await asyncio.to_thread(switch.vsctl, "del-controller", "br0")
        await asyncio.wait_for(connection.wait_closed(), 5)
    finally:
        listener.close()


async def test_a_port_that_comes_and_goes_is_reported(switch: Switch) -> None:
    seen: asyncio.Queue[Message] = asyncio.Queue()
    async with dialled(switch, seen.put_nowait):
        await asyncio.to_thread(switch.add_port, "guest", 50)
        assert await next_reason(seen) == (PortReason.ADD, 50)
        await asyncio.to_thread(switch.vsctl, "del-port", "guest")
        assert await next_reason(seen, PortReason.DELETE) == (PortReason.DELETE, 50)


async def next_reason(seen: asyncio.Queue[Message], reason: PortReason = PortReason.ADD) -> tuple[int, int]:
    async with asyncio.timeout(5):
        while True:
            message = await seen.get()
            if isinstance(message, PortStatus) and message.port.name == "guest" and message.reason == reason:
                return message.reason, message.port.number


async def test_a_packet_goes_out_and_comes_back_up(switch: Switch) -> None:
    seen: asyncio.Queue[Message] = asyncio.Queue()
    async with dialled(switch, seen.put_nowait) as connection:
        up = FlowMod(cookie=77, table=9, instructions=(ApplyActions((to_controller(),)),))
        await connection.bundle([FlowMod(priority=0, instructions=(GotoTable(9),)), up])
        frame = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46)
        connection.send(PacketOut(in_port=3, actions=(Output(Port.TABLE),), data=frame))
        async with asyncio.timeout(5):
            message = await seen.get()
        assert isinstance(message, PacketIn)
        assert (message.table, message.cookie, message.data) == (9, 77, frame)
        assert isinstance(message.match, Match)
        assert message.match.number("in_port") == 3


async def test_a_killed_switch_ends_the_connection_and_its_requests() -> None:
    with private_switch() as switch:
        connection = await switch.connect()
        switch.stop()
        await asyncio.wait_for(connection.wait_closed(), 5)
        with pytest.raises(ConnectionError):
            await connection.request(FlowRequest(MultipartType.FLOW))
