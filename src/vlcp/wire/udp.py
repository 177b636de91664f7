"""UDP datagrams in IPv4, RFC 768."""

from __future__ import annotations

import struct

import msgspec

from vlcp.wire import WireError
from vlcp.wire.ipv4 import UDP, checksum

_HEADER = struct.Struct("!HHHH")
_PSEUDO_HEADER = struct.Struct("!IIHH")


class Datagram(msgspec.Struct, frozen=True):
    """A datagram. Its checksum covers the addresses of the IPv4 packet around it."""

    source_port: int
    destination_port: int
    payload: bytes

    def pack(self, source: int, destination: int) -> bytes:
        """The bytes of a datagram that is sent between these IPv4 addresses."""
        length = _HEADER.size + len(self.payload)
        try:
            pseudo_header = _PSEUDO_HEADER.pack(source, destination, UDP, length)
            header = _HEADER.pack(self.source_port, self.destination_port, length, 0)
        except struct.error as error:
            raise WireError(f"UDP: {self!r:.300} does not fit: {error}") from None
        found = checksum(pseudo_header + header + self.payload) or 0xFFFF  # 0 means "no checksum"
        return header[:6] + found.to_bytes(2, "big") + self.payload

    @staticmethod
    def unpack(data: bytes, source: int | None = None, destination: int | None = None) -> Datagram:
        """The datagram. With both IPv4 addresses its checksum is checked, if it has one.

        Leave them out for what comes from machines on this host: their kernel leaves checksums to the network
        card, and a virtual one does not fill them in.
        """
        if len(data) < _HEADER.size:
            raise WireError(f"UDP: {len(data)} bytes, fewer than a header of {_HEADER.size}")
        source_port, destination_port, length, found = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise WireError(f"UDP: length {length} in {len(data)} bytes")
        if found and source is not None and destination is not None:
            pseudo_header = _PSEUDO_HEADER.pack(source, destination, UDP, length)
            if checksum(pseudo_header + data[:length]):
                raise WireError("UDP: wrong checksum")
        return Datagram(source_port, destination_port, bytes(data[_HEADER.size : length]))
