"""Connection tracking: the ct action and the nat action inside it (ovs-actions(7), "The ct action")."""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Annotated

from vlcp.wire.openflow.action import NICIRA, Action, encode_actions, nicira_action, unpack_actions
from vlcp.wire.records import U8, U16, U32, Buffer, Pad, Variable, WireError

NO_RECIRCULATION = 255
_NAT = struct.Struct("!HHIH2xHH")


class CtFlag(IntFlag):
    """What the ct action does (NX_CT_F_*)."""

    COMMIT = 1
    FORCE = 2


class NatFlag(IntFlag):
    """How the nat action translates (NX_NAT_F_*)."""

    SRC = 1
    DST = 2
    PERSISTENT = 4
    HASH = 8
    RANDOM = 16


@nicira_action(35)
class Ct(Action, frozen=True):
    """Send the packet through connection tracking, then on to `table` (255: do not come back).

    The zone is the number `zone`; if `zone_src` is the header of a field, `zone` is the range of its bits
    (first bit << 6 | number of bits - 1). `alg`: the port of a helper protocol, such as 21.
    """

    flags: U16 = 0
    zone_src: U32 = 0
    zone: U16 = 0
    table: Annotated[U8, Pad(3)] = NO_RECIRCULATION
    alg: U16 = 0
    actions: Annotated[tuple[Action, ...], Variable(encode_actions, unpack_actions)] = ()


@nicira_action(36, compiled=False)
class Nat(Action, frozen=True):
    """Translate addresses, inside ct. `addresses`: (version 4 or 6, lowest, highest or None); likewise `ports`."""

    flags: int = 0
    addresses: tuple[int, int, int | None] | None = None
    ports: tuple[int, int | None] | None = None

    def pack(self) -> bytes:
        """The ranges follow in a fixed order, each one announced by a bit."""
        present, ranges = 0, b""
        if self.addresses is not None:
            version, low, high = self.addresses
            size, bit = (4, 1) if version == 4 else (16, 4)
            present, ranges = _add_range(present, ranges, bit, size, low, high)
        if self.ports is not None:
            present, ranges = _add_range(present, ranges, 16, 2, *self.ports)
        padding = -(16 + len(ranges)) % 8
        length = 16 + len(ranges) + padding
        return _NAT.pack(0xFFFF, length, NICIRA, 36, self.flags, present) + ranges + bytes(padding)

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> Nat:
        """The action at `offset`."""
        *_, flags, present = _NAT.unpack_from(data, offset)
        offset += _NAT.size
        numbers: list[int | None] = []
        for bit, size in enumerate((4, 4, 16, 16, 2, 2)):
            behind = offset + size if present >> bit & 1 else offset
            if behind > end:
                raise WireError("nat: a range reaches beyond the end of the action")
            numbers.append(int.from_bytes(data[offset:behind], "big") if behind > offset else None)
            offset = behind
        return cls(flags, _addresses(numbers), None if numbers[4] is None else (numbers[4], numbers[5]))


def _add_range(
    present: int, ranges: bytes, bit: int, size: int, low: int, high: int | None
) -> tuple[int, bytes]:
    ranges += low.to_bytes(size, "big")
    if high is None:
        return present | bit, ranges
    return present | bit | bit << 1, ranges + high.to_bytes(size, "big")


def _addresses(numbers: list[int | None]) -> tuple[int, int, int | None] | None:
    if numbers[0] is not None:
        return 4, numbers[0], numbers[1]
    return None if numbers[2] is None else (6, numbers[2], numbers[3])
