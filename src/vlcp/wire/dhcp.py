"""DHCP messages: the format of RFC 2131 and RFC 2132, long options (RFC 3396), classless routes (RFC 3442).

Options are bytes by code; functions at the end encode and decode the common kinds. IPv4 addresses are numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec

from vlcp.wire import WireError
from vlcp.wire.ipv4 import address_bytes

SERVER_PORT = 67
CLIENT_PORT = 68

BOOT_REQUEST = 1
BOOT_REPLY = 2

ETHERNET = 1
"""A hardware type; its addresses have 6 bytes."""

BROADCAST_FLAG = 0x8000
"""In `flags`: the client cannot receive unicast yet."""

SMALLEST = 300
"""Bytes of a message, RFC 1542 section 2.1: shorter ones are padded, some clients ignore them otherwise."""

ALWAYS_ACCEPTED = 548
"""Bytes that every client accepts, RFC 2131 section 2: an IP datagram of 576 without IP and UDP headers."""


class MessageType(IntEnum):
    """Values of option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """Codes of options. A message may hold any others from 1 to 254."""

    PAD = 0
    NETMASK = 1
    TIME_OFFSET = 2
    ROUTER = 3
    DNS_SERVER = 6
    RESOURCE_LOCATION_SERVER = 11
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    BROADCAST = 28
    NTP_SERVER = 42
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_IDENTIFIER = 54
    PARAMETER_REQUEST_LIST = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    CLIENT_IDENTIFIER = 61
    CLASSLESS_ROUTES = 121
    END = 255


