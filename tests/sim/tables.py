"""The tables of a fake switch: flows and groups as bytes, changed by the messages that a controller sends.

What is refused, and with which error, is as Open vSwitch does it; `test_fakeswitch` compares the two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from vlcp.wire.openflow import (
    ALL_GROUPS,
    ALL_TABLES,
    ApplyActions,
    Error,
    ErrorType,
    FlowMod,
    FlowModCommand,
    FlowModFlag,
    Group,
    GroupMod,
    GroupModCommand,
    WriteActions,
    decode_instructions,
    encode_buckets,
    encode_instructions,
    encode_match,
)

BAD_OUT_GROUP = (ErrorType.BAD_ACTION, 9)
TABLE_FULL = (ErrorType.FLOW_MOD_FAILED, 1)
BAD_COMMAND = (ErrorType.FLOW_MOD_FAILED, 6)
GROUP_EXISTS = (ErrorType.GROUP_MOD_FAILED, 0)
UNKNOWN_GROUP = (ErrorType.GROUP_MOD_FAILED, 8)

_FLOW = struct.Struct("!HBxIIHHHH4xQQQ")
_GROUP = struct.Struct("!HBxI")


class RefusedError(Exception):
    """A change is refused. `kind`: type and code of the error message."""

    def __init__(self, kind: tuple[int, int]) -> None:
        super().__init__(str(Error(*kind)))
        self.kind = kind


class Key(NamedTuple):
    """What makes a flow unique."""

    table: int
    priority: int
    match: bytes


class Entry(NamedTuple):
    """What a flow says."""

    cookie: int
    instructions: bytes
    limits: tuple[int, int, int] = (0, 0, 0)
    """Idle timeout, hard timeout, flags."""


class Tables:
    """Flows by key; groups by number, each with its type and buckets."""

    def __init__(self) -> None:
        self.flows: dict[Key, Entry] = {}
        self.groups: dict[int, tuple[int, bytes]] = {}

    def copy(self) -> Tables:
        """The same content, to be changed apart."""
        copied = Tables()
        copied.flows, copied.groups = dict(self.flows), dict(self.groups)
        return copied

    def take(self, mod: FlowMod | GroupMod) -> None:
        """Carry out one change. `RefusedError`: nothing is changed."""
        if isinstance(mod, GroupMod):
            self._take_group(mod)
        else:
            self._take_flow(mod)

    def flow_dump(self) -> Iterator[bytes]:
        """Every flow as an entry of a reply to a flow request (OpenFlow 1.3.5, section 7.3.5.2)."""
        for (table, priority, match), (cookie, instructions, (idle, hard, flags)) in self.flows.items():
            length = _FLOW.size + len(match) + len(instructions)
            head = _FLOW.pack(length, table, 0, 0, priority, idle, hard, flags, cookie, 0, 0)
            yield head + match + instructions

    def group_dump(self) -> Iterator[bytes]:
        """Every group as an entry of a reply to a group description request (section 7.3.5.10)."""
        for number, (kind, buckets) in self.groups.items():
            yield _GROUP.pack(_GROUP.size + len(buckets), kind, number) + buckets

    def _take_flow(self, mod: FlowMod) -> None:
        match mod.command:
            case FlowModCommand.ADD:
                self._check_groups(mod)
                limits = (mod.idle_timeout, mod.hard_timeout, mod.flags & ~FlowModFlag.RESET_COUNTS)
                self.flows[_key(mod)] = Entry(mod.cookie, encode_instructions(mod.instructions), limits)
            case FlowModCommand.DELETE_STRICT:
                self.flows.pop(_key(mod), None)
            case FlowModCommand.DELETE if not len(mod.match):
                self._delete_flows(mod)
            case _:
                raise RefusedError(
                    BAD_COMMAND
                )  # modifying flows is not played here: a controller that adds needs none of it

    def _delete_flows(self, mod: FlowMod) -> None:
        for key, entry in tuple(self.flows.items()):
            same_cookie = not (entry.cookie ^ mod.cookie) & mod.cookie_mask
            if same_cookie and mod.table in (ALL_TABLES, key.table):
                del self.flows[key]

    def _check_groups(self, mod: FlowMod) -> None:
        if not groups_of(encode_instructions(mod.instructions)) <= self.groups.keys():
            raise RefusedError(BAD_OUT_GROUP)

    def _take_group(self, mod: GroupMod) -> None:
        match mod.command:
            case GroupModCommand.ADD if mod.group_id in self.groups:
                raise RefusedError(GROUP_EXISTS)
            case GroupModCommand.MODIFY if mod.group_id not in self.groups:
                raise RefusedError(UNKNOWN_GROUP)
            case GroupModCommand.ADD | GroupModCommand.MODIFY:
                self.groups[mod.group_id] = (mod.type, encode_buckets(mod.buckets))
            case _:
                self._delete_groups(mod.group_id)

    def _delete_groups(self, number: int) -> None:
        """A group that goes takes the flows that use it with it (OpenFlow 1.3.5, section 6.7)."""
        gone = set(self.groups) if number == ALL_GROUPS else {number} & self.groups.keys()
        for each in gone:
            del self.groups[each]
        for key, entry in tuple(self.flows.items()) if gone else ():
            if groups_of(entry.instructions) & gone:
                del self.flows[key]


def groups_of(instructions: bytes) -> set[int]:
    """The groups that instructions send packets to."""
    decoded = decode_instructions(instructions)
    lists = [each.actions for each in decoded if isinstance(each, ApplyActions | WriteActions)]
    return {action.group_id for actions in lists for action in actions if isinstance(action, Group)}


def _key(mod: FlowMod) -> Key:
    return Key(mod.table, mod.priority, encode_match(mod.match))
