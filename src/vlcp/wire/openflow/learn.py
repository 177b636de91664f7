"""The learn action: the packet makes a flow (ovs-actions(7), "The learn action")."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntFlag
from typing import Annotated

import msgspec

from vlcp.wire.openflow.action import Action, nicira_action
from vlcp.wire.openflow.fields import subfield_bits, subfield_name, subfield_number
from vlcp.wire.records import U8, U16, U64, Buffer, Pad, Variable, WireError

_IMMEDIATE = 1 << 13
_MATCH, _LOAD, _OUTPUT = 0, 1, 2
_U16 = struct.Struct("!H")
_SUBFIELD = struct.Struct("!IH")


class LearnFlag(IntFlag):
    """How the learned flow behaves (NX_LEARN_F_*)."""

    SEND_FLOW_REM = 1
    DELETE_LEARNED = 2


class LearnMatch(msgspec.Struct, frozen=True):
    """The learned flow matches field `dst` against `src`: a field of the packet, or a number.

    `n_bits` 0: as many as `dst` has.
    """

    dst: str
    src: str | int
    n_bits: int = 0
    dst_ofs: int = 0
    src_ofs: int = 0


class LearnLoad(msgspec.Struct, frozen=True):
    """The learned flow writes `src`, a field of the packet or a number, into field `dst`. `n_bits` 0: as `dst` has."""

    dst: str
    src: str | int
    n_bits: int = 0
    dst_ofs: int = 0
    src_ofs: int = 0


class LearnOutput(msgspec.Struct, frozen=True):
    """The learned flow sends packets to the port whose number is in field `src` of the packet."""

    src: str
    n_bits: int = 0
    src_ofs: int = 0


LearnSpec = LearnMatch | LearnLoad | LearnOutput


def spec_bits(spec: LearnSpec) -> int:
    """The number of bits that a specification copies."""
    return spec.n_bits or subfield_bits(spec.src if isinstance(spec, LearnOutput) else spec.dst)


def _pack_specs(specs: Iterable[LearnSpec]) -> bytes:
    return b"".join([_pack_spec(spec) for spec in specs])


def _pack_spec(spec: LearnSpec) -> bytes:
    bits = spec_bits(spec)
    if isinstance(spec, LearnOutput):
        return _U16.pack(_OUTPUT << 11 | bits) + _SUBFIELD.pack(subfield_number(spec.src), spec.src_ofs)
    kind = _MATCH if isinstance(spec, LearnMatch) else _LOAD
    dst = _SUBFIELD.pack(subfield_number(spec.dst), spec.dst_ofs)
    if isinstance(spec.src, str):
        return _U16.pack(kind << 11 | bits) + _SUBFIELD.pack(subfield_number(spec.src), spec.src_ofs) + dst
    if not 0 <= spec.src < 1 << bits:
        raise ValueError(f"learn: {spec.src:#x} does not fit into {bits} bits of {spec.dst}")
    return _U16.pack(_IMMEDIATE | kind << 11 | bits) + spec.src.to_bytes((bits + 15) // 16 * 2, "big") + dst


def _unpack_specs(data: Buffer, offset: int, end: int) -> tuple[tuple[LearnSpec, ...], int]:
    specs: list[LearnSpec] = []
    while offset + 2 <= end:
        (header,) = _U16.unpack_from(data, offset)
        if not header:
            break  # padding
        spec, offset = _unpack_spec(header, data, offset + 2)
        if offset > end:
            raise WireError("learn: a specification reaches beyond the end of the action")
        specs.append(spec)
    return tuple(specs), end


def _unpack_spec(header: int, data: Buffer, offset: int) -> tuple[LearnSpec, int]:
    kind, bits = header >> 11 & 3, header & 0x7FF
    source: str | int
    src_ofs = 0
    if header & _IMMEDIATE:
        behind = offset + (bits + 15) // 16 * 2
        source, offset = int.from_bytes(data[offset:behind], "big"), behind
    else:
        number, src_ofs = _SUBFIELD.unpack_from(data, offset)
        source, offset = subfield_name(number), offset + _SUBFIELD.size
    if kind == _OUTPUT and isinstance(source, str):
        return LearnOutput(source, bits, src_ofs), offset
    if kind not in (_MATCH, _LOAD) or header >> 14:
        raise WireError(f"learn: unknown specification {header:#06x}")
    number, dst_ofs = _SUBFIELD.unpack_from(data, offset)
    form = LearnMatch if kind == _MATCH else LearnLoad
    return form(subfield_name(number), source, bits, dst_ofs, src_ofs), offset + _SUBFIELD.size


@nicira_action(16)
class Learn(Action, frozen=True):
    """Add or modify a flow in `table`, made from the packet by `specs`. Timeouts are in seconds, 0: none.

    `fin_idle_timeout` and `fin_hard_timeout` replace the timeouts when TCP ends the connection.
    """

    idle_timeout: U16 = 0
    hard_timeout: U16 = 0
    priority: U16 = 0x8000
    cookie: U64 = 0
    flags: U16 = 0
    table: Annotated[U8, Pad(1)] = 0
    fin_idle_timeout: U16 = 0
    fin_hard_timeout: U16 = 0
    specs: Annotated[tuple[LearnSpec, ...], Variable(_pack_specs, _unpack_specs)] = ()
