"""The actions that write fields: OpenFlow's set_field, and reg_load and reg_move of Open vSwitch (ovs-actions(7))."""

from __future__ import annotations

import struct
from typing import Annotated

from vlcp.wire.openflow.action import NICIRA, Action, action, nicira_action
from vlcp.wire.openflow.fields import FIELDS, bit_range, field_named, subfield_name, subfield_number
from vlcp.wire.openflow.match import encode_field, unpack_field
from vlcp.wire.records import U16, Buffer, Fixed

FieldName = Annotated[str, Fixed("I", subfield_number, subfield_name)]
"""The name of a field; its header on the wire."""


@nicira_action(6, order="n_bits src_ofs dst_ofs src dst")
class RegMove(Action, frozen=True):
    """Copy `n_bits` bits of field `src`, from bit `src_ofs`, to field `dst`, from bit `dst_ofs`."""

    src: FieldName
    dst: FieldName
    n_bits: U16
    src_ofs: U16 = 0
    dst_ofs: U16 = 0


@nicira_action(7, compiled=False)
class RegLoad(Action, frozen=True):
    """Write `value` into `n_bits` bits of field `dst`, from bit `ofs`. At most 64 bits."""

    dst: str
    value: int
    ofs: int = 0
    n_bits: int = 32

    def pack(self) -> bytes:
        """ValueError: the bits are not in the field, or the value does not fit into them."""
        bits = bit_range(self.dst, self.ofs, self.n_bits)
        if not 0 <= self.value < 1 << self.n_bits:
            raise ValueError(
                f"RegLoad.value: {self.value:#x} does not fit into {self.n_bits} bits of {self.dst}"
            )
        return _REG_LOAD.pack(0xFFFF, 24, NICIRA, 7, bits, subfield_number(self.dst), self.value)

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> RegLoad:
        """The reg_load at `offset`."""
        *_, bits, dst, value = _REG_LOAD.unpack_from(data, offset)
        return cls(subfield_name(dst), value, bits >> 6, (bits & 63) + 1)


_REG_LOAD = struct.Struct("!HHIHHIQ")


@action(25, compiled=False)
class SetField(Action, frozen=True):
    """Set a field to `value`, or only the bits of the mask when it is `(value, mask)`.

    OpenFlow 1.3 sets whole fields only: Open vSwitch keeps a part as reg_load actions, one for each run of bits, and
    so does the encoder. ValueError: an unknown field, or a value or mask that does not fit.
    """

    field: str
    value: int | tuple[int, int]

    def pack(self) -> bytes:
        """The set_field action, or the reg_load actions that set the part."""
        value = self.value
        known = _SET_FIELD.get(self.field)
        if known is not None and type(value) is int and 0 <= value <= known[0]:
            _, start, size, padding = known
            return start + value.to_bytes(size, "big") + padding
        if isinstance(value, tuple):
            return _set_part(self.field, *value)
        if not self.field.startswith("oxm_"):
            field_named(self.field).check_number(value, "value")
        return _set_field(encode_field(self.field, value))

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> SetField:
        """The set_field action at `offset`."""
        return cls(*unpack_field(data, offset + 4, end))


def _set_field(field: bytes, size: int = 0) -> bytes:
    """The action that holds a field, of which the last `size` bytes are still missing; without them no padding."""
    padding = -(4 + len(field) + size) % 8
    start = _SET_FIELD_HEADER.pack(25, 4 + len(field) + size + padding) + field
    return start if size else start + bytes(padding)


_SET_FIELD_HEADER = struct.Struct("!HH")
_SET_FIELD = {
    name: (
        field.limit,
        _set_field(field.header.exact, field.header.size),
        field.header.size,
        bytes(-(4 + len(field.header.exact) + field.header.size) % 8),
    )
    for name, field in FIELDS.items()
}
"""For each field: the largest value, what stands before the value, its size in bytes, the padding."""


def _set_part(name: str, value: int, mask: int) -> bytes:
    field = field_named(name)
    field.check_number(value, "value")
    if mask == field.limit:
        return SetField(name, value).pack()
    field.check_number(mask, "mask")
    if not mask or value & ~mask:
        raise ValueError(f"{name}: value {value:#x} has bits outside its mask {mask:#x}, or the mask is 0")
    return b"".join(
        RegLoad(name, value >> low & (1 << bits) - 1, low, bits).pack() for low, bits in bit_runs(mask)
    )


def bit_runs(mask: int) -> list[tuple[int, int]]:
    """The runs of ones in a mask, from the lowest: (first bit, number of bits)."""
    runs, offset = [], 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        ones = (~(mask >> zeros) & (mask >> zeros) + 1).bit_length() - 1
        runs.append((offset + zeros, ones))
        mask >>= zeros + ones
        offset += zeros + ones
    return runs
