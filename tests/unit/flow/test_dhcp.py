"""What a machine is told by DHCP: requests in, frames out, through the feature's own answer."""

from __future__ import annotations

from typing import Any

import pytest

from vlcp.derive.plain import PlainView
from vlcp.flow import facts
from vlcp.flow.features.dhcpserver import FEATURE
from vlcp.flow.leases import Settings
from vlcp.flow.rules import Packet as PacketUp
from vlcp.flow.rules import Send
from vlcp.model import keys
from vlcp.model.objects import LogicalNetwork, LogicalPort, Stored, Subnet
from vlcp.wire.dhcp import Message, MessageType, Option, Route, unpack_addresses, unpack_routes
from vlcp.wire.ethernet import BROADCAST, IPV4, Frame
from vlcp.wire.ipv4 import Packet, parse_address
from vlcp.wire.udp import Datagram

MAC = 0x020000000001
ADDRESS = parse_address("10.0.0.5")
SERVER = parse_address("169.254.169.254")

NETWORK = {"id": "net", "physicalnetwork": "phy", "number": 7}
SUBNET = {
    "id": "sub",
    "logicalnetwork": "net",
    "cidr": "10.0.0.0/24",
    "gateway": "10.0.0.1",
    "allocated_start": "10.0.0.2",
    "allocated_end": "10.0.0.254",
}
PORT = {
    "id": "vm",
    "logicalnetwork": "net",
    "mac_address": "02:00:00:00:00:01",
    "subnet": "sub",
    "ip_address": "10.0.0.5",
}


class Values(dict[Any, Any]):
    """A source of values, without directories."""

    def members(self, directory: Any) -> Any:
        raise AssertionError(f"an answer reads no directory: {directory}")


def world(
    network: Any = None, subnet: Any = None, port: Any = None, settings: Settings | None = None
) -> Values:
    stored: dict[str, Stored] = {
        keys.logical_network("net"): LogicalNetwork(**NETWORK | (network or {})),
        keys.subnet("sub"): Subnet(**SUBNET | (subnet or {})),
        keys.logical_port("vm"): LogicalPort(**PORT | (port or {})),
    }
    return Values(
        {
            facts.interface("vm"): facts.Interface("tap", 3),
            facts.port(3): facts.Port("tap", MAC),
            facts.iface_id_at(3): "vm",
            facts.settings("dhcpserver"): settings or Settings(),
            **stored,
        }
    )


def request(
    kind: MessageType | None, *, mac: int = MAC, destination: int = 0xFFFFFFFF, **fields: Any
) -> bytes:
    options = {Option.MESSAGE_TYPE: bytes([kind])} if kind else {}
    options |= fields.pop("options", {})
    message = Message(op=1, xid=99, hardware_address=mac.to_bytes(6, "big"), options=options, **fields)
    source = fields.get("ciaddr", 0)
    udp = Datagram(68, 67, message.pack()).pack(source, destination)
    return Frame(BROADCAST, mac, IPV4, Packet(source, destination, 17, udp).pack()).pack()


def answer(frame: bytes, values: Values, port: int = 3) -> tuple[Frame, Packet, Message] | None:
    assert FEATURE.on_packet is not None
    sent = list(FEATURE.on_packet(PlainView(values), PacketUp(port, frame)))
    if not sent:
        return None
    assert sent == [Send(port, sent[0].frame)]
    ethernet = Frame.unpack(sent[0].frame)
    packet = Packet.unpack(ethernet.payload)
    datagram = Datagram.unpack(packet.payload, packet.source, packet.destination)
    assert (datagram.source_port, datagram.destination_port) == (67, 68)
    return ethernet, packet, Message.unpack(datagram.payload)


def options_of(frame: bytes, values: Values) -> dict[int, bytes]:
    answered = answer(frame, values)
    assert answered is not None
    return dict(answered[2].options)


def test_discover_is_answered_with_an_offer_of_the_ports_address() -> None:
    answered = answer(request(MessageType.DISCOVER), world())
    assert answered is not None
    ethernet, packet, message = answered
    assert message.message_type == MessageType.OFFER
    assert (message.xid, message.yiaddr, message.hardware_address) == (99, ADDRESS, MAC.to_bytes(6, "big"))
    assert (ethernet.destination, packet.destination, packet.source) == (MAC, ADDRESS, SERVER)
    assert message.options == {
        Option.MESSAGE_TYPE: b"\x02",
        Option.SERVER_IDENTIFIER: SERVER.to_bytes(4, "big"),
        Option.LEASE_TIME: b"\xff\xff\xff\xff",
        Option.NETMASK: b"\xff\xff\xff\0",
        Option.BROADCAST: bytes([10, 0, 0, 255]),
        Option.ROUTER: bytes([10, 0, 0, 1]),
    }


def test_a_client_that_cannot_hear_unicast_yet_is_answered_by_broadcast() -> None:
    answered = answer(request(MessageType.DISCOVER, flags=0x8000), world())
    assert answered is not None
    assert (answered[0].destination, answered[1].destination) == (BROADCAST, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"options": {Option.REQUESTED_ADDRESS: ADDRESS.to_bytes(4, "big")}}, MessageType.ACK),
        ({"ciaddr": ADDRESS}, MessageType.ACK),
        ({"options": {Option.REQUESTED_ADDRESS: bytes([10, 0, 0, 6])}}, MessageType.NAK),
        ({"ciaddr": ADDRESS + 1}, MessageType.NAK),
        ({"options": {Option.SERVER_IDENTIFIER: bytes([1, 2, 3, 4])}}, None),
        ({"mac": MAC + 1}, MessageType.NAK),
    ],
)
def test_requests(fields: dict[str, Any], expected: MessageType | None) -> None:
    answered = answer(request(MessageType.REQUEST, **fields), world())
    assert (answered[2].message_type if answered else None) == expected
    if expected == MessageType.NAK and answered:
        assert answered[1].destination == 0xFFFFFFFF
        assert set(answered[2].options) == {Option.MESSAGE_TYPE, Option.SERVER_IDENTIFIER}


