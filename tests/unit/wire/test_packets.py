"""Ethernet, ARP, IPv4 and UDP: the same bytes as another implementation (os-ken), both ways, and garbage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import arp as oracle_arp
from os_ken.lib.packet import ethernet as oracle_ethernet
from os_ken.lib.packet import ipv4 as oracle_ipv4
from os_ken.lib.packet import packet as oracle
from os_ken.lib.packet import udp as oracle_udp
from os_ken.lib.packet import vlan as oracle_vlan

from vlcp.wire import WireError, arp, ethernet, ipv4, udp
from vlcp.wire.ethernet import format_mac, parse_mac
from vlcp.wire.ipv4 import format_address, parse_address

macs = st.integers(0, 2**48 - 1)
addresses = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 0xFFFF)
bytes_ = st.binary(max_size=60)

frames = st.builds(
    ethernet.Frame,
    macs,
    macs,
    u16.filter(lambda number: number != ethernet.VLAN),
    bytes_,
    st.none() | u16,
)
arps = st.builds(arp.Packet, u16, macs, addresses, macs, addresses)
packets = st.builds(
    ipv4.Packet,
    source=addresses,
    destination=addresses,
    protocol=st.integers(0, 255),
    payload=bytes_,
    ttl=st.integers(0, 255),
    identification=u16,
    service=st.integers(0, 255),
    flags=st.integers(0, 7),
    fragment_offset=st.integers(0, 0x1FFF),
    options=st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
)
datagrams = st.builds(udp.Datagram, u16, u16, bytes_)


@given(macs)
def test_mac_addresses_as_text(number: int) -> None:
    assert parse_mac(format_mac(number)) == number
    assert parse_mac(format_mac(number).upper()) == number


@given(addresses)
def test_ip_addresses_as_text(number: int) -> None:
    assert parse_address(format_address(number)) == number


def test_what_is_no_address() -> None:
    assert format_mac(parse_mac("02:00:5E:00:00:0a")) == "02:00:5e:00:00:0a"
    assert format_address(parse_address("192.0.2.1")) == "192.0.2.1"
    for text in ("", "02:00:00:00:00", "02-00-00-00-00-01", "02:00:00:00:00:0g", "0200.0000.0001"):
        with pytest.raises(WireError, match="is not a MAC address such as"):
            parse_mac(text)
    for text in ("", "1.2.3", "1.2.3.256", "1.2.3.4 ", "1.2.3.4.5", "1.2.3.-4", "١.1.1.1"):
        with pytest.raises(WireError, match="is not an IPv4 address such as"):
            parse_address(text)
    for call in (format_mac, format_address):
        for number in (-1, 2**48):
            with pytest.raises(WireError, match="bits"):
                call(number)


@given(frames)
def test_frames(frame: ethernet.Frame) -> None:
    assert ethernet.Frame.unpack(frame.pack()) == frame


@given(arps)
def test_arp(packet: arp.Packet) -> None:
    assert arp.Packet.unpack(packet.pack() + bytes(18)) == packet


@given(packets)
def test_ipv4(packet: ipv4.Packet) -> None:
    assert ipv4.Packet.unpack(packet.pack() + bytes(6)) == packet


@given(datagrams, addresses, addresses)
def test_udp(datagram: udp.Datagram, source: int, destination: int) -> None:
    assert udp.Datagram.unpack(datagram.pack(source, destination), source, destination) == datagram


@given(st.none() | st.integers(0, 4095), datagrams, packets)
def test_the_bytes_are_those_of_os_ken(vlan: int | None, datagram: udp.Datagram, around: ipv4.Packet) -> None:
    packet = ipv4.Packet(
        source=around.source,
        destination=around.destination,
        protocol=ipv4.UDP,
        payload=datagram.pack(around.source, around.destination),
        ttl=around.ttl,
        identification=around.identification,
        flags=ipv4.DONT_FRAGMENT,
    )
    frame = ethernet.Frame(2, 3, ethernet.IPV4, packet.pack(), vlan)

    theirs = oracle.Packet()
    kind = ethernet.IPV4 if vlan is None else ethernet.VLAN
    theirs.add_protocol(oracle_ethernet.ethernet("00:00:00:00:00:02", "00:00:00:00:00:03", kind))
    if vlan is not None:
        theirs.add_protocol(oracle_vlan.vlan(vid=vlan, ethertype=ethernet.IPV4))
    theirs.add_protocol(
        oracle_ipv4.ipv4(
            src=format_address(packet.source),
            dst=format_address(packet.destination),
            proto=17,
            ttl=packet.ttl,
            identification=packet.identification,
            flags=2,
        )
    )
    theirs.add_protocol(oracle_udp.udp(datagram.source_port, datagram.destination_port))
    theirs.add_protocol(datagram.payload)
    theirs.serialize()
    assert frame.pack().ljust(60, b"\0") == bytes(theirs.data).ljust(60, b"\0")  # theirs is padded


@given(arps)
def test_arp_is_that_of_os_ken(packet: arp.Packet) -> None:
    theirs = oracle_arp.arp(
        opcode=packet.operation,
        src_mac=format_mac(packet.sender_mac),
        src_ip=format_address(packet.sender_address),
        dst_mac=format_mac(packet.target_mac),
        dst_ip=format_address(packet.target_address),
    )
    assert packet.pack() == theirs.serialize(None, None)


def test_a_checksum_done_by_hand() -> None:
    # The example of RFC 1071 section 3: the sum is ddf2.
    assert ipv4.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert ipv4.checksum(b"\xff") == 0x00FF


def test_a_udp_checksum_of_zero_is_sent_as_ones() -> None:
    port = next(p for p in range(65536) if udp.Datagram(p, 0, b"").pack(0, 0)[6:8] == b"\xff\xff")
    assert udp.Datagram.unpack(udp.Datagram(port, 0, b"").pack(0, 0), 0, 0).source_port == port


def test_vlan_and_priority_of_a_tag() -> None:
    assert ethernet.Frame(0, 0, 0x800, b"", 5 << 13 | 100).vlan == 100
    assert ethernet.Frame(0, 0, 0x800, b"", 5 << 13).vlan is None
    assert ethernet.Frame(0, 0, 0x800, b"").vlan is None


@pytest.mark.parametrize(
    "unpack",
    [
        ethernet.Frame.unpack,
        arp.Packet.unpack,
        ipv4.Packet.unpack,
        udp.Datagram.unpack,
        lambda data: udp.Datagram.unpack(data, 1, 2),
    ],
)
@given(data=st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\x45\0\0\x20" + tail))
def test_garbage_is_a_wire_error(unpack: Callable[[bytes], Any], data: bytes) -> None:
    try:
        unpack(data)
    except WireError:
        pass


def test_damage_is_noticed() -> None:
    packet = ipv4.Packet(1, 2, ipv4.UDP, udp.Datagram(67, 68, b"hello").pack(1, 2)).pack()
    with pytest.raises(WireError, match="wrong header checksum"):
        ipv4.Packet.unpack(packet[:8] + b"\x01" + packet[9:])
    with pytest.raises(WireError, match="length 33"):
        ipv4.Packet.unpack(packet[:-1])
    with pytest.raises(WireError, match="UDP: wrong checksum"):
        udp.Datagram.unpack(packet[20:-1] + b"!", 1, 2)
    assert udp.Datagram.unpack(packet[20:-1] + b"!").payload == b"hell!"  # a sender with offload


@pytest.mark.parametrize(
    ("pack", "what"),
    [
        (ethernet.Frame(2**48, 0, 0, b"").pack, "destination"),
        (ethernet.Frame(0, 0, 0x10000, b"").pack, "ethertype 65536"),
        (arp.Packet(1, 0, 0, -1, 0).pack, "target_mac"),
        (arp.Packet(1, 0, 2**32, 0, 0).pack, "sender_address=4294967296"),
        (ipv4.Packet(0, 0, 256, b"").pack, "protocol=256"),
        (ipv4.Packet(0, 0, 0, bytes(65520)).pack, "does not fit"),
        (ipv4.Packet(0, 0, 0, b"", options=b"x").pack, "options of 1 bytes"),
        (lambda: udp.Datagram(70000, 0, b"").pack(0, 0), "source_port=70000"),
    ],
)
def test_a_value_that_does_not_fit_is_named(pack: Callable[[], bytes], what: str) -> None:
    with pytest.raises(WireError, match=what):
        pack()
