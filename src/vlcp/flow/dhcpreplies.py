"""From a DHCP request to the reply: who is answered, with what, and where it is sent (RFC 2131, 4.1 and 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from vlcp.flow.leases import Lease
from vlcp.model.addresses import address_number, parse_prefix
from vlcp.wire import WireError
from vlcp.wire.dhcp import (
    ALWAYS_ACCEPTED,
    BOOT_REPLY,
    BOOT_REQUEST,
    BROADCAST_FLAG,
    CLIENT_PORT,
    ETHERNET,
    SERVER_PORT,
    Message,
    MessageType,
    Option,
    Route,
    pack_addresses,
    pack_number,
    pack_routes,
    pack_text,
)
from vlcp.wire.ethernet import BROADCAST, IPV4, Frame
from vlcp.wire.ipv4 import Packet
from vlcp.wire.udp import Datagram

_UDP = 17
_TTL = 128
_EVERYBODY = 0xFFFFFFFF
_LARGEST = 1400
"""Bytes: no reply is longer, whatever the client takes, so that it fits into every network."""

_ONLY_WITH_A_LEASE = frozenset({Option.LEASE_TIME, Option.RENEWAL_TIME, Option.REBINDING_TIME})


def read_request(frame: bytes) -> Message | None:
    """The DHCP request in a frame; None for anything that no server answers, such as a relayed one."""
    try:
        packet = Packet.unpack(Frame.unpack(frame).payload)
        datagram = Datagram.unpack(packet.payload)  # a machine with checksum offload sends a wrong checksum
        message = Message.unpack(datagram.payload)
    except WireError:
        return None
    ours = message.op == BOOT_REQUEST and message.hardware_type == ETHERNET
    return message if ours and len(message.hardware_address) == 6 and not message.giaddr else None


def reply_to(request: Message, mac: int, lease: Lease) -> Message | None:
    """The reply to the machine with this MAC address that has this lease; None: no answer."""
    ours = int.from_bytes(request.hardware_address, "big") == mac
    match request.message_type:
        case MessageType.DISCOVER if ours:
            return _granted(request, lease, MessageType.OFFER)
        case MessageType.REQUEST if _chose_another(request, lease):
            return None
        case MessageType.REQUEST if ours and _asks_for(request) in (0, address_number(lease.address)):
            return _granted(request, lease, MessageType.ACK)
        case MessageType.REQUEST:
            return _refused(request, lease)
        case MessageType.INFORM if ours:
            return _informed(request, lease)
        case _:
            return None


def frame_of(reply: Message, request: Message, server_mac: int, lease: Lease) -> bytes:
    """The reply in the frame that reaches its client, which may not have an address yet."""
    server = address_number(lease.server)
    limit = int.from_bytes(request.options.get(Option.MAX_MESSAGE_SIZE, b""), "big") - 28
    payload = _packed(reply, max(ALWAYS_ACCEPTED, min(limit, _LARGEST)))
    mac, address = _destination(reply)
    datagram = Datagram(SERVER_PORT, CLIENT_PORT, payload).pack(server, address)
    packet = Packet(server, address, _UDP, datagram, _TTL).pack()
    return Frame(mac, server_mac, IPV4, packet).pack()


def _packed(reply: Message, limit: int) -> bytes:
    """The bytes of a reply, without its last options if they do not fit."""
    try:
        return reply.pack(limit)
    except WireError:
        fewer = dict(list(reply.options.items())[:-1])
        if not fewer:
            raise
        return _packed(msgspec.structs.replace(reply, options=fewer), limit)


def _destination(reply: Message) -> tuple[int, int]:
    """MAC and IP address: unicast to whoever can hear it, else to everybody."""
    mac = int.from_bytes(reply.hardware_address, "big")
    if reply.message_type == MessageType.NAK:
        return BROADCAST, _EVERYBODY
    if reply.ciaddr:
        return mac, reply.ciaddr
    return (BROADCAST, _EVERYBODY) if reply.flags & BROADCAST_FLAG else (mac, reply.yiaddr)


def _chose_another(request: Message, lease: Lease) -> bool:
    chosen = request.options.get(Option.SERVER_IDENTIFIER)
    return chosen is not None and chosen != pack_addresses([address_number(lease.server)])


def _asks_for(request: Message) -> int:
    """The address that a client wants to have or to keep; 0 if it does not say."""
    wanted = request.options.get(Option.REQUESTED_ADDRESS)
    return request.ciaddr if wanted is None else int.from_bytes(wanted, "big")


def _granted(request: Message, lease: Lease, kind: MessageType) -> Message:
    ciaddr = request.ciaddr if kind == MessageType.ACK else 0
    return _reply(request, kind, lease, lease.options, ciaddr, address_number(lease.address))


def _informed(request: Message, lease: Lease) -> Message:
    """A client with an address of its own gets the options, but no lease (RFC 2131, 4.3.5)."""
    told = {code: value for code, value in lease.options.items() if code not in _ONLY_WITH_A_LEASE}
    return _reply(request, MessageType.ACK, lease, told, request.ciaddr, 0)


def _refused(request: Message, lease: Lease) -> Message:
    told = {Option.SERVER_IDENTIFIER: lease.server}
    return _reply(request, MessageType.NAK, lease, told, 0, 0)


def _reply(request: Message, kind: MessageType, lease: Lease, told: Any, ciaddr: int, yiaddr: int) -> Message:
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes([kind])}
    for code in _in_order(request, told):
        options[code] = _ENCODERS.get(code, _opaque)(told[code])
    return Message(
        op=BOOT_REPLY,
        xid=request.xid,
        hardware_address=request.hardware_address,
        flags=request.flags,
        ciaddr=ciaddr,
        yiaddr=yiaddr,
        options=options,
    )


def _in_order(request: Message, told: Any) -> Iterable[Any]:
    """The server's identity, then what the client asked for in its order, then the rest: the last may not fit."""
    wanted = request.options.get(Option.PARAMETER_REQUEST_LIST, b"")
    order = dict.fromkeys([Option.SERVER_IDENTIFIER, Option.LEASE_TIME, Option.NETMASK, *wanted, *told])
    return [code for code in order if code in told]


