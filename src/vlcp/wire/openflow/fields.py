"""The fields that Open vSwitch matches and sets: OpenFlow's (OXM) and Nicira's (NXM).

Numbers and widths are those of ovs-fields(7) of Open vSwitch 3.1. The fields stand in the order in which the switch
writes them into a dump over OpenFlow 1.3; text uses another order (`text`). Values are unsigned integers; a masked
value is `(value, mask)`. A field has up to two headers: flow tables and set_field use the OXM one, the older Nicira
actions (reg_move, reg_load, learn ...) the NXM one, where they exist.
"""

from __future__ import annotations

import struct
from functools import cache, partial

import msgspec

Value = int | tuple[int, int]
Requirement = tuple[str, frozenset[int]]
"""A field, and the values of which it must match one."""

_CLASSES = {  # class of a field's long name -> OXM class, experimenter id when the class is 0xffff
    "NXM_OF": (0x0000, 0),
    "NXM_NX": (0x0001, 0),
    "OXM_OF": (0x8000, 0),
    "OXM_OF_PKT": (0x8001, 0),
    "ONFOXM_ET": (0xFFFF, 0x4F4E4600),
}
_HEADER = struct.Struct("!HBB")
_EXPERIMENTER = struct.Struct("!HBBI")


class Header(msgspec.Struct, frozen=True):
    """One encoding of a field: its long name, its header without and with mask, its size in bytes."""

    name: str
    exact: bytes
    masked: bytes
    size: int

    @property
    def number(self) -> int:
        """The header as the 32-bit number that Nicira actions hold."""
        return int.from_bytes(self.exact[:4], "big")


class Field(msgspec.Struct, frozen=True):
    """A field of a packet, or a register.

    `limit`: the largest value. `maskable`: takes arbitrary bitwise masks. `whole`: the mask that a dump writes as
    no mask. `always_masked`: a dump writes a mask even for an exact match. `requires`: what else a match on this
    field must match. `matchable`: False for registers that are a joint view of others. `header` serves matches and
    set_field; `subfield`, and its width `subfield_bits`, the older Nicira actions. `label` and `form`: how text names
    the field and its values.
    """

    name: str
    rank: int
    limit: int
    maskable: bool
    whole: int
    always_masked: bool
    header: Header
    subfield: Header
    label: str
    form: str
    requires: Requirement | None
    matchable: bool
    subfield_bits: int

    def checked(self, value: Value) -> Value | None:
        """The value in the form of a dump; None when it matches everything. ValueError: it cannot be."""
        if isinstance(value, tuple):
            return self._checked_mask(*value)
        self.check_number(value, "value")
        return (value, self.limit) if self.always_masked else value

    def _checked_mask(self, value: int, mask: int) -> Value | None:
        self.check_number(value, "value")
        if mask == self.whole and not self.always_masked:
            return value
        self.check_number(mask, "mask")
        if value & ~mask:
            raise ValueError(f"{self.name}: value {value:#x} has bits outside its mask {mask:#x}")
        if mask and not self.maskable:
            raise ValueError(f"{self.name}: takes no mask, got {mask:#x}")
        return (value, mask) if mask else None

    def check_number(self, value: object, what: str) -> None:
        """ValueError unless `value` is a number that the field can hold."""
        if not isinstance(value, int) or not 0 <= value <= self.limit:
            raise ValueError(f"{self.name}: {what} {value!r} is not a number from 0 to {self.limit:#x}")


FIELDS: dict[str, Field] = {}
"""Every known field by name, in the order of a dump."""
_BY_HEADER: dict[bytes, Field] = {}


def _header(long_name: str, size: int) -> Header:
    name, number, *narrower = long_name.split(":")
    size = int(narrower[0]) if narrower else size
    prefix = max((prefix for prefix in _CLASSES if name.startswith(prefix)), key=len)
    oxm_class, experimenter = _CLASSES[prefix]
    code, extra = (_EXPERIMENTER, (experimenter,)) if oxm_class == 0xFFFF else (_HEADER, ())
    overhead = 4 if extra else 0
    exact = code.pack(oxm_class, int(number) << 1, size + overhead, *extra)
    masked = code.pack(oxm_class, int(number) << 1 | 1, 2 * size + overhead, *extra)
    return Header(name, exact, masked, size)


