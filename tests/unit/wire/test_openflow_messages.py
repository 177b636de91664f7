"""Messages against two other implementations: ovs-ofctl prints what we mean, os-ken reads what we mean."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser, ofproto_protocol, ofproto_v1_3

from vlcp.wire.openflow import (
    ApplyActions,
    BarrierRequest,
    Bucket,
    BundleAdd,
    BundleCommand,
    BundleControl,
    ClearActions,
    DecNwTtl,
    EchoRequest,
    Error,
    FeaturesReply,
    FlowMod,
    FlowModFlag,
    FlowRemoved,
    FlowRequest,
    GotoTable,
    GroupMod,
    GroupModCommand,
    GroupType,
    Hello,
    Match,
    Message,
    MultipartReply,
    NiciraRoleRequest,
    Output,
    PacketIn,
    PacketOut,
    PortDesc,
    PortReason,
    PortStatus,
    RawAction,
    RawMessage,
    RegLoad,
    RegMove,
    SetAsync,
    SetConfig,
    SetField,
    WireError,
    decode_actions,
    flow_entries,
    format_actions,
    group_entries,
    parse,
)
from vlcp.wire.openflow.text import format_flow

MESSAGES: list[tuple[Message, str]] = [
    (Hello(frozenset({1, 4})), "version bitmap: 0x01, 0x04"),
    (EchoRequest(b"abc"), "OFPT_ECHO_REQUEST (OF1.3) (xid=0x5): 3 bytes of payload"),
    (FeaturesReply(0x2A, 0, 254, 0), "dpid:000000000000002a"),
    (SetConfig(0, 128), "miss_send_len=128"),
    (
        PacketIn(0xFFFFFFFF, 60, 1, 4, 9, Match(in_port=3, reg4=1), bytes(60)),
        "table_id=4 cookie=0x9 total_len=60 reg4=0x1,in_port=3 (via action)",
    ),
    (PacketOut(actions=(Output(2),), data=bytes(60)), "in_port=CONTROLLER actions=output:2 data_len=60"),
    (
        FlowMod(
            table=3,
            priority=9,
            match=Match(eth_type=0x800, ipv4_dst=(0x0A000000, 0xFF000000)),
            instructions=(ApplyActions((SetField("reg4", 5), DecNwTtl(), Output(7))), GotoTable(9)),
        ),
        "ADD table:3 priority=9,ip,nw_dst=10.0.0.0/8 actions=set_field:0x5->reg4,dec_ttl,output:7,goto_table:9",
    ),
    (
        GroupMod(GroupModCommand.ADD, GroupType.SELECT, 7, (Bucket((Output(1),), 5),)),
        "ADD group_id=7,type=select,bucket=weight:5,actions=output:1",
    ),
    (
        PortStatus(PortReason.MODIFY, PortDesc(5, 0x020000000001, "eth5")),
        "MOD: 5(eth5): addr:02:00:00:00:00:01",
    ),
    (FlowRemoved(7, 9, 1, 2, match=Match(reg1=5)), "priority=9,reg1=0x5 reason=hard table_id=2 cookie:0x7"),
    (BarrierRequest(), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x5):"),
    (FlowRequest(table=3, match=Match(reg1=5)), "OFPST_FLOW request (OF1.3) (xid=0x5): table=3 reg1=0x5"),
    (Error(4, 9, bytes(8)), "OFPT_ERROR (OF1.3) (xid=0x5): OFPBMC_BAD_PREREQ"),
    (BundleControl(6, BundleCommand.OPEN_REQUEST), "bundle_id=0x6 type=OPEN_REQUEST flags=atomic ordered"),
    (
        BundleAdd(6, 3, FlowMod(table=3).pack(5)),
        "bundle_id=0x6 flags=atomic ordered OFPT_FLOW_MOD (OF1.3) (xid=0x5)",
    ),
    (NiciraRoleRequest(1), "role=primary"),
    (SetAsync(), "OFPT_SET_ASYNC (OF1.3) (xid=0x5):"),
]


def ids(case: tuple[Message, str]) -> str:
    return type(case[0]).__name__


@pytest.mark.parametrize("case", MESSAGES, ids=ids)
def test_ovs_ofctl_prints_what_was_meant(case: tuple[Message, str]) -> None:
    message, meaning = case
    command = ["ovs-ofctl", "ofp-print", message.pack(5).hex()]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert meaning in " ".join(printed.split())


@pytest.mark.parametrize("case", MESSAGES, ids=ids)
def test_what_was_packed_is_parsed_again(case: tuple[Message, str]) -> None:
    packed = case[0].pack(5)
    again = parse(packed)
    assert type(again) is type(case[0])
    assert again.xid == 5
    assert again.pack(5) == packed
    assert again == parse(memoryview(packed))


def test_os_ken_reads_a_flow_as_it_was_meant() -> None:
    actions = (RegLoad("reg3", 5, 3, 5), RegMove("eth_src", "eth_dst", 48), Output(7, 60))
    packed = FlowMod(cookie=8, match=Match(in_port=3, reg4=7), instructions=(ApplyActions(actions),)).pack(6)
    datapath = ofproto_protocol.ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
    theirs: Any = ofproto_parser.msg(datapath, 4, packed[1], len(packed), 6, packed)
    assert (theirs.xid, theirs.cookie, theirs.match["in_port"], theirs.match["reg4"]) == (6, 8, 3, 7)
    load, move, output = theirs.instructions[0].actions
    assert (load.ofs_nbits, load.dst, load.value) == (3 << 6 | 4, "reg3", 5)
    assert (move.src_field, move.dst_field, move.n_bits) == ("eth_src_nxm", "eth_dst_nxm", 48)
    assert (output.port, output.max_len) == (7, 60)


def test_an_experimenters_error_has_a_name_and_shows_the_request() -> None:
    request = BarrierRequest().pack(9)
    error = parse(Error(0xFFFF, 2313, bytes.fromhex("4f4e4600") + request).pack(9))
    assert isinstance(error, Error)
    assert str(error) == "BUNDLE_FAILED/MSG_FAILED"
    assert error.request == request
    assert str(Error(4, 9)) == "BAD_MATCH/BAD_PREREQ"
    assert str(Error(99, 9)) == "error type 99 code 9"


def test_a_hello_without_bitmap_speaks_all_versions_up_to_its_own() -> None:
    hello = parse(bytes.fromhex("0500000800000001"))
    assert isinstance(hello, Hello)
    assert hello.versions == {1, 2, 3, 4, 5}


def test_unknown_messages_and_actions_survive() -> None:
    packed = bytes.fromhex("0463000c00000007deadbeef")
    assert parse(packed) == RawMessage(4, 0x63, bytes.fromhex("deadbeef"), xid=7)
    assert parse(packed).pack(7) == packed
    action = bytes.fromhex("ffff00100000232003e7000000000000")
    assert decode_actions(action, 0, 16) == (RawAction(0xFFFF, action[4:]),)
    assert format_actions(decode_actions(action, 0, 16)) == f"unknown_action({action.hex()})"


def test_a_part_of_a_register_is_set_in_runs_of_bits() -> None:
    packed = SetField("reg6", (0x85, 0xFD)).pack()
    assert decode_actions(packed, 0, len(packed)) == (RegLoad("reg6", 1, 0, 1), RegLoad("reg6", 0x21, 2, 6))


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        (SetField("reg77", 1), "unknown field 'reg77'"),
        (SetField("reg7", 1 << 32), "reg7: value 4294967296"),
        (SetField("reg7", (2, 1)), "reg7: value 0x2 has bits outside its mask 0x1"),
        (RegLoad("reg7", 4, 0, 2), "does not fit into 2 bits of reg7"),
        (RegLoad("reg7", 4, 30, 5), "reg7: has no 5 bits from bit 30"),
        (Output(1 << 32), r"Output\.port: 4294967296"),
    ],
)
def test_an_action_that_cannot_be_is_named(action: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        action.pack()


def test_two_instructions_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="GotoTable stands there twice"):
        FlowMod(instructions=(GotoTable(1), GotoTable(2))).pack()


PACKED = [message.pack(5) for message, _ in MESSAGES]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A legal message with some bytes changed, cut to any length, the length in its header made right."""
    data = bytearray(draw(st.sampled_from(PACKED)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(8, len(data) - 1)) if len(data) > 8 else 0] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(8, len(data)))]
    data[2:4] = len(data).to_bytes(2, "big")
    return bytes(data)


@given(data=st.binary(max_size=100) | damaged())
def test_garbage_raises_nothing_but_wire_error(data: bytes) -> None:
    try:
        message = parse(data)
        if isinstance(message, MultipartReply):
            list(flow_entries(message.body))
    except WireError:
        pass


@given(data=st.binary(max_size=200))
def test_garbage_in_dumps_raises_nothing_but_wire_error(data: bytes) -> None:
    for read in (flow_entries, group_entries):
        try:
            list(read(data))
        except WireError:
            pass


def test_a_flow_that_matches_everything_has_one_blank_before_its_actions() -> None:
    flagged = format_flow(0, 0x8000, 0, Match(), (ClearActions(),), flags=FlowModFlag.SEND_FLOW_REM)
    assert flagged == "send_flow_rem actions=clear_actions"
    assert format_flow(0, 0x8000, 5, Match(), ()) == "cookie=0x5, actions=drop"
    assert format_flow(3, 0, 0, Match(), ()) == "table=3, priority=0 actions=drop"
