"""Addresses: text to numbers and back, against the standard library."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from vlcp.model.addresses import format_address, parse_address, parse_mac, parse_prefix

addresses = st.integers(0, 0xFFFFFFFF)


@given(addresses)
def test_addresses_round_trip(address: int) -> None:
    assert format_address(address) == str(ipaddress.IPv4Address(address))
    assert parse_address(format_address(address)) == address


@given(addresses, st.integers(0, 32))
def test_prefixes(address: int, length: int) -> None:
    expected = ipaddress.IPv4Network((address, length), strict=False)
    prefix = parse_prefix(f"{format_address(address)}/{length}")
    assert str(prefix) == str(expected)
    assert (prefix.network, prefix.last) == (int(expected[0]), int(expected[-1]))
    assert address in prefix
    assert all(outside not in prefix for outside in (prefix.network - 1, prefix.last + 1, "10.0.0.1"))
    hosts = [int(host) for host in expected.hosts()] if length >= 20 else None
    if hosts is not None:
        assert prefix.hosts == (hosts[0], hosts[-1])


@given(st.binary(min_size=6, max_size=6).filter(lambda mac: not mac[0] & 1 and any(mac)))
def test_mac_addresses(mac: bytes) -> None:
    plain = mac.hex()
    dotted = ".".join(plain[i : i + 4] for i in (0, 4, 8))
    for text in (mac.hex(":"), mac.hex("-"), dotted, mac.hex(":").upper()):
        assert parse_mac(text) == mac.hex(":")
