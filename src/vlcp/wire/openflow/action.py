"""What all actions have in common: how they are declared, and how lists of them are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from vlcp.wire.records import LENGTH, Buffer, Prefix, Record, WireError, record, slices

EXPERIMENTER = 0xFFFF
NICIRA = 0x2320
"""Nicira's experimenter id, under which Open vSwitch has its own extensions."""
_ALIGNMENT = 8


class Action(Record, frozen=True):
    """The base of all actions: immutable, hashable, comparable."""


_AnyAction = TypeVar("_AnyAction", bound=type[Action])
_ACTIONS: dict[int, type[Action]] = {}
_EXPERIMENTER_ACTIONS: dict[tuple[int, int], type[Action]] = {}


def action(number: int, *, pad: int = 0, compiled: bool = True) -> Callable[[_AnyAction], _AnyAction]:
    """Declare the action of that type; `pad` zero bytes follow its header.

    `compiled`: False when the class packs and unpacks by itself.
    """

    def declare(cls: _AnyAction) -> _AnyAction:
        _ACTIONS[number] = cls
        if not compiled:
            return cls
        return record(Prefix("HH" + "x" * pad, (number, LENGTH)), align=_ALIGNMENT)(cls)

    return declare


def experimenter_action(
    experimenter: int, subtype: int, *, pad: int = 0, order: str = "", compiled: bool = True
) -> Callable[[_AnyAction], _AnyAction]:
    """Declare an action of an experimenter. `compiled`: False when the class packs and unpacks by itself."""

    def declare(cls: _AnyAction) -> _AnyAction:
        _EXPERIMENTER_ACTIONS[experimenter, subtype] = cls
        if not compiled:
            return cls
        prefix = Prefix("HHIH" + "x" * pad, (EXPERIMENTER, LENGTH, experimenter, subtype))
        return record(prefix, order=order, align=_ALIGNMENT)(cls)

    return declare


nicira_action = partial(experimenter_action, NICIRA)


class RawAction(Action, frozen=True):
    """An action that is not known here. `data`: everything behind its type and length."""

    type: int
    data: bytes

    def pack(self) -> bytes:
        """The action as it was read."""
        length = 4 + len(self.data)
        return self.type.to_bytes(2, "big") + length.to_bytes(2, "big") + self.data

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> RawAction:
        """The action at `offset`, whatever it is."""
        return cls(int.from_bytes(data[offset : offset + 2], "big"), bytes(data[offset + 4 : end]))


def encode_actions(actions: Iterable[Action]) -> bytes:
    """The actions one after the other."""
    return b"".join([each.pack() for each in actions])


def decode_actions(data: Buffer, offset: int, end: int) -> tuple[Action, ...]:
    """The actions from `offset` to `end`. Unknown ones become `RawAction`. `WireError`: impossible lengths."""
    actions: list[Action] = []
    for kind, start, stop in slices(data, offset, end, _ALIGNMENT, "action"):
        known = (
            _experimenter_class(data, start, stop) if kind == EXPERIMENTER else _ACTIONS.get(kind, RawAction)
        )
        actions.append(known.unpack(data, start, stop))
    return tuple(actions)


def _experimenter_class(data: Buffer, start: int, end: int) -> type[Action]:
    if end - start < 16:
        return RawAction
    experimenter = int.from_bytes(data[start + 4 : start + 8], "big")
    subtype = int.from_bytes(data[start + 8 : start + 10], "big")
    return _EXPERIMENTER_ACTIONS.get((experimenter, subtype), RawAction)


def unpack_actions(data: Buffer, offset: int, end: int) -> tuple[tuple[Action, ...], int]:
    """The actions that fill the rest of a record."""
    return decode_actions(data, offset, end), end


def unpack_counted_actions(data: Buffer, offset: int, end: int) -> tuple[tuple[Action, ...], int]:
    """Actions behind their size in bytes (16 bits) and 6 zero bytes, as in packet_out."""
    if end - offset < 8:
        raise WireError("packet_out: too short for its list of actions")
    start = offset + 8
    stop = start + int.from_bytes(data[offset : offset + 2], "big")
    if stop > end:
        raise WireError("packet_out: the list of actions reaches beyond the end")
    return decode_actions(data, start, stop), stop


def pack_counted_actions(actions: Iterable[Action]) -> bytes:
    """Actions behind their size in bytes (16 bits) and 6 zero bytes."""
    content = encode_actions(actions)
    return len(content).to_bytes(2, "big") + bytes(6) + content
