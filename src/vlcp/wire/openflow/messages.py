"""The messages of OpenFlow 1.3 (OpenFlow 1.3.5, sections 7.3 to 7.5). Multipart messages are in `multipart`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Annotated

from vlcp.wire.openflow.action import Action, pack_counted_actions, unpack_counted_actions
from vlcp.wire.openflow.errors import ErrorType, error_name
from vlcp.wire.openflow.groups import ANY_GROUP, Bucket, GroupType, encode_buckets, unpack_buckets
from vlcp.wire.openflow.instructions import Instruction, encode_instructions, unpack_instructions
from vlcp.wire.openflow.match import Match, encode_match, unpack_match
from vlcp.wire.openflow.message import HEADER, VERSION, Message, message
from vlcp.wire.openflow.ports import Port, PortDesc, unpack_port
from vlcp.wire.records import U8, U16, U32, U64, Buffer, Pad, Rest, Variable, WireError, integer_of_size

NO_BUFFER = 0xFFFFFFFF
ALL_TABLES = 255
AnyMatch = Annotated[Match | bytes, Variable(encode_match, unpack_match)]
AnyInstructions = Annotated[
    tuple[Instruction, ...] | bytes, Variable(encode_instructions, unpack_instructions)
]
AnyBuckets = Annotated[tuple[Bucket, ...] | bytes, Variable(encode_buckets, unpack_buckets)]

_BITMAP = 1


def _pack_versions(versions: Iterable[int]) -> bytes:
    bitmap = sum(1 << version for version in set(versions))
    words = max(1, (bitmap.bit_length() + 31) // 32)
    numbers = b"".join((bitmap >> 32 * word & 0xFFFFFFFF).to_bytes(4, "big") for word in range(words))
    length = 4 + len(numbers)
    return _BITMAP.to_bytes(2, "big") + length.to_bytes(2, "big") + numbers + bytes(-length % 8)


@message(0, compiled=False)
class Hello(Message, frozen=True):
    """The first message of both sides. `versions`: the wire versions that the sender speaks (4 is OpenFlow 1.3)."""

    versions: frozenset[int] = frozenset({VERSION})

    def pack(self, xid: int = 0) -> bytes:
        """The header shows the highest version; a bitmap shows all of them."""
        elements = _pack_versions(self.versions)
        return HEADER.pack(max(self.versions), 0, 8 + len(elements), xid) + elements

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> Hello:
        """A hello without bitmap speaks every version up to the one in its header."""
        version, _, _, xid = HEADER.unpack_from(data, offset)
        return cls(_bitmap_versions(data, offset + 8, end) or frozenset(range(1, version + 1)), xid=xid)


def _bitmap_versions(data: Buffer, offset: int, end: int) -> frozenset[int]:
    while offset + 4 <= end:
        kind = int.from_bytes(data[offset : offset + 2], "big")
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if length < 4 or offset + length > end:
            raise WireError(f"hello: element of type {kind} has the impossible length {length}")
        if kind == _BITMAP:
            words = [data[at : at + 4] for at in range(offset + 4, offset + length - 3, 4)]
            return frozenset(
                32 * index + bit
                for index, word in enumerate(words)
                for bit in range(32)
                if int.from_bytes(word, "big") >> bit & 1
            )
        offset += (length + 7) // 8 * 8
    return frozenset()


@message(1)
class Error(Message, frozen=True):
    """A request was refused. `data`: at least the first 64 bytes of the request.

    With type 0xffff (experimenter) `code` is the experimenter's own type and `data` begins with its 32-bit id.
    """

    type: U16
    code: U16
    data: Rest = b""

    @property
    def experimenter(self) -> int:
        """The experimenter's id, 0 when it is OpenFlow's own error."""
        return int.from_bytes(self.data[:4], "big") if self.type == ErrorType.EXPERIMENTER else 0

    @property
    def request(self) -> bytes:
        """The first bytes of the request that was refused."""
        return self.data[4:] if self.type == ErrorType.EXPERIMENTER else self.data

    def __str__(self) -> str:
        return error_name(self.type, self.code, self.experimenter)


@message(2)
class EchoRequest(Message, frozen=True):
    """Are you there?"""

    data: Rest = b""


@message(3)
class EchoReply(Message, frozen=True):
    """I am. `data`: that of the request."""

    data: Rest = b""


@message(4)
class Experimenter(Message, frozen=True):
    """A message of an experimenter that is not known here."""

    experimenter: U32
    exp_type: U32
    data: Rest = b""


@message(5)
class FeaturesRequest(Message, frozen=True):
    """Who are you?"""


@message(6)
class FeaturesReply(Message, frozen=True):
    """Who the switch is. `auxiliary_id`: 0 for the main connection."""

    datapath_id: U64
    n_buffers: U32 = 0
    n_tables: U8 = 0
    auxiliary_id: Annotated[U8, Pad(2)] = 0
    capabilities: U32 = 0
    reserved: U32 = 0


@message(7)
class GetConfigRequest(Message, frozen=True):
    """How are you configured?"""


@message(8)
class GetConfigReply(Message, frozen=True):
    """`miss_send_len`: how many bytes of a packet go to the controller (0xffff: all)."""

    flags: U16 = 0
    miss_send_len: U16 = 0


@message(9)
class SetConfig(Message, frozen=True):
    """`miss_send_len`: how many bytes of a packet go to the controller (0xffff: all)."""

    flags: U16 = 0
    miss_send_len: U16 = 0xFFFF


class PacketInReason(IntEnum):
    """Why a packet came up (OFPR_*)."""

    NO_MATCH = 0
    ACTION = 1
    INVALID_TTL = 2


@message(10)
class PacketIn(Message, frozen=True):
    """A packet for the controller. `total_len`: its length before it was cut; `match`: where it was."""

    buffer_id: U32 = NO_BUFFER
    total_len: U16 = 0
    reason: U8 = PacketInReason.ACTION
    table: U8 = 0
    cookie: U64 = 0
    match: Annotated[AnyMatch, Pad(2)] = Match()
    data: Rest = b""


class FlowRemovedReason(IntEnum):
    """Why a flow is gone (OFPRR_*)."""

    IDLE_TIMEOUT = 0
    HARD_TIMEOUT = 1
    DELETE = 2
    GROUP_DELETE = 3


@message(11)
class FlowRemoved(Message, frozen=True):
    """A flow is gone that asked to be reported."""

    cookie: U64
    priority: U16
    reason: U8
    table: U8
    duration_sec: U32 = 0
    duration_nsec: U32 = 0
    idle_timeout: U16 = 0
    hard_timeout: U16 = 0
    packet_count: U64 = 0
    byte_count: U64 = 0
    match: AnyMatch = Match()


class PortReason(IntEnum):
    """What happened to a port (OFPPR_*)."""

    ADD = 0
    DELETE = 1
    MODIFY = 2


@message(12)
class PortStatus(Message, frozen=True):
    """A port came, went or changed."""

    reason: Annotated[U8, Pad(7)]
    port: Annotated[PortDesc, Variable(PortDesc.pack, unpack_port)]


@message(13)
class PacketOut(Message, frozen=True):
    """Send a packet: `data` through `actions`, as if it had come from `in_port`."""

    buffer_id: U32 = NO_BUFFER
    in_port: U32 = Port.CONTROLLER
    actions: Annotated[tuple[Action, ...], Variable(pack_counted_actions, unpack_counted_actions)] = ()
    data: Rest = b""


class FlowModCommand(IntEnum):
    """What to do with flows (OFPFC_*)."""

    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class FlowModFlag(IntFlag):
    """How a flow behaves (OFPFF_*)."""

    SEND_FLOW_REM = 1
    CHECK_OVERLAP = 2
    RESET_COUNTS = 4
    NO_PKT_COUNTS = 8
    NO_BYT_COUNTS = 16


@message(14)
class FlowMod(Message, frozen=True):
    """Add, change or delete flows. `match` and `instructions` may be given as the bytes of a dump.

    Timeouts are in seconds, 0: none. `table` 255 in a deletion: all tables.
    """

    cookie: U64 = 0
    cookie_mask: U64 = 0
    table: U8 = 0
    command: U8 = FlowModCommand.ADD
    idle_timeout: U16 = 0
    hard_timeout: U16 = 0
    priority: U16 = 0x8000
    buffer_id: U32 = NO_BUFFER
    out_port: U32 = Port.ANY
    out_group: U32 = ANY_GROUP
    flags: Annotated[U16, Pad(2)] = 0
    match: AnyMatch = Match()
    instructions: AnyInstructions = ()


class GroupModCommand(IntEnum):
    """What to do with a group (OFPGC_*)."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


