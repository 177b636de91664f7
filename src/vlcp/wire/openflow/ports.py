"""Ports of a switch (OpenFlow 1.3.5, section 7.2.1)."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from vlcp.wire.records import U32, Buffer, Fixed, Pad, Record, integer_of_size, record, text_of_size


class Port(IntEnum):
    """Reserved port numbers. Numbers below `MAX` are ports of the switch."""

    MAX = 0xFFFFFF00
    UNSET = 0xFFFFFFF7
    IN_PORT = 0xFFFFFFF8
    TABLE = 0xFFFFFFF9
    NORMAL = 0xFFFFFFFA
    FLOOD = 0xFFFFFFFB
    ALL = 0xFFFFFFFC
    CONTROLLER = 0xFFFFFFFD
    LOCAL = 0xFFFFFFFE
    ANY = 0xFFFFFFFF


class PortConfig(IntFlag):
    """How a port is configured (OFPPC_*)."""

    DOWN = 1
    NO_RECV = 1 << 2
    NO_FORWARD = 1 << 5
    NO_PACKET_IN = 1 << 6


class PortState(IntFlag):
    """What a port's link does (OFPPS_*)."""

    LINK_DOWN = 1
    BLOCKED = 1 << 1
    LIVE = 1 << 2


@record()
class PortDesc(Record, frozen=True):
    """One port (`ofp_port`). Speeds are in kbit/s, features are OFPPF_* bits."""

    number: Annotated[U32, Pad(4)]
    mac: Annotated[int, integer_of_size(6), Pad(2)] = 0
    name: Annotated[str, text_of_size(16)] = ""
    config: U32 = 0
    state: U32 = 0
    current: U32 = 0
    advertised: U32 = 0
    supported: U32 = 0
    peer: U32 = 0
    current_speed: U32 = 0
    max_speed: U32 = 0


PORT_SIZE = 64


def unpack_port(data: Buffer, offset: int, end: int) -> tuple[PortDesc, int]:
    """The port at `offset`, and the offset behind it."""
    return PortDesc.unpack(data, offset, end), offset + PORT_SIZE


def short_port(number: int) -> int:
    """The 16-bit form of a port number, as the older Nicira actions hold it."""
    return number - 0xFFFF0000 if number > Port.MAX else number


def long_port(number: int) -> int:
    """The 32-bit form of a port number that was read from 16 bits."""
    return number + 0xFFFF0000 if number >= 0xFF00 else number


PORT_16 = Fixed("H", short_port, long_port)
