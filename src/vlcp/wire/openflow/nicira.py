"""Further actions of Open vSwitch under Nicira's experimenter id (ovs-actions(7))."""

from __future__ import annotations

import struct
from typing import Annotated

from vlcp.wire.openflow.action import NICIRA, Action, nicira_action
from vlcp.wire.openflow.fields import bit_range, subfield_name, subfield_number
from vlcp.wire.openflow.ports import Port, long_port, short_port
from vlcp.wire.records import U8, U32, Buffer, Fixed, Rest

_RESUBMIT = struct.Struct("!HHIHHB3x")
_OUTPUT_REG = struct.Struct("!HHIHHIH6x")
PRESENT_TABLE = 255


@nicira_action(14, compiled=False)
@nicira_action(1, compiled=False)
class ResubmitTable(Action, frozen=True):
    """Search `table` (255: the present one) as if the packet had come from `in_port`, then come back."""

    table: int = PRESENT_TABLE
    in_port: int = Port.IN_PORT

    def pack(self) -> bytes:
        """Open vSwitch writes the older form, which has no table number, for the present table."""
        table, subtype = (0, 1) if self.table == PRESENT_TABLE else (self.table, 14)
        try:
            return _RESUBMIT.pack(0xFFFF, 16, NICIRA, subtype, short_port(self.in_port), table)
        except struct.error:
            raise ValueError(
                f"{self}: the table is above 255, or the port does not fit into 16 bits"
            ) from None

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> ResubmitTable:
        """Either form."""
        *_, subtype, in_port, table = _RESUBMIT.unpack_from(data, offset)
        return cls(PRESENT_TABLE if subtype == 1 else table, long_port(in_port))


@nicira_action(5, pad=6)
class PopQueue(Action, frozen=True):
    """Return to the port's own queue."""


@nicira_action(8)
class Note(Action, frozen=True):
    """Bytes without effect. The switch fills them up with zeros to a length of 6, 14, 22 ..."""

    data: Rest


@nicira_action(15, compiled=False)
class OutputReg(Action, frozen=True):
    """Send the packet to the port whose number is in `n_bits` bits of field `src`, from bit `ofs`."""

    src: str
    ofs: int = 0
    n_bits: int = 32
    max_len: int = 0

    def pack(self) -> bytes:
        """ValueError: the bits are not in the field."""
        bits = bit_range(self.src, self.ofs, self.n_bits)
        return _OUTPUT_REG.pack(0xFFFF, 24, NICIRA, 15, bits, subfield_number(self.src), self.max_len)

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> OutputReg:
        """The action at `offset`."""
        *_, bits, src, max_len = _OUTPUT_REG.unpack_from(data, offset)
        return cls(subfield_name(src), bits >> 6, (bits & 63) + 1, max_len)


def _clause_to_wire(clause: int) -> int:
    return clause - 1


@nicira_action(34, order="clause n_clauses conjunction")
class Conjunction(Action, frozen=True):
    """This flow is clause number `clause` (from 1) of the `n_clauses` of a conjunctive match."""

    conjunction: U32
    clause: Annotated[int, Fixed("B", _clause_to_wire, lambda number: number + 1)]
    n_clauses: U8


@nicira_action(43, pad=6)
class CtClear(Action, frozen=True):
    """Forget what connection tracking said about the packet."""