def test_a_client_with_its_own_address_is_informed_without_a_lease() -> None:
    answered = answer(request(MessageType.INFORM, ciaddr=ADDRESS), world())
    assert answered is not None
    _, packet, message = answered
    assert (message.message_type, message.yiaddr, message.ciaddr) == (MessageType.ACK, 0, ADDRESS)
    assert packet.destination == ADDRESS
    assert Option.LEASE_TIME not in message.options
    assert Option.ROUTER in message.options


@pytest.mark.parametrize(
    "frame",
    [
        request(MessageType.DECLINE),
        request(MessageType.RELEASE, ciaddr=ADDRESS),
        request(None),
        request(MessageType.DISCOVER, mac=MAC + 1),
        request(MessageType.DISCOVER, giaddr=SERVER),
        request(MessageType.DISCOVER, hardware_type=6),
        request(MessageType.DISCOVER)[:100],
        b"",
    ],
)
def test_what_is_not_answered(frame: bytes) -> None:
    assert answer(frame, world()) is None


@pytest.mark.parametrize(
    "change", [{"subnet": {"dhcp_enabled": False}}, {"port": {"ip_address": None, "subnet": None}}]
)
def test_a_port_that_is_not_served_gets_no_answer(change: dict[str, Any]) -> None:
    assert answer(request(MessageType.DISCOVER), world(**change)) is None
    assert answer(request(MessageType.DISCOVER), world(), port=4) is None


def test_the_subnet_overrides_the_network_and_the_port_the_subnet() -> None:
    values = world(
        network={
            "dns_nameservers": ("8.8.8.8", "9.9.9.9"),
            "mtu": 1400,
            "domain_name": "example.org",
            "lease_time": 60,
        },
        subnet={"mtu": 1300, "domain_name": None, "lease_time": "infinite", "dhcp_server": "10.0.0.2"},
        port={
            "hostname": "machine",
            "mtu": 1200,
            "extra_dhcp_options": ((200, (1, 2)), ("OPTION_TIME_OFFSET", 9)),
        },
    )
    told = options_of(request(MessageType.DISCOVER), values)
    assert unpack_addresses(told[Option.DNS_SERVER]) == [parse_address("8.8.8.8"), parse_address("9.9.9.9")]
    assert told[Option.MTU] == (1200).to_bytes(2, "big")
    assert told[Option.HOST_NAME] == b"machine"
    assert Option.DOMAIN_NAME not in told
    assert told[Option.LEASE_TIME] == b"\xff" * 4
    assert told[Option.SERVER_IDENTIFIER] == bytes([10, 0, 0, 2])
    assert told[200] == b"\1\2"
    assert told[Option.TIME_OFFSET] == (9).to_bytes(4, "big")


def test_host_routes_come_with_the_default_route() -> None:
    values = world(subnet={"host_routes": (("192.168.0.0/16", "10.0.0.9"),)})
    told = options_of(request(MessageType.DISCOVER), values)
    assert unpack_routes(told[Option.CLASSLESS_ROUTES]) == [
        Route(parse_address("192.168.0.0"), 16, parse_address("10.0.0.9")),
        Route(0, 0, parse_address("10.0.0.1")),
    ]


def test_renewal_times_are_told_for_a_lease_that_ends() -> None:
    settings = Settings(leasetime=1000, t1=400, t2=2000)
    told = options_of(request(MessageType.DISCOVER), world(settings=settings))
    assert told[Option.LEASE_TIME] == (1000).to_bytes(4, "big")
    assert told[Option.RENEWAL_TIME] == (400).to_bytes(4, "big")
    assert Option.REBINDING_TIME not in told  # not shorter than the lease


def test_options_follow_the_clients_wishes() -> None:
    wishes = bytes([Option.ROUTER, Option.BROADCAST])
    told = options_of(request(MessageType.DISCOVER, options={Option.PARAMETER_REQUEST_LIST: wishes}), world())
    order = list(told)
    assert order[0] == Option.MESSAGE_TYPE
    assert order.index(Option.ROUTER) < order.index(Option.BROADCAST)


def test_options_that_do_not_fit_are_left_out_from_the_end() -> None:
    extra = tuple((code, tuple([1] * 250)) for code in range(200, 210))
    told = options_of(request(MessageType.DISCOVER), world(port={"extra_dhcp_options": extra}))
    sent = [code for code in range(200, 210) if code in told]
    assert sent == list(range(200, 200 + len(sent)))
    assert 0 < len(sent) < 10
    assert Option.ROUTER in told


def test_a_client_that_takes_more_is_told_more() -> None:
    extra = tuple((code, tuple([1] * 250)) for code in range(200, 210))
    roomy = {Option.MAX_MESSAGE_SIZE: (1500).to_bytes(2, "big")}
    few = options_of(request(MessageType.DISCOVER), world(port={"extra_dhcp_options": extra}))
    many = options_of(request(MessageType.DISCOVER, options=roomy), world(port={"extra_dhcp_options": extra}))
    assert len(many) > len(few)
