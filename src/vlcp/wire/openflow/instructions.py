"""The instructions of a flow (OpenFlow 1.3.5, section 7.2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Annotated, TypeVar

from vlcp.wire.openflow.action import Action, encode_actions, unpack_actions
from vlcp.wire.records import LENGTH, U8, U32, U64, Buffer, Pad, Prefix, Record, Variable, record, slices


class Instruction(Record, frozen=True):
    """The base of all instructions: immutable, hashable, comparable."""


_AnyInstruction = TypeVar("_AnyInstruction", bound=type[Instruction])
_INSTRUCTIONS: dict[int, type[Instruction]] = {}
_Actions = Annotated[tuple[Action, ...], Variable(encode_actions, unpack_actions)]


def _instruction(number: int, *, pad: int = 0) -> Callable[[_AnyInstruction], _AnyInstruction]:
    def declare(cls: _AnyInstruction) -> _AnyInstruction:
        _INSTRUCTIONS[number] = cls
        return record(Prefix("HH" + "x" * pad, (number, LENGTH)))(cls)

    return declare


@_instruction(6)
class Meter(Instruction, frozen=True):
    """Apply a meter; it may drop the packet."""

    meter_id: U32


@_instruction(4, pad=4)
class ApplyActions(Instruction, frozen=True):
    """Carry out actions now, in order."""

    actions: _Actions = ()


@_instruction(5, pad=4)
class ClearActions(Instruction, frozen=True):
    """Empty the action set."""


@_instruction(3, pad=4)
class WriteActions(Instruction, frozen=True):
    """Put actions into the action set, which is carried out when no table follows."""

    actions: _Actions = ()


@_instruction(2, pad=4)
class WriteMetadata(Instruction, frozen=True):
    """Write the bits of `mask` into the metadata."""

    metadata: U64
    mask: U64 = 0xFFFFFFFFFFFFFFFF


@_instruction(1)
class GotoTable(Instruction, frozen=True):
    """Go on with a later table."""

    table: Annotated[U8, Pad(3)]


class RawInstruction(Instruction, frozen=True):
    """An instruction that is not known here. `data`: everything behind its type and length."""

    type: int
    data: bytes

    def pack(self) -> bytes:
        """The instruction as it was read."""
        length = 4 + len(self.data)
        return self.type.to_bytes(2, "big") + length.to_bytes(2, "big") + self.data

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> RawInstruction:
        """The instruction at `offset`, whatever it is."""
        return cls(int.from_bytes(data[offset : offset + 2], "big"), bytes(data[offset + 4 : end]))


_IN_ORDER: tuple[type[Instruction], ...] = (
    Meter,
    ApplyActions,
    ClearActions,
    WriteActions,
    WriteMetadata,
    GotoTable,
)
_ORDER = {kind: rank for rank, kind in enumerate(_IN_ORDER)}
_NOTHING = ApplyActions()


def encode_instructions(instructions: Iterable[Instruction] | Buffer) -> bytes:
    """Instructions in the order and form in which Open vSwitch writes them into a dump.

    Bytes are taken for instructions that are encoded already. An empty list of actions to apply is left out.
    ValueError: two instructions of one kind.
    """
    if isinstance(instructions, (bytes, memoryview)):
        return bytes(instructions)
    given = tuple(instructions)
    ranks = [_ORDER.get(type(each), len(_ORDER)) for each in given]
    if ranks != sorted(set(ranks)):
        given = _ordered(given)
    return b"".join([each.pack() for each in given if each != _NOTHING])


def _ordered(instructions: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    ordered = sorted(instructions, key=_rank)
    for first, second in pairwise(ordered):
        if type(first) is type(second):
            raise ValueError(f"instructions: {type(first).__name__} stands there twice")
    return tuple(ordered)


def _rank(instruction: Instruction) -> int:
    return _ORDER.get(type(instruction), len(_ORDER))


def decode_instructions(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[Instruction, ...]:
    """The instructions from `offset` to `end`. Unknown ones become `RawInstruction`. `WireError`: garbage."""
    end = len(data) if end is None else end
    parts = slices(data, offset, end, 8, "instruction")
    return tuple(
        [_INSTRUCTIONS.get(kind, RawInstruction).unpack(data, start, stop) for kind, start, stop in parts]
    )


def unpack_instructions(data: Buffer, offset: int, end: int) -> tuple[tuple[Instruction, ...], int]:
    """The instructions that fill the rest of a record."""
    return decode_instructions(data, offset, end), end
