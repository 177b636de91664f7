"""Flows and groups as `ovs-ofctl -O OpenFlow13 dump-flows --no-stats` and `dump-groups` write them (ovs-ofctl(8))."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vlcp.wire.openflow import actions as standard
from vlcp.wire.openflow import nicira
from vlcp.wire.openflow.action import Action, RawAction, decode_actions
from vlcp.wire.openflow.assignments import RegLoad, RegMove, SetField
from vlcp.wire.openflow.conntrack import Ct, Nat
from vlcp.wire.openflow.fields import FIELDS
from vlcp.wire.openflow.groups import ANY_GROUP, Bucket, GroupType, decode_buckets
from vlcp.wire.openflow.instructions import (
    ApplyActions,
    ClearActions,
    GotoTable,
    Instruction,
    Meter,
    RawInstruction,
    WriteActions,
    WriteMetadata,
    decode_instructions,
    encode_instructions,
)
from vlcp.wire.openflow.learn import Learn
from vlcp.wire.openflow.match import Match
from vlcp.wire.openflow.messages import FlowModFlag
from vlcp.wire.openflow.ports import Port
from vlcp.wire.openflow.text_conntrack import format_ct, format_nat
from vlcp.wire.openflow.text_learn import format_learn
from vlcp.wire.openflow.text_match import format_match as format_match
from vlcp.wire.openflow.text_values import hexadecimal, port, subfield, value
from vlcp.wire.records import Buffer

_DEFAULT_PRIORITY = 0x8000
_GROUP_TYPES = {
    GroupType.ALL: "all",
    GroupType.SELECT: "select",
    GroupType.INDIRECT: "indirect",
    GroupType.FAST_FAILOVER: "ff",
}
_FLOW_FLAGS = {
    FlowModFlag.SEND_FLOW_REM: "send_flow_rem",
    FlowModFlag.CHECK_OVERLAP: "check_overlap",
    FlowModFlag.RESET_COUNTS: "reset_counts",
    FlowModFlag.NO_PKT_COUNTS: "no_packet_counts",
    FlowModFlag.NO_BYT_COUNTS: "no_byte_counts",
}


def format_flow(
    table: int,
    priority: int,
    cookie: int,
    match: Match | Buffer,
    instructions: Iterable[Instruction] | Buffer,
    *,
    idle_timeout: int = 0,
    hard_timeout: int = 0,
    flags: int = 0,
) -> str:
    """One line for one flow, without the blank that ovs-ofctl begins with unless nothing precedes the match."""
    head = [f"cookie={hexadecimal(cookie)}"] if cookie else []
    head += [f"table={table}"] if table else []
    head += [f"idle_timeout={idle_timeout}"] if idle_timeout else []
    head += [f"hard_timeout={hard_timeout}"] if hard_timeout else []
    words = [name for flag, name in _FLOW_FLAGS.items() if flags & flag]
    matched = format_match(match)
    if priority != _DEFAULT_PRIORITY:
        matched = f"priority={priority},{matched}".rstrip(",")
    front = "".join(f"{part}, " for part in head) + "".join(f"{word} " for word in words)
    return f"{(front + matched).rstrip()} actions={format_instructions(instructions)}".lstrip()


def format_instructions(instructions: Iterable[Instruction] | Buffer) -> str:
    """The instructions in the order in which they are carried out; `drop` when there are none."""
    # By way of the encoder, so that what is shown is what the switch will hold.
    shown = [_instruction(each) for each in decode_instructions(encode_instructions(instructions))]
    return ",".join(shown) or "drop"


def _instruction(instruction: Instruction) -> str:
    match instruction:
        case ApplyActions(actions=actions):
            return format_actions(actions)
        case WriteActions(actions=actions):
            return f"write_actions({format_actions(actions)})"
        case ClearActions():
            return "clear_actions"
        case GotoTable(table=table):
            return f"goto_table:{table}"
        case Meter(meter_id=meter_id):
            return f"meter:{meter_id}"
        case WriteMetadata(metadata=metadata, mask=mask):
            whole = mask == 0xFFFFFFFFFFFFFFFF
            return f"write_metadata:{hexadecimal(metadata)}" + ("" if whole else f"/{hexadecimal(mask)}")
        case RawInstruction(type=kind, data=data):
            return f"unknown_instruction({kind},{data.hex()})"
    raise TypeError(f"not an instruction: {instruction!r}")


def format_actions(actions: Iterable[Action]) -> str:
    """The actions, separated by commas; `drop` when there are none."""
    return ",".join(_format_action(action) for action in actions) or "drop"


def _format_action(action: Action) -> str:
    write = _FORMATS.get(type(action))
    if write is None:
        return f"unknown_action({action.pack().hex()})"
    return write(action)


def _output(action: standard.Output) -> str:
    if action.port < Port.MAX:
        return f"output:{action.port}"
    limit = f":{action.max_len}" if action.port == Port.CONTROLLER else ""
    return port(action.port) + limit


def _set_field(action: SetField) -> str:
    if isinstance(action.value, tuple):
        packed = action.pack()
        return format_actions(decode_actions(packed, 0, len(packed)))
    field = FIELDS.get(action.field)
    if field is None:
        return f"set_field:{hexadecimal(action.value)}->{action.field}"
    return f"set_field:{value(field, action.value)}->{field.label}"


def _resubmit(action: nicira.ResubmitTable) -> str:
    in_port = "" if action.in_port == Port.IN_PORT else port(action.in_port)
    if action.table == nicira.PRESENT_TABLE and in_port:
        return f"resubmit:{in_port}"
    return f"resubmit({in_port},{'' if action.table == nicira.PRESENT_TABLE else action.table})"


def _move(action: RegMove) -> str:
    source = subfield(action.src, action.src_ofs, action.n_bits)
    return f"move:{source}->{subfield(action.dst, action.dst_ofs, action.n_bits)}"


def _conjunction(action: nicira.Conjunction) -> str:
    return f"conjunction({action.conjunction},{action.clause}/{action.n_clauses})"


_FORMATS: dict[type[Action], Callable[[Any], str]] = {
    standard.Output: _output,
    standard.Group: lambda action: f"group:{action.group_id}",
    standard.PushVlan: lambda action: f"push_vlan:{action.ethertype:#06x}",
    standard.PopVlan: lambda action: "pop_vlan",
    standard.PushMpls: lambda action: f"push_mpls:{action.ethertype:#06x}",
    standard.PopMpls: lambda action: f"pop_mpls:{action.ethertype:#06x}",
    standard.SetMplsTtl: lambda action: f"set_mpls_ttl({action.ttl})",
    standard.DecMplsTtl: lambda action: "dec_mpls_ttl",
    standard.SetNwTtl: lambda action: f"mod_nw_ttl:{action.ttl}",
    standard.DecNwTtl: lambda action: "dec_ttl",
    standard.SetQueue: lambda action: f"set_queue:{action.queue}",
    SetField: _set_field,
    RegLoad: lambda action: (
        f"load:{hexadecimal(action.value)}->{subfield(action.dst, action.ofs, action.n_bits)}"
    ),
    RegMove: _move,
    nicira.ResubmitTable: _resubmit,
    nicira.PopQueue: lambda action: "pop_queue",
    nicira.Note: lambda action: "note:" + ".".join(f"{byte:02x}" for byte in action.data),
    nicira.OutputReg: lambda action: f"output:{subfield(action.src, action.ofs, action.n_bits)}",
    nicira.Conjunction: _conjunction,
    nicira.CtClear: lambda action: "ct_clear",
    Learn: format_learn,
    Ct: lambda action: format_ct(action, format_actions),
    Nat: format_nat,
    RawAction: lambda action: f"unknown_action({action.pack().hex()})",
}


def format_group(group_id: int, type: int, buckets: Iterable[Bucket] | Buffer) -> str:
    """One line for one group."""
    decoded = decode_buckets(buckets) if isinstance(buckets, (bytes, memoryview)) else tuple(buckets)
    name = _GROUP_TYPES[GroupType(type)] if type in _GROUP_TYPES else str(type)
    return f"group_id={group_id},type={name}" + "".join(_bucket(bucket, type) for bucket in decoded)


def _bucket(bucket: Bucket, group_type: int) -> str:
    usual_weight = 1 if group_type == GroupType.SELECT else 0
    shown = f"weight:{bucket.weight}," if bucket.weight != usual_weight else ""
    shown += f"watch_port:{port(bucket.watch_port)}," if bucket.watch_port != Port.ANY else ""
    shown += f"watch_group:{bucket.watch_group}," if bucket.watch_group != ANY_GROUP else ""
    return f",bucket={shown}actions={format_actions(bucket.actions)}"