def _field(
    name: str,
    bits: int,
    *long_names: str,
    form: str = "hex",
    mask: bool = True,
    requires: Requirement | None = None,
    label: str = "",
    size: int = 0,
    whole: int = 0,
    always_masked: bool = False,
    matchable: bool = True,
    subfield_bits: int = 0,
) -> None:
    """Add a field of `bits` used bits in `size` bytes. `long_names`: OXM and NXM names, each with its number.

    A second number is the size in bytes, where a header has its own.
    """
    headers = [_header(long_name, size or (bits + 7) // 8) for long_name in long_names]
    limit = (1 << bits) - 1
    field = Field(
        name=name,
        rank=len(FIELDS),
        limit=limit,
        maskable=mask,
        whole=whole or limit,
        always_masked=always_masked,
        header=headers[0],
        subfield=headers[-1],
        label=label or name,
        form=form,
        requires=requires,
        matchable=matchable,
        subfield_bits=subfield_bits or bits,
    )
    _add(field)


def _add(field: Field) -> None:
    FIELDS[field.name] = field
    for header in (field.header, field.subfield):
        _BY_HEADER[header.exact] = _BY_HEADER[header.masked] = field


_decimal = partial(_field, form="decimal", mask=False)
_maskable = partial(_field, form="decimal")


def _port(name: str, *long_names: str, label: str = "", subfield_bits: int = 32) -> None:
    _field(name, 32, *long_names, form="port", mask=False, label=label, subfield_bits=subfield_bits)


def _ethernet(name: str, *long_names: str, requires: Requirement | None = None, label: str = "") -> None:
    _field(name, 48, *long_names, form="ethernet", requires=requires, label=label)


def _ipv4(name: str, *long_names: str, requires: Requirement | None = None, label: str = "") -> None:
    _field(name, 32, *long_names, form="ipv4", requires=requires, label=label)


def _ipv6(name: str, *long_names: str, requires: Requirement | None = None, label: str = "") -> None:
    _field(name, 128, *long_names, form="ipv6", requires=requires, label=label)


def _when(name: str, *values: int) -> Requirement:
    return name, frozenset(values)


_MPLS = _when("eth_type", 0x8847, 0x8848)
_IP, _IPV4, _IPV6 = _when("eth_type", 0x0800, 0x86DD), _when("eth_type", 0x0800), _when("eth_type", 0x86DD)
_ARP = _when("eth_type", 0x0806, 0x8035)
_TCP, _UDP, _SCTP = _when("ip_proto", 6), _when("ip_proto", 17), _when("ip_proto", 132)
_ICMP, _ICMPV6 = _when("ip_proto", 1), _when("ip_proto", 58)
_ND = _when("icmpv6_type", 135, 136)

_field("dp_hash", 32, "NXM_NX_DP_HASH:35")
_field("recirc_id", 32, "NXM_NX_RECIRC_ID:36", mask=False)
_decimal("conj_id", 32, "NXM_NX_CONJ_ID:37")
_field(
    "in_port",
    32,
    "OXM_OF_IN_PORT:0",
    "NXM_OF_IN_PORT:0:2",
    form="port",
    mask=False,
    label="in_port_oxm",
    subfield_bits=16,
)
_port("actset_output", "ONFOXM_ET_ACTSET_OUTPUT:43")
_ethernet("eth_src", "OXM_OF_ETH_SRC:4", "NXM_OF_ETH_SRC:2")
_ethernet("eth_dst", "OXM_OF_ETH_DST:3", "NXM_OF_ETH_DST:1")
_field("eth_type", 16, "OXM_OF_ETH_TYPE:5", "NXM_OF_ETH_TYPE:3", mask=False)
_maskable("vlan_vid", 13, "OXM_OF_VLAN_VID:6", subfield_bits=12)
_decimal("vlan_pcp", 3, "OXM_OF_VLAN_PCP:7")
_decimal("mpls_tc", 3, "OXM_OF_MPLS_TC:35", requires=_MPLS)
_decimal("mpls_bos", 1, "OXM_OF_MPLS_BOS:36", requires=_MPLS)
_decimal("mpls_ttl", 8, "NXM_NX_MPLS_TTL:30", requires=_MPLS)
_decimal("mpls_label", 20, "OXM_OF_MPLS_LABEL:34", size=4, requires=_MPLS)
_ipv4("ipv4_src", "OXM_OF_IPV4_SRC:11", "NXM_OF_IP_SRC:7", requires=_IPV4, label="ip_src")
_ipv4("ipv4_dst", "OXM_OF_IPV4_DST:12", "NXM_OF_IP_DST:8", requires=_IPV4, label="ip_dst")
_ipv6("ipv6_src", "OXM_OF_IPV6_SRC:26", "NXM_NX_IPV6_SRC:19", requires=_IPV6)
_ipv6("ipv6_dst", "OXM_OF_IPV6_DST:27", "NXM_NX_IPV6_DST:20", requires=_IPV6)
_field("ip_frag", 2, "NXM_NX_IP_FRAG:26", form="fragment", requires=_IP)
_decimal("ip_dscp", 6, "OXM_OF_IP_DSCP:8", requires=_IP)
_decimal("ip_ecn", 2, "OXM_OF_IP_ECN:9", "NXM_NX_IP_ECN:28", requires=_IP, label="nw_ecn")
_decimal("ip_ttl", 8, "NXM_NX_IP_TTL:29", requires=_IP, label="nw_ttl")
_field(
    "ipv6_flabel",
    20,
    "OXM_OF_IPV6_FLABEL:28",
    "NXM_NX_IPV6_LABEL:27",
    size=4,
    requires=_IPV6,
    label="ipv6_label",
)
_decimal("ip_proto", 8, "OXM_OF_IP_PROTO:10", "NXM_OF_IP_PROTO:6", requires=_IP, label="nw_proto")
_maskable("tcp_src", 16, "OXM_OF_TCP_SRC:13", "NXM_OF_TCP_SRC:9", requires=_TCP)
_maskable("tcp_dst", 16, "OXM_OF_TCP_DST:14", "NXM_OF_TCP_DST:10", requires=_TCP)
_field(
    "tcp_flags",
    12,
    "ONFOXM_ET_TCP_FLAGS:42",
    "NXM_NX_TCP_FLAGS:34",
    form="tcp_flags",
    whole=0xFFFF,
    requires=_TCP,
)
_maskable("udp_src", 16, "OXM_OF_UDP_SRC:15", "NXM_OF_UDP_SRC:11", requires=_UDP)
_maskable("udp_dst", 16, "OXM_OF_UDP_DST:16", "NXM_OF_UDP_DST:12", requires=_UDP)
_maskable("sctp_src", 16, "OXM_OF_SCTP_SRC:17", requires=_SCTP)
_maskable("sctp_dst", 16, "OXM_OF_SCTP_DST:18", requires=_SCTP)
_decimal("icmpv4_type", 8, "OXM_OF_ICMPV4_TYPE:19", "NXM_OF_ICMP_TYPE:13", requires=_ICMP, label="icmp_type")
_decimal("icmpv4_code", 8, "OXM_OF_ICMPV4_CODE:20", "NXM_OF_ICMP_CODE:14", requires=_ICMP, label="icmp_code")
_decimal("icmpv6_type", 8, "OXM_OF_ICMPV6_TYPE:29", "NXM_NX_ICMPV6_TYPE:21", requires=_ICMPV6)
_decimal("icmpv6_code", 8, "OXM_OF_ICMPV6_CODE:30", "NXM_NX_ICMPV6_CODE:22", requires=_ICMPV6)
_ipv6("ipv6_nd_target", "OXM_OF_IPV6_ND_TARGET:31", "NXM_NX_ND_TARGET:23", requires=_ND, label="nd_target")
_ethernet(
    "ipv6_nd_sll",
    "OXM_OF_IPV6_ND_SLL:32",
    "NXM_NX_ND_SLL:24",
    requires=_when("icmpv6_type", 135),
    label="nd_sll",
)
_ethernet(
    "ipv6_nd_tll",
    "OXM_OF_IPV6_ND_TLL:33",
    "NXM_NX_ND_TLL:25",
    requires=_when("icmpv6_type", 136),
    label="nd_tll",
)
_decimal("arp_op", 8, "OXM_OF_ARP_OP:21", "NXM_OF_ARP_OP:15", size=2, subfield_bits=16, requires=_ARP)
_ipv4("arp_spa", "OXM_OF_ARP_SPA:22", "NXM_OF_ARP_SPA:16", requires=_ARP)
_ipv4("arp_tpa", "OXM_OF_ARP_TPA:23", "NXM_OF_ARP_TPA:17", requires=_ARP)
_ethernet("arp_sha", "OXM_OF_ARP_SHA:24", "NXM_NX_ARP_SHA:17", requires=_ARP)
_ethernet("arp_tha", "OXM_OF_ARP_THA:25", "NXM_NX_ARP_THA:18", requires=_ARP)
_field("tunnel_id", 64, "OXM_OF_TUNNEL_ID:38", "NXM_NX_TUN_ID:16", label="tun_id")
_field("tun_flags", 1, "NXM_NX_TUN_FLAGS:104", form="tun_flags", size=2, always_masked=True)
_ipv4("tun_src", "NXM_NX_TUN_IPV4_SRC:31")
_ipv4("tun_dst", "NXM_NX_TUN_IPV4_DST:32")
_ipv6("tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC:109")
_ipv6("tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST:110")
_maskable("tun_gbp_id", 16, "NXM_NX_TUN_GBP_ID:38")
_field("tun_gbp_flags", 8, "NXM_NX_TUN_GBP_FLAGS:39")
for _number in range(16):
    _field(f"reg{_number}", 32, f"NXM_NX_REG{_number}:{_number}")
for _number in range(8):
    _field(f"xreg{_number}", 64, f"OXM_OF_PKT_REG{_number}:{_number}", matchable=False)
for _number in range(4):
    _field(f"xxreg{_number}", 128, f"NXM_NX_XXREG{_number}:{111 + _number}", matchable=False)
_field("pkt_mark", 32, "NXM_NX_PKT_MARK:33")
_field("ct_state", 8, "NXM_NX_CT_STATE:105", form="ct_state", size=4, subfield_bits=32, always_masked=True)
_decimal("ct_zone", 16, "NXM_NX_CT_ZONE:106")
_field("ct_mark", 32, "NXM_NX_CT_MARK:107")
_field("ct_label", 128, "NXM_NX_CT_LABEL:108")
_ipv4("ct_nw_src", "NXM_NX_CT_NW_SRC:120")
_ipv4("ct_nw_dst", "NXM_NX_CT_NW_DST:121")
_ipv6("ct_ipv6_src", "NXM_NX_CT_IPV6_SRC:122")
_ipv6("ct_ipv6_dst", "NXM_NX_CT_IPV6_DST:123")
_decimal("ct_nw_proto", 8, "NXM_NX_CT_NW_PROTO:119")
_maskable("ct_tp_src", 16, "NXM_NX_CT_TP_SRC:124")
_maskable("ct_tp_dst", 16, "NXM_NX_CT_TP_DST:125")
_field("metadata", 64, "OXM_OF_METADATA:2")


def field_named(name: str) -> Field:
    """The field of that name. ValueError: there is none."""
    field = FIELDS.get(name)
    if field is None:
        raise ValueError(f"unknown field {name!r}; see vlcp.wire.openflow.fields.FIELDS")
    return field


def field_of_header(header: bytes) -> Field | None:
    """The field that a header stands for, with or without mask; None when it is unknown."""
    return _BY_HEADER.get(header)


def short_headers() -> dict[bytes, tuple[str, int, bool]]:
    """Every header of 4 bytes: (name of the field, size of the value in bytes, with mask)."""
    return {
        raw: (field.name, header.size, raw == header.masked)
        for field in FIELDS.values()
        for header in (field.header, field.subfield)
        for raw in (header.exact, header.masked)
        if len(raw) == 4
    }


@cache
def subfield_number(name: str) -> int:
    """The 32-bit header by which the older Nicira actions name a field."""
    return int(name, 16) if name.startswith("0x") else field_named(name).subfield.number


def subfield_name(number: int) -> str:
    """The field that the older Nicira actions mean; an unknown one gets a name made of its header."""
    field = _BY_HEADER.get(number.to_bytes(4, "big"))
    return field.name if field else f"{number:#010x}"


def subfield_bits(name: str) -> int:
    """The width of a field in the older Nicira actions."""
    return 8 * (int(name, 16) & 0xFF) if name.startswith("0x") else field_named(name).subfield_bits


def bit_range(field: str, ofs: int, n_bits: int) -> int:
    """First bit and number of bits as one 16-bit number. ValueError: the field does not have them."""
    if not 1 <= n_bits <= 64 or not 0 <= ofs <= subfield_bits(field) - n_bits:
        raise ValueError(f"{field}: has no {n_bits} bits from bit {ofs}")
    return ofs << 6 | n_bits - 1