@message(15)
class GroupMod(Message, frozen=True):
    """Add, change or delete a group. `buckets` may be given as the bytes of a dump."""

    command: U16
    type: Annotated[U8, Pad(1)] = GroupType.ALL
    group_id: U32 = 0
    buckets: AnyBuckets = ()


@message(16)
class PortMod(Message, frozen=True):
    """Change those bits of a port's configuration that are set in `mask`. `mac` must be the port's."""

    number: Annotated[U32, Pad(4)]
    mac: Annotated[int, integer_of_size(6), Pad(2)]
    config: U32 = 0
    mask: U32 = 0
    advertise: Annotated[U32, Pad(4)] = 0


@message(17)
class TableMod(Message, frozen=True):
    """Configure a table (255: all)."""

    table: Annotated[U8, Pad(3)]
    config: U32 = 0


@message(20)
class BarrierRequest(Message, frozen=True):
    """Finish everything before, then answer."""


@message(21)
class BarrierReply(Message, frozen=True):
    """Everything before the request is finished."""


class Role(IntEnum):
    """What a controller may do (OFPCR_ROLE_*)."""

    NO_CHANGE = 0
    EQUAL = 1
    PRIMARY = 2
    SECONDARY = 3


@message(24)
class RoleRequest(Message, frozen=True):
    """Ask for a role. An older `generation_id` than that of another controller is refused."""

    role: Annotated[U32, Pad(4)] = Role.NO_CHANGE
    generation_id: U64 = 0


@message(25)
class RoleReply(Message, frozen=True):
    """The role that the controller has now."""

    role: Annotated[U32, Pad(4)]
    generation_id: U64 = 0


@message(28)
class SetAsync(Message, frozen=True):
    """Which reasons are reported; for each kind a mask as primary or equal, and one as secondary."""

    packet_in: U32 = 3
    packet_in_secondary: U32 = 0
    port_status: U32 = 7
    port_status_secondary: U32 = 7
    flow_removed: U32 = 15
    flow_removed_secondary: U32 = 0