_HEADER = struct.Struct("!BBBBIHHIIII16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_END = bytes([Option.END])
_SERVER_NAME_ROOM = 64 - len(_END)
_PAD_CODE, _END_CODE = int(Option.PAD), int(Option.END)
_BOOT_FILE, _SERVER_NAME = 1, 2  # bits of option 52: the fields of the header that hold options
_BOOT_FILE_ROOM = 128 - len(_END)
_OVERLOAD_SIZE = 3


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message. `op`: `BOOT_REQUEST` or `BOOT_REPLY`; `xid`: the client's number of the exchange.

    Addresses: `ciaddr` the client's own, `yiaddr` the one it gets, `siaddr` the next server, `giaddr` the relay; 0 for
    none. `hardware_address`: up to 16 bytes. `server_name`: up to 64 bytes, `boot_file`: up to 128 bytes, both without
    zeros at the end. `options`: whole values by code, in their order, without `PAD`, `OVERLOAD` and `END`.
    """

    op: int
    xid: int
    hardware_address: bytes
    hardware_type: int = ETHERNET
    hops: int = 0
    seconds: int = 0
    flags: int = 0
    ciaddr: int = 0
    yiaddr: int = 0
    siaddr: int = 0
    giaddr: int = 0
    server_name: bytes = b""
    boot_file: bytes = b""
    options: Mapping[int, bytes] = msgspec.field(default_factory=dict)

    @property
    def message_type(self) -> MessageType | None:
        """Option 53; None when it is missing or unknown."""
        try:
            return MessageType(int.from_bytes(self.options.get(Option.MESSAGE_TYPE, b""), "big"))
        except ValueError:
            return None

    def pack(self, limit: int = ALWAYS_ACCEPTED) -> bytes:
        """The bytes of the message, at most `limit`, at least 300.

        Options that do not fit behind the header use its fields for boot file and server name, when these are empty.
        An option is divided only when it is longer than 255 bytes or fits nowhere in one piece. `WireError`: a field
        or an option does not fit.
        """
        room = max(limit, SMALLEST) - _HEADER.size - len(_END)
        options = b"".join(_encode(code, value) for code, value in self.options.items())
        if len(options) > room:
            return self._pack_overloaded(room)
        header = self._pack_header(self.boot_file, self.server_name)
        return header + (options + _END).ljust(SMALLEST - _HEADER.size, b"\0")

    def _pack_overloaded(self, room: int) -> bytes:
        options = _Area(room - _OVERLOAD_SIZE)
        boot_file = _Area(0 if self.boot_file else _BOOT_FILE_ROOM)
        server_name = _Area(0 if self.server_name else _SERVER_NAME_ROOM)
        _place(self.options, [options, boot_file, server_name])
        used = _BOOT_FILE * bool(boot_file.content) | _SERVER_NAME * bool(server_name.content)
        overload = bytes([Option.OVERLOAD, 1, used])
        header = self._pack_header(boot_file.pack() or self.boot_file, server_name.pack() or self.server_name)
        return header + (options.content + overload + _END).ljust(SMALLEST - _HEADER.size, b"\0")

    def _pack_header(self, boot_file: bytes, server_name: bytes) -> bytes:
        for what, value, size in (
            ("hardware_address", self.hardware_address, 16),
            ("server_name", server_name, 64),
            ("boot_file", boot_file, 128),
        ):
            if len(value) > size:
                raise WireError(f"DHCP: {what} has {len(value)} bytes, more than {size}")
        hardware = (self.hardware_type, len(self.hardware_address), self.hops)
        addresses = (self.ciaddr, self.yiaddr, self.siaddr, self.giaddr)
        numbers = (self.op, *hardware, self.xid, self.seconds, self.flags, *addresses)
        try:
            return _HEADER.pack(*numbers, self.hardware_address, server_name, boot_file, _COOKIE)
        except struct.error as error:
            raise WireError(f"DHCP: {self!r:.300} does not fit: {error}") from None

    @staticmethod
    def unpack(data: bytes) -> Message:
        """The message; `WireError` when it is none."""
        if len(data) < _HEADER.size:
            raise WireError(f"DHCP: {len(data)} bytes, fewer than a header of {_HEADER.size}")
        numbers = _HEADER.unpack_from(data)
        op, hardware_type, hardware_size, hops, xid, seconds, flags, *addresses = numbers[:11]
        hardware_address, server_name, boot_file, cookie = numbers[11:]
        if cookie != _COOKIE or hardware_size > 16:
            raise WireError(f"DHCP: cookie {cookie.hex()}, hardware address of {hardware_size} bytes")
        options = _read(data[_HEADER.size :], {})
        overload = int.from_bytes(options.pop(Option.OVERLOAD, b""), "big")
        if overload & _BOOT_FILE:
            boot_file = _read_spare(boot_file, options)
        if overload & _SERVER_NAME:
            server_name = _read_spare(server_name, options)
        return Message(
            op=op,
            xid=xid,
            hardware_address=hardware_address[:hardware_size],
            hardware_type=hardware_type,
            hops=hops,
            seconds=seconds,
            flags=flags,
            ciaddr=addresses[0],
            yiaddr=addresses[1],
            siaddr=addresses[2],
            giaddr=addresses[3],
            server_name=server_name.partition(b"\0")[0],
            boot_file=boot_file.partition(b"\0")[0],
            options=options,
        )


# Where options stand


class _Area:
    """A part of the message that holds options. `room`: how many bytes, besides the end mark."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = bytearray()

    @property
    def left(self) -> int:
        return self.room - len(self.content)

    def pack(self) -> bytes:
        """The area's bytes, none if it holds no option."""
        return bytes(self.content + _END) if self.content else b""


def _encode(code: int, value: bytes) -> bytes:
    """An option, in several parts if it is long (RFC 3396)."""
    if code == Option.OVERLOAD or not _PAD_CODE < code < _END_CODE:
        raise WireError(f"DHCP: {code!r} is not the code of an option that a message holds, 1 to 254 but 52")
    if len(value) <= 255:
        return bytes((code, len(value))) + value
    parts = [value[start : start + 255] for start in range(0, len(value), 255)]
    return b"".join(bytes((code, len(part))) + part for part in parts)


def _place(options: Mapping[int, bytes], areas: list[_Area]) -> None:
    """Put every option into the first area that has room for it, or its parts into several (RFC 3396)."""
    for code, value in options.items():
        encoded = _encode(code, value)
        area = next((area for area in areas if area.left >= len(encoded)), None)
        if area is not None:
            area.content += encoded
        elif not value or _divide(code, value, areas):
            raise WireError(f"DHCP: no room for option {code} of {len(value)} bytes")


def _divide(code: int, value: bytes, areas: list[_Area]) -> bytes:
    """Fill the areas with parts of an option; what is left of it. Readers join the parts in the order of the areas."""
    for area in areas:
        while value and area.left > 2:
            size = min(len(value), area.left - 2, 255)
            area.content += _encode(code, value[:size])
            value = value[size:]
    return value


def _read(area: bytes, options: dict[int, bytes]) -> dict[int, bytes]:
    """Add the options of an area; parts of one option are joined (RFC 3396)."""
    position = 0
    while position < len(area) and (code := area[position]) != _END_CODE:
        position += 1
        if code == _PAD_CODE:
            continue
        size = area[position] if position < len(area) else 0
        value = area[position + 1 : position + 1 + size]
        if position >= len(area) or len(value) < size:
            raise WireError(f"DHCP: option {code} of {size} bytes reaches over the end of its area")
        options[code] = options.get(code, b"") + bytes(value)
        position += 1 + size
    return options


def _read_spare(area: bytes, options: dict[int, bytes]) -> bytes:
    """Add the options of a header's field that is overloaded; what it holds besides is nothing."""
    _read(area, options)
    options.pop(Option.OVERLOAD, None)
    return b""


# Values of options


class Route(NamedTuple):
    """A route to the prefix `network`/`length`. A `next_hop` of 0 means: directly reachable."""

    network: int
    length: int
    next_hop: int


def pack_number(value: int, size: int) -> bytes:
    """A number in so many bytes; negative ones as two's complement."""
    try:
        return value.to_bytes(size, "big", signed=value < 0)
    except OverflowError:
        raise WireError(f"DHCP: {value!r} is not a number of {size} bytes") from None


def unpack_number(data: bytes, size: int) -> int:
    """The number in exactly so many bytes."""
    if len(data) != size:
        raise WireError(f"DHCP: a number has {len(data)} bytes, not {size}")
    return int.from_bytes(data, "big")


def pack_text(text: str) -> bytes:
    """Text in UTF-8, without end mark."""
    return text.encode()


def unpack_text(data: bytes) -> str:
    """Text up to a zero that some clients send; what is not UTF-8 is replaced."""
    return data.partition(b"\0")[0].decode(errors="replace")


def pack_addresses(addresses: Iterable[int]) -> bytes:
    """Addresses, one after the other."""
    return b"".join(map(address_bytes, addresses))


def unpack_addresses(data: bytes) -> list[int]:
    """One or more addresses."""
    if not data or len(data) % 4:
        raise WireError(f"DHCP: addresses in {len(data)} bytes, not a multiple of 4")
    return [int.from_bytes(data[start : start + 4], "big") for start in range(0, len(data), 4)]


def pack_routes(routes: Iterable[Route]) -> bytes:
    """Classless routes, RFC 3442: of a network only the bytes that its length covers are sent."""
    return b"".join(map(_pack_route, routes))


def _pack_route(route: Route) -> bytes:
    if not 0 <= route.length <= 32 or route.network & (0xFFFFFFFF >> route.length):
        raise WireError(f"DHCP: {route} is not a route to a prefix with a length of 0 to 32")
    significant = address_bytes(route.network)[: (route.length + 7) // 8]
    return bytes([route.length]) + significant + address_bytes(route.next_hop)


def unpack_routes(data: bytes) -> list[Route]:
    """The routes of option 121."""
    routes, position = [], 0
    while position < len(data):
        length = data[position]
        middle = position + 1 + (length + 7) // 8
        if length > 32 or middle + 4 > len(data):
            raise WireError(f"DHCP: a route with a prefix length of {length} in {len(data) - position} bytes")
        network = int.from_bytes(data[position + 1 : middle].ljust(4, b"\0"), "big")
        routes.append(Route(network, length, int.from_bytes(data[middle : middle + 4], "big")))
        position = middle + 4
    return routes