def _address(value: str) -> bytes:
    return pack_addresses([address_number(value)])


def _addresses(value: Iterable[str]) -> bytes:
    return pack_addresses(map(address_number, value))


def _routes(value: Iterable[tuple[str, str]]) -> bytes:
    routes = [(parse_prefix(destination), address_number(hop)) for destination, hop in value]
    return pack_routes(Route(prefix.network, prefix.length, hop) for prefix, hop in routes)


def _number(size: int) -> Callable[[int], bytes]:
    return lambda value: pack_number(value, size)


def _opaque(value: Any) -> bytes:
    return pack_text(value) if isinstance(value, str) else bytes(value)


_ENCODERS: dict[int, Callable[[Any], bytes]] = {
    Option.NETMASK: _address,
    Option.TIME_OFFSET: _number(4),
    Option.ROUTER: _addresses,
    Option.DNS_SERVER: _addresses,
    Option.RESOURCE_LOCATION_SERVER: _addresses,
    Option.HOST_NAME: pack_text,
    Option.DOMAIN_NAME: pack_text,
    Option.MTU: _number(2),
    Option.BROADCAST: _address,
    Option.NTP_SERVER: _addresses,
    Option.REQUESTED_ADDRESS: _address,
    Option.LEASE_TIME: _number(4),
    Option.SERVER_IDENTIFIER: _address,
    Option.MESSAGE: pack_text,
    Option.MAX_MESSAGE_SIZE: _number(2),
    Option.RENEWAL_TIME: _number(4),
    Option.REBINDING_TIME: _number(4),
    Option.CLASSLESS_ROUTES: _routes,
}
"""How the value of an option, in the shape of `vlcp.model.dhcpoptions`, becomes bytes."""
