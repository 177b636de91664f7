"""Real DHCP clients understand our packets, and we theirs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vlcp.lab import command
from vlcp.lab.dhcp import Lease, obtain
from vlcp.lab.namespace import Namespace
from vlcp.wire import dhcp, ethernet, ipv4, udp
from vlcp.wire.dhcp import Message, MessageType, Option, Route, pack_addresses, pack_number, pack_text
from vlcp.wire.ethernet import Frame, parse_mac
from vlcp.wire.ipv4 import Packet, parse_address

pytestmark = pytest.mark.network

DEVICE = f"vd{os.getpid()}"
SERVER, SERVER_MAC = parse_address("10.9.0.1"), parse_mac("02:00:00:00:00:01")
ADDRESS = parse_address("10.9.0.77")
OPTIONS = {
    Option.MESSAGE_TYPE: b"",
    Option.SERVER_IDENTIFIER: pack_addresses([SERVER]),
    Option.LEASE_TIME: pack_number(3600, 4),
    Option.NETMASK: pack_addresses([parse_address("255.255.255.0")]),
    Option.ROUTER: pack_addresses([SERVER]),
    Option.DNS_SERVER: pack_addresses([parse_address("10.9.0.2"), parse_address("10.9.0.3")]),
    Option.MTU: pack_number(1450, 2),
    Option.HOST_NAME: pack_text("machine"),
}


@pytest.fixture
def machine() -> Iterator[Namespace]:
    """A namespace with one end of a wire, `eth0`; the other end, `DEVICE`, is here."""
    namespace = Namespace(DEVICE, DEVICE)
    namespace.create()
    try:
        command.ip(f"link add {DEVICE} type veth peer name eth0 netns {DEVICE}", f"link set {DEVICE} up")
        namespace.ip("link set eth0 up")
        yield namespace
    finally:
        namespace.delete()


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="dhc", dir="/tmp") as path:
        yield Path(path)


def answer(data: bytes, options: dict[int, bytes]) -> bytes | None:
    """The frame that answers a client's frame; every layer must be right, checksums too."""
    frame = Frame.unpack(data)
    if frame.ethertype != ethernet.IPV4 or frame.source == SERVER_MAC:
        return None
    packet = Packet.unpack(frame.payload)
    if packet.protocol != ipv4.UDP:
        return None
    datagram = udp.Datagram.unpack(packet.payload, packet.source, packet.destination)
    request = Message.unpack(datagram.payload)
    assert (datagram.source_port, datagram.destination_port) == (dhcp.CLIENT_PORT, dhcp.SERVER_PORT)
    assert request.hardware_address == frame.source.to_bytes(6, "big")
    kind = {MessageType.DISCOVER: MessageType.OFFER, MessageType.REQUEST: MessageType.ACK}[
        request.message_type
    ]
    reply = Message(
        op=dhcp.BOOT_REPLY,
        xid=request.xid,
        hardware_address=request.hardware_address,
        flags=request.flags,
        yiaddr=ADDRESS,
        options=options | {Option.MESSAGE_TYPE: bytes([kind])},
    )
    sent = udp.Datagram(dhcp.SERVER_PORT, dhcp.CLIENT_PORT, reply.pack()).pack(SERVER, ipv4.BROADCAST)
    around = Packet(SERVER, ipv4.BROADCAST, ipv4.UDP, sent)
    return Frame(ethernet.BROADCAST, SERVER_MAC, ethernet.IPV4, around.pack()).pack()


async def lease(machine: Namespace, directory: Path, client: str, options: dict[int, bytes]) -> Lease:
    """What a client makes of these options."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethernet.IPV4)) as wire:
        wire.setblocking(False)
        wire.bind((DEVICE, ethernet.IPV4))

        async def serve() -> None:
            while True:
                reply = answer(await loop.sock_recv(wire, 2000), options)
                if reply is not None:
                    wire.send(reply)

        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve())
            try:
                return await asyncio.to_thread(obtain, machine, "eth0", directory, client, 10.0)
            finally:
                serving.cancel()


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
async def test_a_lease(machine: Namespace, directory: Path, client: str) -> None:
    got = await lease(machine, directory, client, OPTIONS)
    assert got.address == "10.9.0.77/24"
    assert (got.server, got.seconds, got.mtu) == ("10.9.0.1", 3600, 1450)
    assert (got.routers, got.name_servers) == (("10.9.0.1",), ("10.9.0.2", "10.9.0.3"))


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
async def test_options_that_overflow_into_boot_file_and_server_name(
    machine: Namespace, directory: Path, client: str
) -> None:
    big = {200: b"x" * 200, Option.NTP_SERVER: pack_addresses(range(SERVER, SERVER + 20)), 201: b"y" * 30}
    late = {Option.CLASSLESS_ROUTES: dhcp.pack_routes([Route(parse_address("10.1.0.0"), 16, SERVER)])}
    got = await lease(machine, directory, client, big | OPTIONS | late)
    assert got.address == "10.9.0.77/24"
    assert (got.mtu, got.name_servers) == (1450, ("10.9.0.2", "10.9.0.3"))
    assert got.routes == (("10.1.0.0/16", "10.9.0.1"),)


async def test_an_option_longer_than_255_bytes(machine: Namespace, directory: Path) -> None:
    routes = [Route(parse_address(f"10.1.{i}.0"), 24, SERVER) for i in range(35)]
    options = OPTIONS | {Option.CLASSLESS_ROUTES: dhcp.pack_routes(routes)}
    got = await lease(machine, directory, "dhclient", options)  # udhcpc does not join the parts
    assert got.routes == tuple((f"10.1.{i}.0/24", "10.9.0.1") for i in range(35))
