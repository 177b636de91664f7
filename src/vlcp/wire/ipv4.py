"""IPv4 packets, RFC 791. Addresses are numbers of 32 bits."""

from __future__ import annotations

import re
import struct

import msgspec

from vlcp.wire import WireError

ICMP = 1
TCP = 6
UDP = 17

DONT_FRAGMENT = 2
MORE_FRAGMENTS = 1

BROADCAST = 0xFFFF_FFFF

_ADDRESS = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_HEADER = struct.Struct("!BBHHHBBHII")


def parse_address(text: str) -> int:
    """The number of an address such as `192.0.2.1`."""
    found = _ADDRESS.fullmatch(text)
    parts = [int(part) for part in found.groups()] if found else []
    if not parts or max(parts) > 255:
        raise WireError(f"{text!r} is not an IPv4 address such as 192.0.2.1")
    return int.from_bytes(bytes(parts), "big")


def format_address(number: int) -> str:
    """The text of an address."""
    return ".".join(map(str, address_bytes(number)))


def address_bytes(number: int) -> bytes:
    """The four bytes of an address."""
    try:
        return number.to_bytes(4, "big")
    except OverflowError:
        raise WireError(f"{number!r} is not an IPv4 address: not a number of 32 bits") from None


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071; 0 for data that contains its right checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


class Packet(msgspec.Struct, frozen=True):
    """`service`: differentiated services and congestion bits. `flags`: `DONT_FRAGMENT`, `MORE_FRAGMENTS`.

    `fragment_offset`: in units of 8 bytes. `options`: their bytes, a multiple of 4, at most 40.
    """

    source: int
    destination: int
    protocol: int
    payload: bytes
    ttl: int = 64
    identification: int = 0
    service: int = 0
    flags: int = 0
    fragment_offset: int = 0
    options: bytes = b""

    @property
    def fragmented(self) -> bool:
        """The payload is not whole."""
        return bool(self.flags & MORE_FRAGMENTS or self.fragment_offset)

    def pack(self) -> bytes:
        size = _HEADER.size + len(self.options)
        if size % 4 or size > 60:
            raise WireError(f"IPv4: options of {len(self.options)} bytes, not a multiple of 4 up to 40")
        try:
            header = _HEADER.pack(
                0x40 | size // 4,
                self.service,
                size + len(self.payload),
                self.identification,
                self.flags << 13 | self.fragment_offset,
                self.ttl,
                self.protocol,
                0,
                self.source,
                self.destination,
            )
        except struct.error as error:
            raise WireError(f"IPv4: {self!r:.300} does not fit: {error}") from None
        header += self.options
        return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + self.payload

    @staticmethod
    def unpack(data: bytes) -> Packet:
        """The packet; bytes behind it are the frame's padding. `WireError` also for a wrong checksum."""
        if len(data) < _HEADER.size:
            raise WireError(f"IPv4: {len(data)} bytes, fewer than a header of {_HEADER.size}")
        (version, service, length, identification, fragment, ttl, protocol, _, source, destination) = (
            _HEADER.unpack_from(data)
        )
        size = (version & 0xF) * 4
        if version >> 4 != 4 or size < _HEADER.size:
            raise WireError(f"IPv4: version {version >> 4} with a header of {size} bytes")
        if not size <= length <= len(data):
            raise WireError(f"IPv4: length {length} with a header of {size} bytes, in {len(data)} bytes")
        if checksum(data[:size]):
            raise WireError("IPv4: wrong header checksum")
        return Packet(
            source=source,
            destination=destination,
            protocol=protocol,
            payload=bytes(data[size:length]),
            ttl=ttl,
            identification=identification,
            service=service,
            flags=fragment >> 13,
            fragment_offset=fragment & 0x1FFF,
            options=bytes(data[_HEADER.size : size]),
        )
