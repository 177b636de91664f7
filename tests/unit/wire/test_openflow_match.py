"""Matches and fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.wire.openflow import FIELDS, Match, Value, WireError, decode_match, encode_match


def test_a_match_is_encoded_in_the_order_of_the_switch() -> None:
    match = Match(reg7=(0x4000, 0x4000), eth_dst=(1 << 40, 1 << 40), in_port=3)
    assert [name for name, _ in match.fields] == ["in_port", "eth_dst", "reg7"]
    assert encode_match(match).hex() == (
        "0001002880000004000000038000070c01000000000001000000000000010f080000400000004000"
    )


def test_equal_matches_are_equal_whatever_the_order() -> None:
    assert Match(reg1=1, reg2=2) == Match(reg2=2, reg1=1)
    assert hash(Match(reg1=1, reg2=2)) == hash(Match(reg2=2, reg1=1))
    assert Match(reg1=1) != Match(reg1=(1, 1))


def test_masks_take_their_normal_form() -> None:
    assert Match(reg1=(5, 0xFFFFFFFF)) == Match(reg1=5)
    assert Match(reg1=(0, 0), reg2=1) == Match(reg2=1)
    assert Match(ct_state=0x21) == Match(ct_state=(0x21, 0xFF))


def test_an_empty_match_has_its_padding() -> None:
    assert encode_match(Match()).hex() == "0001000400000000"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"nw_dst": 1}, "unknown field 'nw_dst'"),
        ({"reg1": 1 << 32}, "reg1: value 4294967296 is not a number from 0 to 0xffffffff"),
        ({"reg1": -1}, "reg1: value -1"),
        ({"reg1": "x"}, "reg1: value 'x'"),
        ({"reg1": (2, 1)}, "reg1: value 0x2 has bits outside its mask 0x1"),
        ({"in_port": (1, 1)}, "in_port: takes no mask"),
        ({"ipv4_dst": 1}, "ipv4_dst: can only be matched together with eth_type=0x800"),
        ({"tcp_dst": 1, "eth_type": 0x800}, "tcp_dst: can only be matched together with ip_proto=0x6"),
        ({"vlan_vid": 5}, "vlan_vid: 5 lacks the bit 0x1000"),
        ({"vlan_pcp": 5}, "vlan_pcp: can only be matched together with a vlan_vid"),
        ({"xreg0": 5}, "xreg0: cannot be matched"),
    ],
)
def test_what_cannot_be_matched_is_named(fields: dict[str, Value], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Match(**fields)


@st.composite
def register_matches(draw: st.DrawFn) -> Match:
    fields: dict[str, Value] = {}
    names = [f"reg{number}" for number in range(16)] + [
        "metadata",
        "tun_dst",
        "eth_src",
        "ct_label",
        "actset_output",
    ]
    for name in draw(st.sets(st.sampled_from(names))):
        number = draw(st.integers(0, FIELDS[name].limit))
        mask = draw(st.integers(0, FIELDS[name].limit)) if FIELDS[name].maskable else 0
        fields[name] = (number & mask, mask) if mask else number
    return Match(**fields)


@given(match=register_matches())
def test_what_was_encoded_is_decoded_again(match: Match) -> None:
    packed = encode_match(match)
    assert len(packed) % 8 == 0
    assert decode_match(packed) == match
    assert encode_match(decode_match(packed)) == packed


def test_a_field_that_is_not_known_survives() -> None:
    packed = bytes.fromhex("00010016 0001ea04 12345678 ffff0006 00002320 5566 0000")
    match = decode_match(packed)
    assert match.get("oxm_0001ea04") == 0x12345678
    assert match.get("oxm_ffff000600002320") == 0x5566
    assert encode_match(match) == packed


@given(data=st.binary(max_size=60))
def test_garbage_is_refused_or_decoded(data: bytes) -> None:
    try:
        decode_match(b"\0\1" + (4 + len(data)).to_bytes(2, "big") + data + bytes(8))
    except WireError:
        pass
