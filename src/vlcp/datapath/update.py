"""Changes of flows and groups, as messages for the switch and as lines for people."""

from __future__ import annotations

from vlcp.datapath.tables import Change, FlowKey, FlowValue
from vlcp.wire.openflow import FlowMod, FlowModCommand, GroupMod, GroupModCommand, GroupType, Message
from vlcp.wire.openflow.text import format_flow, format_group, format_match


def message_of(change: Change) -> Message:
    """The message that makes a change. An ADD replaces whatever flow has the same key."""
    if isinstance(change.key, FlowKey):
        return _flow_mod(change.key, change.value)
    if change.value is None:
        return GroupMod(GroupModCommand.DELETE, group_id=change.key)
    command = GroupModCommand.ADD if change.new else GroupModCommand.MODIFY
    return GroupMod(command, group_id=change.key, buckets=_bytes(change.value))


def describe(change: Change) -> str:
    """One line in the syntax of ovs-ofctl(8): what is added, replaced or deleted."""
    verb = "delete" if change.value is None else "add" if change.new else "replace"
    if not isinstance(change.key, FlowKey):
        value = b"" if change.value is None else _bytes(change.value)
        return f"{verb} {format_group(change.key, GroupType.ALL, value)}"
    table, priority, match = change.key
    if isinstance(change.value, FlowValue):
        cookie, instructions, _ = change.value
        return f"{verb} {format_flow(table, priority, cookie, match, instructions)}"
    return f"{verb} table={table}, priority={priority},{format_match(match)}"


def _flow_mod(key: FlowKey, value: FlowValue | bytes | None) -> FlowMod:
    if not isinstance(value, FlowValue):
        command = FlowModCommand.DELETE_STRICT
        return FlowMod(table=key.table, command=command, priority=key.priority, match=key.match)
    return FlowMod(
        cookie=value.cookie,
        table=key.table,
        priority=key.priority,
        match=key.match,
        instructions=value.instructions,
    )


def _bytes(value: FlowValue | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value
