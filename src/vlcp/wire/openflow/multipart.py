"""Multipart messages: what the switch has (OpenFlow 1.3.5, section 7.3.5).

A dump of flows or groups is read as raw entries whose match and instructions stay bytes, so that comparing a switch
with what it should have costs a comparison of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Annotated, NamedTuple, TypeVar

from vlcp.wire.openflow.groups import ANY_GROUP
from vlcp.wire.openflow.match import Match
from vlcp.wire.openflow.message import Message, message, multipart_request
from vlcp.wire.openflow.messages import ALL_TABLES, AnyMatch
from vlcp.wire.openflow.ports import PORT_SIZE, Port, PortDesc
from vlcp.wire.records import U8, U16, U32, U64, Buffer, Pad, Record, Rest, WireError, record, text_of_size

MORE = 1
"""In the flags of a reply: further replies follow."""


class MultipartType(IntEnum):
    """What is asked for (OFPMP_*)."""

    DESC = 0
    FLOW = 1
    AGGREGATE = 2
    TABLE = 3
    PORT_STATS = 4
    GROUP = 6
    GROUP_DESC = 7
    PORT_DESC = 13


@message(18)
class MultipartRequest(Message, frozen=True):
    """A request of any type, with its body as bytes."""

    type: U16
    flags: Annotated[U16, Pad(4)] = 0
    body: Rest = b""


@message(19)
class MultipartReply(Message, frozen=True):
    """One part of an answer. `flags`: `MORE` when it is not the last one."""

    type: U16
    flags: Annotated[U16, Pad(4)] = 0
    body: Rest = b""


@multipart_request(MultipartType.DESC)
class DescRequest(Message, frozen=True):
    """What are you? The body of the reply is one `Desc`."""


@multipart_request(MultipartType.FLOW)
class FlowRequest(Message, frozen=True):
    """Which flows do you have? `table` 255: in all tables; `match`: those that it covers."""

    table: Annotated[U8, Pad(3)] = ALL_TABLES
    out_port: U32 = Port.ANY
    out_group: Annotated[U32, Pad(4)] = ANY_GROUP
    cookie: U64 = 0
    cookie_mask: U64 = 0
    match: AnyMatch = Match()


@multipart_request(MultipartType.AGGREGATE)
class AggregateRequest(Message, frozen=True):
    """How many flows, packets and bytes? The body of the reply is one `Aggregate`."""

    table: Annotated[U8, Pad(3)] = ALL_TABLES
    out_port: U32 = Port.ANY
    out_group: Annotated[U32, Pad(4)] = ANY_GROUP
    cookie: U64 = 0
    cookie_mask: U64 = 0
    match: AnyMatch = Match()


@multipart_request(MultipartType.TABLE)
class TableRequest(Message, frozen=True):
    """How are your tables used? The bodies of the replies hold `TableStats`."""


@multipart_request(MultipartType.GROUP_DESC)
class GroupDescRequest(Message, frozen=True):
    """Which groups do you have? The bodies of the replies hold `GroupEntry`."""


@multipart_request(MultipartType.PORT_DESC)
class PortDescRequest(Message, frozen=True):
    """Which ports do you have? The bodies of the replies hold `PortDesc`."""


@record()
class Desc(Record, frozen=True):
    """What the switch says of itself."""

    manufacturer: Annotated[str, text_of_size(256)]
    hardware: Annotated[str, text_of_size(256)]
    software: Annotated[str, text_of_size(256)]
    serial: Annotated[str, text_of_size(32)]
    datapath: Annotated[str, text_of_size(256)]


@record()
class Aggregate(Record, frozen=True):
    """Sums over flows."""

    packet_count: U64
    byte_count: U64
    flow_count: Annotated[U32, Pad(4)]


@record()
class TableStats(Record, frozen=True):
    """How a table is used."""

    table: Annotated[U8, Pad(3)]
    active_count: U32
    lookup_count: U64
    matched_count: U64


_TABLE_SIZE = 24
_Entry = TypeVar("_Entry")


class FlowEntry(NamedTuple):
    """An installed flow. `match` (with padding) and `instructions` are as the switch wrote them."""

    table: int
    priority: int
    cookie: int
    idle_timeout: int
    hard_timeout: int
    flags: int
    match: bytes
    instructions: bytes


class GroupEntry(NamedTuple):
    """An installed group. `buckets` are as the switch wrote them."""

    group_id: int
    type: int
    buckets: bytes


_FLOW = struct.Struct("!HBxIIHHHH4xQQQHH")
_GROUP = struct.Struct("!HBxI")
_MATCH_OFFSET = 48


def flow_entries(body: Buffer) -> Iterator[FlowEntry]:
    """The flows in the body of one reply to `FlowRequest`. `WireError`: impossible lengths."""
    data, offset, end = bytes(body), 0, len(body)
    unpack = _FLOW.unpack_from
    while offset < end:
        if end - offset < _FLOW.size:
            raise WireError(f"flow entry: {end - offset} bytes left, too few")
        length, table, _, _, priority, idle, hard, flags, cookie, _, _, _, match_length = unpack(data, offset)
        start = offset + _MATCH_OFFSET
        middle, behind = start + (match_length + 7 & ~7), offset + length
        if not start < middle <= behind <= end:
            raise WireError(f"flow entry: impossible length {length} with a match of {match_length} bytes")
        yield FlowEntry(table, priority, cookie, idle, hard, flags, data[start:middle], data[middle:behind])
        offset = behind


def group_entries(body: Buffer) -> Iterator[GroupEntry]:
    """The groups in the body of one reply to `GroupDescRequest`. `WireError`: impossible lengths."""
    offset, end = 0, len(body)
    while offset < end:
        if end - offset < _GROUP.size:
            raise WireError(f"group entry: {end - offset} bytes left, too few")
        length, kind, group_id = _GROUP.unpack_from(body, offset)
        if length < _GROUP.size or offset + length > end:
            raise WireError(f"group entry: impossible length {length}, {end - offset} bytes left")
        yield GroupEntry(group_id, kind, bytes(body[offset + _GROUP.size : offset + length]))
        offset += length


def port_entries(body: Buffer) -> Iterator[PortDesc]:
    """The ports in the body of one reply to `PortDescRequest`. `WireError`: no whole number of ports."""
    return _entries(body, PORT_SIZE, PortDesc.unpack)


def table_entries(body: Buffer) -> Iterator[TableStats]:
    """The tables in the body of one reply to `TableRequest`. `WireError`: no whole number of tables."""
    return _entries(body, _TABLE_SIZE, TableStats.unpack)


def _entries(body: Buffer, size: int, unpack: Callable[[Buffer, int, int], _Entry]) -> Iterator[_Entry]:
    if len(body) % size:
        raise WireError(f"multipart reply: {len(body)} bytes are no whole number of entries of {size} bytes")
    return (unpack(body, offset, offset + size) for offset in range(0, len(body), size))
