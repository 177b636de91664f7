"""Ethernet frames with at most one VLAN tag (IEEE 802.3, 802.1Q). MAC addresses are numbers of 48 bits."""

from __future__ import annotations

import re
import struct

import msgspec

from vlcp.wire import WireError

BROADCAST = 0xFFFF_FFFF_FFFF

IPV4 = 0x0800
ARP = 0x0806
VLAN = 0x8100

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_HEADER = struct.Struct("!6s6sH")
_TAGGED_HEADER = struct.Struct("!6s6sHHH")


def parse_mac(text: str) -> int:
    """The number of a MAC address such as `02:00:00:00:00:01`."""
    if not _MAC.fullmatch(text):
        raise WireError(f"{text!r} is not a MAC address such as 02:00:00:00:00:01")
    return int(text.replace(":", ""), 16)


def format_mac(number: int) -> str:
    """The text of a MAC address, in lower case."""
    return mac_bytes(number, "MAC address").hex(":")


def mac_bytes(number: int, what: str) -> bytes:
    """The six bytes of a MAC address; `what` names it in the `WireError` of a number that does not fit."""
    try:
        return number.to_bytes(6, "big")
    except OverflowError:
        raise WireError(f"{what}: {number!r} is not a number of 48 bits") from None


class Frame(msgspec.Struct, frozen=True):
    """A frame without preamble and check sequence.

    `tag`: the VLAN's id, plus its priority shifted by 13 bits; None without tag. `ethertype`: what the payload is.
    """

    destination: int
    source: int
    ethertype: int
    payload: bytes
    tag: int | None = None

    @property
    def vlan(self) -> int | None:
        """The VLAN id, 1 to 4094; None also for a tag that only tells a priority."""
        return (self.tag or 0) & 0xFFF or None

    def pack(self) -> bytes:
        destination, source = mac_bytes(self.destination, "destination"), mac_bytes(self.source, "source")
        try:
            if self.tag is None:
                header = _HEADER.pack(destination, source, self.ethertype)
            else:
                header = _TAGGED_HEADER.pack(destination, source, VLAN, self.tag, self.ethertype)
        except struct.error:
            raise WireError(
                f"Ethernet: ethertype {self.ethertype!r} or tag {self.tag!r} is not of 16 bits"
            ) from None
        return header + self.payload

    @staticmethod
    def unpack(data: bytes) -> Frame:
        """The frame; padding at its end belongs to the payload, whose own length tells."""
        if len(data) < _HEADER.size:
            raise WireError(f"Ethernet: {len(data)} bytes, fewer than a header of {_HEADER.size}")
        destination, source, ethertype = _HEADER.unpack_from(data)
        tag, start = None, _HEADER.size
        if ethertype == VLAN:
            start = _TAGGED_HEADER.size
            if len(data) < start:
                raise WireError(f"Ethernet: {len(data)} bytes, fewer than a header with VLAN tag of {start}")
            tag, ethertype = struct.unpack_from("!HH", data, _HEADER.size)
        addresses = int.from_bytes(destination, "big"), int.from_bytes(source, "big")
        return Frame(*addresses, ethertype, bytes(data[start:]), tag)
