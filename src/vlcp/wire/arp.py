"""ARP for IPv4 over Ethernet, RFC 826. Addresses are numbers: MAC of 48 bits, IPv4 of 32 bits."""

from __future__ import annotations

import struct

import msgspec

from vlcp.wire import WireError
from vlcp.wire.ethernet import IPV4, mac_bytes

REQUEST = 1
REPLY = 2

_LAYOUT = struct.Struct("!HHBBH6sI6sI")
_KIND = (1, IPV4, 6, 4)  # hardware type Ethernet, protocol type, their address sizes


class Packet(msgspec.Struct, frozen=True):
    """`operation`: `REQUEST` or `REPLY`. In a request the target's MAC is not known and usually 0."""

    operation: int
    sender_mac: int
    sender_address: int
    target_mac: int
    target_address: int

    def pack(self) -> bytes:
        sender_mac, target_mac = (
            mac_bytes(self.sender_mac, "sender_mac"),
            mac_bytes(self.target_mac, "target_mac"),
        )
        addresses = (sender_mac, self.sender_address, target_mac, self.target_address)
        try:
            return _LAYOUT.pack(*_KIND, self.operation, *addresses)
        except struct.error as error:
            raise WireError(f"ARP: {self} does not fit: {error}") from None

    @staticmethod
    def unpack(data: bytes) -> Packet:
        """The packet; bytes behind it are the frame's padding."""
        if len(data) < _LAYOUT.size:
            raise WireError(f"ARP: {len(data)} bytes, fewer than {_LAYOUT.size}")
        *kind, operation, sender_mac, sender_address, target_mac, target_address = _LAYOUT.unpack_from(data)
        if tuple(kind) != _KIND:
            raise WireError(f"ARP: not IPv4 over Ethernet: types and sizes are {kind}, not {_KIND}")
        macs = int.from_bytes(sender_mac, "big"), int.from_bytes(target_mac, "big")
        return Packet(operation, macs[0], sender_address, macs[1], target_address)
