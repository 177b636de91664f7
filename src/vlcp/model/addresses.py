"""IPv4 and MAC addresses: from text to numbers and back.

Only the plain forms are accepted: four decimal numbers for IPv4 (no short forms, no leading zeros), `a.b.c.d/p` for a
prefix (RFC 4632), and the three usual ways of writing a MAC address. All functions raise `AddressError` on other text.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_LENGTH = re.compile(r"[0-9]{1,2}")
_MAC = re.compile(
    r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}", re.I
)
_MULTICAST = 0x01
"""The group bit of the first byte of a MAC address (IEEE 802, section 8.2)."""


class AddressError(ValueError):
    """Text that is not an address, or not one that is allowed. The text says what is allowed."""


class Prefix(NamedTuple):
    """An IPv4 prefix: its first address as a number (host bits are 0) and its length, 0 to 32."""

    network: int
    length: int

    @property
    def last(self) -> int:
        """The highest address; the broadcast address, unless the prefix is a /31 or /32."""
        return self.network | (0xFFFFFFFF >> self.length)

    @property
    def hosts(self) -> tuple[int, int]:
        """The first and last address that a machine may have.

        All but the network and the broadcast address. A /31 has neither (RFC 3021), a /32 is one machine.
        """
        if self.length >= 31:
            return self.network, self.last
        return self.network + 1, self.last - 1

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.network <= address <= self.last

    def __str__(self) -> str:
        return f"{format_address(self.network)}/{self.length}"


def parse_address(text: str) -> int:
    """The number of a dotted IPv4 address."""
    try:
        return int(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        raise AddressError("an IPv4 address such as 10.0.0.1") from None


def format_address(address: int) -> str:
    """The dotted form of an IPv4 address."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def parse_prefix(text: str) -> Prefix:
    """The prefix that `a.b.c.d/p` names; host bits are cleared."""
    address, _, length = text.partition("/")
    try:
        number = parse_address(address)
    except AddressError:
        number = None
    if number is None or not _LENGTH.fullmatch(length) or int(length) > 32:
        raise AddressError("a prefix such as 10.0.0.0/24, with a length of at most 32")
    bits = int(length)
    return Prefix(number & ~(0xFFFFFFFF >> bits), bits)


def parse_mac(text: str) -> str:
    """The lower-case colon form of the address of one machine, not of a group and not 00:00:00:00:00:00."""
    if not _MAC.fullmatch(text):
        raise AddressError("a MAC address such as 02:00:00:00:00:01")
    address = bytes.fromhex(re.sub("[:.-]", "", text))
    if address[0] & _MULTICAST:
        raise AddressError("the MAC address of one machine, without the multicast bit")
    if not any(address):
        raise AddressError("a MAC address that is not all zero")
    return address.hex(":")


def mac_number(text: str) -> int:
    """The number of a MAC address in the form that `parse_mac` gives."""
    return int(text.replace(":", ""), 16)


def address_number(text: str) -> int:
    """The number of an IPv4 address in the form that `format_address` gives; quicker than `parse_address`."""
    first, second, third, fourth = text.split(".")
    return int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)
