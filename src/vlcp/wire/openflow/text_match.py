"""Matches as ovs-ofctl(8) writes them."""

from __future__ import annotations

from collections.abc import Iterator

from vlcp.wire.openflow import text_values
from vlcp.wire.openflow.fields import FIELDS, Value
from vlcp.wire.openflow.match import Match, decode_match
from vlcp.wire.records import Buffer

_PROTOCOLS: dict[int, tuple[str, dict[int, str]]] = {
    0x0800: ("ip", {1: "icmp", 6: "tcp", 17: "udp", 132: "sctp"}),
    0x86DD: ("ipv6", {6: "tcp6", 17: "udp6", 58: "icmp6", 132: "sctp6"}),
    0x0806: ("arp", {}),
    0x8035: ("rarp", {}),
    0x8847: ("mpls", {}),
    0x8848: ("mplsm", {}),
}
_ABBREVIATIONS = frozenset(name for _, protocols in _PROTOCOLS.values() for name in protocols.values())

_BEFORE_PROTOCOL = (
    "pkt_mark recirc_id dp_hash conj_id actset_output ct_state ct_zone ct_mark ct_label ct_nw_src ct_ipv6_src ct_nw_dst"
    " ct_ipv6_dst ct_nw_proto ct_tp_src ct_tp_dst"
).split()
_AFTER_PROTOCOL = [
    *(f"reg{number}" for number in range(16)),
    *"tunnel_id tun_src tun_dst tun_ipv6_src tun_ipv6_dst tun_gbp_id tun_gbp_flags tun_flags metadata in_port".split(),
]
_HEADERS = (
    "eth_src eth_dst eth_type ipv4_src ipv4_dst ipv6_src ipv6_dst ipv6_flabel arp_spa arp_tpa ip_proto arp_op"
    " arp_sha arp_tha ip_dscp ip_ecn ip_ttl mpls_label mpls_tc mpls_ttl mpls_bos ip_frag icmpv4_type icmpv4_code"
    " icmpv6_type icmpv6_code ipv6_nd_target ipv6_nd_sll ipv6_nd_tll tcp_src tcp_dst udp_src udp_dst sctp_src sctp_dst"
    " tcp_flags"
).split()
_LABELS = {  # where a match calls a field otherwise than an action does
    "in_port": "in_port",
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "eth_type": "dl_type",
    "ipv4_src": "nw_src",
    "ipv4_dst": "nw_dst",
    "ip_dscp": "nw_tos",
    "ip_frag": "nw_frag",
    "icmpv6_type": "icmp_type",
    "icmpv6_code": "icmp_code",
    **{f"{protocol}_{end}": f"tp_{end}" for protocol in ("tcp", "udp", "sctp") for end in ("src", "dst")},
}
_KNOWN = frozenset((*_BEFORE_PROTOCOL, *_AFTER_PROTOCOL, *_HEADERS, "vlan_vid", "vlan_pcp"))


def format_match(match: Match | Buffer) -> str:
    """The match, fields separated by commas; empty when everything matches."""
    match = match if isinstance(match, Match) else decode_match(match)
    return ",".join(_parts(match))


def _parts(match: Match) -> Iterator[str]:
    abbreviation = _abbreviation(match)
    covered = _covered(abbreviation)
    yield from (_part(name, match) for name in _BEFORE_PROTOCOL if name in match)
    if abbreviation:
        yield abbreviation
    yield from (_part(name, match) for name in _AFTER_PROTOCOL if name in match)
    yield from _vlan(match)
    yield from (_part(name, match) for name in _HEADERS if name in match and name not in covered)
    yield from (f"{name}={_unknown(content)}" for name, content in match.fields if name not in _KNOWN)


def _abbreviation(match: Match) -> str:
    """The word for the protocol, empty when there is none."""
    word, transports = _PROTOCOLS.get(match.number("eth_type"), ("", {}))
    return transports.get(match.number("ip_proto", -1), word)


def _covered(abbreviation: str) -> tuple[str, ...]:
    """The fields that the protocol's word already says."""
    if abbreviation in _ABBREVIATIONS:
        return "eth_type", "ip_proto"
    return ("eth_type",) if abbreviation else ()


def _part(name: str, match: Match) -> str:
    content = match.get(name)
    assert content is not None
    return f"{_LABELS.get(name) or FIELDS[name].label}={_value(name, content)}"


def _value(name: str, content: Value) -> str:
    if isinstance(content, tuple):
        if name == "ipv6_flabel":
            return f"{content[0]:#07x}/{content[1]:#07x}"
        if name == "tun_gbp_flags":
            return f"{text_values.hexadecimal(content[0])}"  # the switch leaves the mask out
    elif name == "ipv6_flabel":
        return f"{content:#07x}"
    elif name == "ip_dscp":
        return str(content << 2)
    elif name == "eth_type":
        return f"{content:#06x}"
    return text_values.value(FIELDS[name], content)


def _vlan(match: Match) -> Iterator[str]:
    """Number and priority apart where each is matched as a whole, otherwise the tag as one number."""
    vid, pcp = match.get("vlan_vid"), match.get("vlan_pcp")
    if vid is None:
        return
    tag, mask = vid if isinstance(vid, tuple) else (vid, 0x1FFF)
    if isinstance(pcp, int):
        tag, mask = tag | pcp << 13, mask | 0xE000
    if tag & mask & 0x1000 and mask & 0xFFF in (0, 0xFFF) and mask != 0x1000:
        if mask & 0xFFF:
            yield f"dl_vlan={tag & 0xFFF}"
        if mask & 0xE000:
            yield f"dl_vlan_pcp={tag >> 13}"
    else:
        yield f"vlan_tci={tag:#06x}/{mask:#06x}"


def _unknown(content: Value) -> str:
    return "/".join(map(text_values.hexadecimal, content if isinstance(content, tuple) else (content,)))
