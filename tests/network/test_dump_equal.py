"""What we encode is, byte for byte, what Open vSwitch dumps; and our text is what ovs-ofctl prints.

Random legal flows and groups are installed on a real switch, dumped and compared. The comparison of installed with
desired flows rests on this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.openflow_switch import Switch, private_switch
from vlcp.wire.openflow import (
    FIELDS,
    Action,
    ApplyActions,
    Bucket,
    ClearActions,
    Conjunction,
    Ct,
    CtClear,
    CtFlag,
    DecNwTtl,
    FlowEntry,
    FlowMod,
    FlowModCommand,
    FlowModFlag,
    FlowRequest,
    GotoTable,
    Group,
    GroupDescRequest,
    GroupEntry,
    GroupMod,
    GroupModCommand,
    GroupType,
    Instruction,
    Learn,
    LearnLoad,
    LearnMatch,
    LearnOutput,
    Match,
    Nat,
    NatFlag,
    Note,
    Output,
    OutputReg,
    PopVlan,
    Port,
    PushVlan,
    RegLoad,
    RegMove,
    ResubmitTable,
    SetField,
    SetQueue,
    Value,
    WriteActions,
    WriteMetadata,
    decode_buckets,
    decode_instructions,
    decode_match,
    encode_buckets,
    encode_instructions,
    encode_match,
    flow_entries,
    format_flow,
    format_group,
    group_entries,
)

pytestmark = pytest.mark.network

slow = settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
REGISTERS = [f"reg{number}" for number in range(16)]
ANYWHERE = (
    "metadata tunnel_id tun_src tun_dst tun_flags tun_ipv6_src tun_ipv6_dst tun_gbp_id tun_gbp_flags pkt_mark ct_state"
    " ct_zone ct_mark ct_label conj_id eth_src eth_dst"
).split()
IP_FIELDS = ["ip_dscp", "ip_ecn", "ip_ttl", "ip_frag"]
HEADERS: list[tuple[dict[str, int], list[str]]] = [
    ({}, []),
    ({"eth_type": 0x88CC}, []),
    ({"eth_type": 0x0806}, ["arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"]),
    ({"eth_type": 0x8035}, ["arp_op", "arp_spa"]),
    ({"eth_type": 0x0800}, ["ipv4_src", "ipv4_dst", *IP_FIELDS]),
    ({"eth_type": 0x0800, "ip_proto": 47}, ["ipv4_src", "ipv4_dst", *IP_FIELDS]),
    ({"eth_type": 0x0800, "ip_proto": 1}, ["ipv4_dst", "icmpv4_type", "icmpv4_code"]),
    ({"eth_type": 0x0800, "ip_proto": 6}, ["ipv4_src", "tcp_src", "tcp_dst", "tcp_flags"]),
    ({"eth_type": 0x0800, "ip_proto": 17}, ["ipv4_dst", "udp_src", "udp_dst"]),
    ({"eth_type": 0x0800, "ip_proto": 132}, ["sctp_src", "sctp_dst"]),
    ({"eth_type": 0x86DD}, ["ipv6_src", "ipv6_dst", "ipv6_flabel", *IP_FIELDS]),
    ({"eth_type": 0x86DD, "ip_proto": 6}, ["ipv6_dst", "tcp_dst", "ip_dscp"]),
    ({"eth_type": 0x86DD, "ip_proto": 17}, ["ipv6_dst", "udp_dst"]),
    (
        {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 135, "icmpv6_code": 0},
        ["ipv6_nd_target", "ipv6_nd_sll"],
    ),
    (
        {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 136, "icmpv6_code": 0},
        ["ipv6_nd_target", "ipv6_nd_tll"],
    ),
    ({"eth_type": 0x8847}, ["mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"]),
]


@st.composite
def values(draw: st.DrawFn, name: str) -> Value:
    field = FIELDS[name]
    number = draw(st.sampled_from([0, 1, field.limit]) | st.integers(0, field.limit))
    if not field.maskable or draw(st.booleans()):
        return number
    mask = draw(st.sampled_from([1, field.limit, field.limit - 1]) | st.integers(0, field.limit))
    return number & mask, mask


@st.composite
def matches(draw: st.DrawFn, header: tuple[dict[str, int], list[str]]) -> Match:
    fixed, optional = header
    names = draw(st.sets(st.sampled_from(REGISTERS + ANYWHERE + optional * 3), max_size=7))
    chosen: dict[str, Value] = {name: draw(values(name)) for name in names}
    if "ip_frag" in chosen:
        chosen["ip_frag"] = draw(st.sampled_from([0, 1, 3, (0, 1), (1, 1), (0, 2)]))
    if isinstance(state := chosen.get("ct_state"), tuple):  # an invalid connection takes no nat
        chosen["ct_state"] = state[0] & ~0x10, state[1]
    elif isinstance(state, int):
        chosen["ct_state"] = state & ~0x10
    if draw(st.booleans()):
        chosen["in_port"] = draw(st.sampled_from([*range(1, 9), Port.LOCAL, Port.CONTROLLER]))
    tag = draw(st.sampled_from(["", "none", "number", "any", "part", "both"]))
    number = draw(st.integers(0, 4095))
    vlan = {"none": 0, "number": number | 0x1000, "any": (0x1000, 0x1000), "part": (number & 0x53, 0x1053)}
    if tag:
        chosen["vlan_vid"] = vlan.get(tag, number | 0x1000)
    if tag == "both":
        chosen["vlan_pcp"] = draw(st.integers(0, 7))
    return Match(**(chosen | fixed))


def parts(name: str) -> st.SearchStrategy[tuple[int, int]]:
    """(first bit, number of bits) within a field."""
    width = min(FIELDS[name].subfield_bits, 64)
    return st.integers(0, width - 1).flatmap(lambda ofs: st.tuples(st.just(ofs), st.integers(1, width - ofs)))


@st.composite
def loads(draw: st.DrawFn) -> Action:
    name = draw(st.sampled_from([*REGISTERS, "tunnel_id", "eth_dst", "metadata", "xreg3", "tun_dst"]))
    ofs, bits = draw(parts(name))
    return RegLoad(name, draw(st.integers(0, (1 << bits) - 1)), ofs, bits)


@st.composite
def moves(draw: st.DrawFn) -> Action:
    names = st.sampled_from(
        ["reg0", "reg7", "eth_src", "eth_dst", "tunnel_id", "tun_src", "metadata", "in_port"]
    )
    source, target = draw(names), draw(names.filter(lambda name: name != "in_port"))
    (src_ofs, src_bits), (dst_ofs, dst_bits) = draw(parts(source)), draw(parts(target))
    return RegMove(source, target, min(src_bits, dst_bits), src_ofs, dst_ofs)


@st.composite
def set_fields(draw: st.DrawFn, names: list[str]) -> Action:
    name = draw(
        st.sampled_from([*REGISTERS, "eth_src", "eth_dst", "tunnel_id", "tun_dst", "metadata", *names])
    )
    content = draw(values(name))
    if isinstance(content, tuple) and not content[1]:
        content = 1
    return SetField(name, content)


def learns() -> st.SearchStrategy[Action]:
    specs = st.sampled_from(
        [
            LearnMatch("reg5", "reg4"),
            LearnMatch("eth_dst", "eth_src"),
            LearnMatch("vlan_vid", "vlan_vid", 12),
            LearnMatch("eth_type", 0x0800),
            LearnMatch("reg3", 5, 7, 3),
            LearnMatch("reg2", 0xFFFFFFFF),
            LearnLoad("reg6", "in_port", 16),
            LearnLoad("tun_dst", "tun_src"),
            LearnLoad("tunnel_id", 0x123456789ABCDEF),
            LearnLoad("reg7", 1, 1),
            LearnOutput("in_port"),
        ]
    )
    return st.builds(
        Learn,
        idle_timeout=st.integers(0, 300),
        hard_timeout=st.integers(0, 300),
        priority=st.sampled_from([0x8000, 5]),
        cookie=st.sampled_from([0, 2]),
        flags=st.integers(0, 3),
        table=st.integers(1, 250),
        fin_idle_timeout=st.integers(0, 2),
        specs=st.lists(specs, max_size=5, unique=True).map(tuple),
    )


NATS = [
    Nat(),
    Nat(NatFlag.SRC, (4, 0x0A000001, None)),
    Nat(NatFlag.SRC | NatFlag.RANDOM, (4, 0x0A000001, 0x0A000005), (5, 7)),
    Nat(NatFlag.DST | NatFlag.HASH, (4, 0x0A000001, 0x0A000005), (5, None)),
]


def actions(fixed: dict[str, int]) -> st.SearchStrategy[tuple[Action, ...]]:
    """Lists of actions that are legal on a packet of this kind."""
    rewritable = {0x0800: ["ipv4_src", "ipv4_dst", "ip_dscp", "ip_ttl"], 0x86DD: ["ipv6_src", "ip_dscp"]}
    rewritable[0x0806] = ["arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"]
    kind = fixed.get("eth_type", 0)
    reserved = [Port.IN_PORT, Port.NORMAL, Port.FLOOD, Port.ALL, Port.LOCAL, Port.TABLE]
    choices: list[st.SearchStrategy[tuple[Action, ...]]] = [
        st.builds(lambda port: (Output(port),), st.sampled_from([*range(1, 9), *reserved])),
        st.builds(lambda size: (Output(Port.CONTROLLER, size),), st.sampled_from([0, 60, 0xFFFF])),
        loads().map(lambda load: (load,)),
        moves().map(lambda move: (move,)),
        set_fields(rewritable.get(kind, [])).map(lambda action: (action,)),
        learns().map(lambda learn: (learn,)),
        st.builds(
            lambda *a: (ResubmitTable(*a),),
            st.integers(0, 255),
            st.sampled_from([Port.IN_PORT, 3, Port.LOCAL]),
        ),
        st.binary(min_size=1, max_size=20).map(lambda data: (Note(data),)),
        st.sampled_from([(Group(1),), (SetQueue(5),), (CtClear(),), (OutputReg("reg1", 0, 16, 60),)]),
        st.builds(
            lambda vid: (PushVlan(), SetField("vlan_vid", vid | 0x1000), PopVlan()), st.integers(0, 4095)
        ),
    ]
    if kind in (0x0800, 0x86DD):
        choices.append(st.just((DecNwTtl(),)))
    if kind == 0x0800:
        exec_ = (SetField("ct_mark", 5), RegMove("reg0", "ct_label", 32))
        choices += [
            st.sampled_from(NATS).map(lambda nat: (Ct(CtFlag.COMMIT, zone=5, actions=(nat,)),)),
            st.sampled_from([(Ct(table=7),), (Ct(CtFlag.COMMIT | CtFlag.FORCE, actions=exec_),)]),
            st.just((Ct(CtFlag.COMMIT, 0x00010204, 15, actions=(Nat(), *exec_)),)),
        ]
    return st.lists(st.one_of(choices), max_size=6).map(lambda groups: sum(groups, ()))


@st.composite
def instructions(draw: st.DrawFn, fixed: dict[str, int]) -> tuple[Instruction, ...]:
    chosen: list[Instruction] = []
    if draw(st.integers(0, 3)):
        chosen.append(ApplyActions(draw(actions(fixed))))
    if draw(st.integers(0, 5)) == 0:
        chosen.append(ClearActions())
    if draw(st.integers(0, 5)) == 0:
        chosen.append(WriteActions((SetField("reg1", 5), Output(draw(st.integers(1, 8))))))
    if draw(st.integers(0, 5)) == 0:
        chosen.append(WriteMetadata(draw(st.integers(0, 255)), draw(st.sampled_from([0xFF, (1 << 64) - 1]))))
    if draw(st.booleans()):
        chosen.append(GotoTable(draw(st.integers(100, 253))))
    return tuple(draw(st.permutations(chosen)))


@st.composite
def flow_mods(draw: st.DrawFn) -> FlowMod:
    header = draw(st.sampled_from(HEADERS))
    return FlowMod(
        cookie=draw(st.sampled_from([0, 5, (1 << 64) - 1])),
        table=draw(st.integers(0, 99)),
        priority=draw(st.sampled_from([0, 1, 0x8000, 0xFFFF])),
        idle_timeout=draw(st.sampled_from([0, 300])),
        hard_timeout=draw(st.sampled_from([0, 600])),
        flags=draw(st.sampled_from([0, FlowModFlag.SEND_FLOW_REM])),
        match=draw(matches(header)),
        instructions=draw(instructions(header[0])),
    )


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    with private_switch() as switch:
        switch.ofctl("add-group", "group_id=1,type=all,bucket=actions=output:1")
        yield switch


async def install_and_dump(switch: Switch, mod: FlowMod) -> list[FlowEntry]:
    connection = await switch.connect()
    try:
        await connection.bundle([FlowMod(command=FlowModCommand.DELETE, table=255), mod])
        bodies = await connection.multipart(FlowRequest())
    finally:
        connection.close()
        await connection.wait_closed()
    return [entry for body in bodies for entry in flow_entries(body)]


def printed(entry: FlowEntry) -> str:
    return format_flow(
        entry.table,
        entry.priority,
        entry.cookie,
        entry.match,
        entry.instructions,
        idle_timeout=entry.idle_timeout,
        hard_timeout=entry.hard_timeout,
        flags=entry.flags,
    )


def check(switch: Switch, mod: FlowMod) -> None:
    (entry,) = asyncio.run(install_and_dump(switch, mod))
    assert isinstance(mod.match, Match)
    assert entry.match.hex() == encode_match(mod.match).hex()
    assert entry.instructions.hex() == encode_instructions(mod.instructions).hex()
    assert decode_match(entry.match) == mod.match
    assert encode_instructions(decode_instructions(entry.instructions)) == entry.instructions
    assert printed(entry) == switch.ofctl("dump-flows", "--no-stats").strip()


@slow
@given(mod=flow_mods())
def test_a_flow_dumps_as_it_was_encoded(switch: Switch, mod: FlowMod) -> None:
    check(switch, mod)


def test_every_clause_of_a_conjunction_dumps_as_it_was_encoded(switch: Switch) -> None:
    clauses = (Conjunction(7, 1, 2), Conjunction(9, 3, 3))
    check(switch, FlowMod(match=Match(eth_type=0x0800), instructions=(ApplyActions(clauses),)))


@st.composite
def group_mods(draw: st.DrawFn) -> GroupMod:
    kind = draw(st.sampled_from(GroupType))
    bucket = st.builds(
        Bucket,
        actions=actions({}),
        weight=st.integers(1, 9) if kind == GroupType.SELECT else st.just(0),
        watch_port=st.integers(1, 8) if kind == GroupType.FAST_FAILOVER else st.just(int(Port.ANY)),
    )
    sizes = (1, 1) if kind == GroupType.INDIRECT else (0, 4)
    buckets = draw(st.lists(bucket, min_size=sizes[0], max_size=sizes[1]))
    return GroupMod(GroupModCommand.ADD, kind, draw(st.integers(2, 0xFFFFFF00)), tuple(buckets))


async def install_and_dump_group(switch: Switch, mod: GroupMod) -> list[GroupEntry]:
    connection = await switch.connect()
    try:
        await connection.bundle([mod])
        bodies = await connection.multipart(GroupDescRequest())
    finally:
        connection.close()
        await connection.wait_closed()
    return [entry for body in bodies for entry in group_entries(body) if entry.group_id == mod.group_id]


@slow
@given(mod=group_mods())
def test_a_group_dumps_as_it_was_encoded(switch: Switch, mod: GroupMod) -> None:
    (entry,) = asyncio.run(install_and_dump_group(switch, mod))
    lines = switch.ofctl("dump-groups").splitlines()[1:]
    switch.ofctl("del-groups", f"group_id={mod.group_id}")
    assert entry.type == mod.type
    assert entry.buckets.hex() == encode_buckets(mod.buckets).hex()
    assert encode_buckets(decode_buckets(entry.buckets)) == entry.buckets
    shown = format_group(entry.group_id, entry.type, entry.buckets)
    assert shown in [line.strip() for line in lines]
