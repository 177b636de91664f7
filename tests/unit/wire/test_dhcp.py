"""DHCP messages: both ways, compared with another implementation (os-ken), overloaded and long options, garbage."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import dhcp as oracle

from vlcp.wire import WireError, dhcp
from vlcp.wire.dhcp import ALWAYS_ACCEPTED, Message, MessageType, Option, Route
from vlcp.wire.ipv4 import parse_address

codes = st.integers(1, 254).filter(lambda code: code != Option.OVERLOAD)
addresses = st.integers(0, 2**32 - 1)
names = st.binary(max_size=64).map(lambda name: name.replace(b"\0", b"x"))
options = st.dictionaries(codes, st.binary(max_size=300), max_size=6)


def messages(
    options: st.SearchStrategy[dict[int, bytes]], **fields: st.SearchStrategy[bytes]
) -> st.SearchStrategy[Message]:
    return st.builds(
        Message,
        op=st.sampled_from([dhcp.BOOT_REQUEST, dhcp.BOOT_REPLY]),
        xid=addresses,
        hardware_address=st.binary(max_size=16),
        hops=st.integers(0, 255),
        seconds=st.integers(0, 0xFFFF),
        flags=st.sampled_from([0, dhcp.BROADCAST_FLAG]),
        ciaddr=addresses,
        yiaddr=addresses,
        siaddr=addresses,
        giaddr=addresses,
        options=options,
        **fields,
    )


@given(messages(options, server_name=names, boot_file=names))
def test_messages_both_ways(message: Message) -> None:
    data = message.pack(limit=1 << 16)
    assert len(data) >= 300
    again = Message.unpack(data)
    assert again == message
    assert list(again.options) == list(message.options)


@given(messages(options), st.integers(300, 1400))
def test_a_limit_is_kept_and_nothing_is_lost(message: Message, limit: int) -> None:
    try:
        data = message.pack(limit)
    except WireError:  # more than fits, though each of the three areas may have some bytes left
        assert sum(len(value) + 2 for value in message.options.values()) > limit - 241
        return
    assert len(data) <= limit
    assert Message.unpack(data) == message


def test_overload_uses_the_boot_file_then_the_server_name() -> None:
    # Option 100 takes 252 of the 307 bytes behind the header, 101 takes 102 of 127, and 102 takes 62 of 63.
    options = {53: b"\x02", 100: b"a" * 250, 101: b"b" * 100}
    message = Message(op=2, xid=1, hardware_address=bytes(6), options=options)
    packed = message.pack()
    assert packed[240:243] == b"\x35\x01\x02"
    assert packed[108:212] == b"\x65\x64" + b"b" * 100 + b"\xff\x00"
    assert packed[44:108] == bytes(64)
    assert packed.endswith(b"aaa\x34\x01\x01\xff")
    assert Message.unpack(packed) == message

    more = Message(op=2, xid=1, hardware_address=bytes(6), options={**options, 102: b"c" * 60})
    packed = more.pack()
    assert packed[44:108] == b"\x66\x3c" + b"c" * 60 + b"\xff\x00"
    assert packed.endswith(b"aaa\x34\x01\x03\xff")
    assert Message.unpack(packed) == more

    roomy = more.pack(limit=700)
    assert roomy[44:236] == bytes(192)
    assert Option.OVERLOAD not in roomy[240:]
    assert Message.unpack(roomy) == more


def test_a_boot_file_of_its_own_is_not_overloaded() -> None:
    many = dict.fromkeys(range(100, 105), b"x" * 60)
    message = Message(op=2, xid=1, hardware_address=bytes(6), boot_file=b"pxelinux.0", options=many)
    packed = message.pack()
    assert packed[108:118] == b"pxelinux.0"
    assert packed[44:46] == b"\x68\x3c"
    assert Message.unpack(packed) == message
    with pytest.raises(WireError, match="no room for option 105 of 60 bytes"):
        Message(op=2, xid=1, hardware_address=b"", boot_file=b"x", options={**many, 105: b"y" * 60}).pack()


def test_long_options_are_divided_and_joined() -> None:
    value = bytes(range(256)) * 2
    data = Message(op=2, xid=1, hardware_address=b"", options={121: value}).pack(limit=1400)
    assert data[240:242] == bytes([121, 255])
    assert data[240 + 257 : 240 + 259] == bytes([121, 255])
    assert data[240 + 514 : 240 + 516] == bytes([121, 2])
    assert Message.unpack(data).options == {121: value}
    # Also over the areas of the header, in the order options, boot file, server name.
    packed = Message(op=2, xid=1, hardware_address=b"", options={121: value[:450]}).pack()
    assert len(packed) <= ALWAYS_ACCEPTED
    assert Message.unpack(packed).options == {121: value[:450]}


def text(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4, "big")))


@given(messages(st.dictionaries(codes, st.binary(min_size=1, max_size=20), max_size=4)))
def test_os_ken_reads_the_same(message: Message) -> None:
    message = Message(
        op=message.op,
        xid=message.xid,
        hardware_address=bytes(range(6)),
        yiaddr=message.yiaddr,
        options=message.options,
    )
    theirs, _, _ = oracle.dhcp.parser(message.pack())
    assert (theirs.op, theirs.xid, theirs.chaddr) == (message.op, message.xid, "00:01:02:03:04:05")
    assert theirs.yiaddr == text(message.yiaddr)
    assert {o.tag: o.value for o in theirs.options.option_list} == message.options


def test_we_read_what_os_ken_writes() -> None:
    option_list = [
        oracle.option(53, b"\x03"),
        oracle.option(50, b"\x0a\0\0\x05"),
        oracle.option(55, b"\x01\x03\x06"),
    ]
    theirs = oracle.dhcp(
        op=1,
        chaddr="02:00:00:00:00:07",
        hlen=6,
        xid=7,
        flags=0x8000,
        ciaddr="10.0.0.9",
        options=oracle.options(option_list),
    )
    message = Message.unpack(bytes(theirs.serialize()))
    assert message == Message(
        op=dhcp.BOOT_REQUEST,
        xid=7,
        hardware_address=bytes.fromhex("020000000007"),
        flags=dhcp.BROADCAST_FLAG,
        ciaddr=parse_address("10.0.0.9"),
        options={53: b"\x03", 50: b"\x0a\0\0\x05", 55: b"\x01\x03\x06"},
    )
    assert message.message_type is MessageType.REQUEST


HEADER = struct.pack("!BBBBIHHIIII16s64s128s", 1, 1, 6, 0, 1, 0, 0, 0, 0, 0, 0, b"", b"name\0junk", b"")
COOKIE = b"\x63\x82\x53\x63"


def test_what_some_clients_do() -> None:
    assert Message.unpack(HEADER + COOKIE).server_name == b"name"
    padded = Message.unpack(
        HEADER + COOKIE + b"\0\0\x35\x01\x01\0\0\x0c\0"
    )  # pads between, an empty option, no end
    assert padded.options == {53: b"\x01", 12: b""}
    assert padded.message_type is MessageType.DISCOVER
    assert Message.unpack(HEADER + COOKIE + b"\x35\x01\x63\xff").message_type is None
    assert Message.unpack(HEADER + COOKIE + b"\xff").message_type is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "0 bytes, fewer than a header of 240"),
        (HEADER + b"cook", "cookie 636f6f6b"),
        (HEADER[:2] + b"\x11" + HEADER[3:] + COOKIE, "hardware address of 17 bytes"),
        (HEADER + COOKIE + b"\x35", "option 53 of 0 bytes reaches over the end"),
        (HEADER + COOKIE + b"\x35\x02\x01", "option 53 of 2 bytes reaches over the end"),
    ],
)
def test_wrong_messages(data: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        Message.unpack(data)


@given(
    st.binary(max_size=300).map(lambda tail: HEADER + COOKIE + tail) | st.binary(min_size=230, max_size=600)
)
def test_garbage_is_a_wire_error(data: bytes) -> None:
    try:
        message = Message.unpack(data)
    except WireError:
        return
    assert Message.unpack(message.pack(1 << 16)) == message


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Message(op=1, xid=2**32, hardware_address=b""), "xid=4294967296"),
        (Message(op=1, xid=0, hardware_address=bytes(17)), "hardware_address has 17 bytes"),
        (Message(op=1, xid=0, hardware_address=b"", boot_file=bytes(129)), "boot_file has 129 bytes"),
        (Message(op=1, xid=0, hardware_address=b"", options={52: b"\x01"}), "52 is not the code"),
        (Message(op=1, xid=0, hardware_address=b"", options={255: b""}), "255 is not the code"),
        (
            Message(op=1, xid=0, hardware_address=b"", options={1: b"x" * 900}),
            "no room for option 1 of 900 bytes",
        ),
    ],
)
def test_what_does_not_fit_is_named(message: Message, what: str) -> None:
    with pytest.raises(WireError, match=what):
        message.pack()


routes = st.builds(
    lambda network, length, hop: Route(network & ~(0xFFFFFFFF >> length), length, hop),
    addresses,
    st.integers(0, 32),
    addresses,
)


@given(st.lists(routes, max_size=8))
def test_routes(several: list[Route]) -> None:
    assert dhcp.unpack_routes(dhcp.pack_routes(several)) == several


def test_routes_as_in_the_table_of_rfc_3442() -> None:
    for prefix, length, descriptor in (
        ("0.0.0.0", 0, "00"),
        ("10.0.0.0", 8, "080a"),
        ("10.0.0.0", 24, "180a0000"),
        ("10.17.0.0", 16, "100a11"),
        ("10.27.129.0", 24, "180a1b81"),
        ("10.229.0.128", 25, "190ae50080"),
        ("10.198.122.47", 32, "200ac67a2f"),
    ):
        route = Route(parse_address(prefix), length, parse_address("192.0.2.1"))
        assert dhcp.pack_routes([route]).hex() == descriptor + "c0000201"


def test_values_of_options() -> None:
    assert (
        dhcp.pack_addresses([parse_address("10.0.0.1"), parse_address("10.0.0.2")]).hex()
        == "0a0000010a000002"
    )
    assert dhcp.unpack_addresses(bytes.fromhex("0a0000010a000002")) == [0x0A000001, 0x0A000002]
    assert (dhcp.pack_number(1450, 2).hex(), dhcp.unpack_number(b"\x05\xaa", 2)) == ("05aa", 1450)
    assert dhcp.pack_number(-3600, 4).hex() == "fffff1f0"
    assert (dhcp.pack_text("héllo"), dhcp.unpack_text(b"host\0\xff")) == ("héllo".encode(), "host")


@pytest.mark.parametrize(
    "call",
    [
        lambda: dhcp.pack_number(256, 1),
        lambda: dhcp.unpack_number(b"\0", 4),
        lambda: dhcp.unpack_addresses(b""),
        lambda: dhcp.unpack_addresses(b"12345"),
        lambda: dhcp.pack_addresses([2**32]),
        lambda: dhcp.pack_routes([Route(1, 24, 0)]),
        lambda: dhcp.pack_routes([Route(0, 33, 0)]),
        lambda: dhcp.unpack_routes(b"\x21" + bytes(9)),
        lambda: dhcp.unpack_routes(b"\x18\x0a\0\0\x01"),
    ],
)
def test_values_that_are_not_right(call: Callable[[], object]) -> None:
    with pytest.raises(WireError):
        call()
