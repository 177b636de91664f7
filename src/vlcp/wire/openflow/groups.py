"""Groups and their buckets (OpenFlow 1.3.5, section 7.3.4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

from vlcp.wire.openflow.action import Action, decode_actions, encode_actions
from vlcp.wire.openflow.ports import Port
from vlcp.wire.records import Buffer, Record, WireError

_BUCKET = struct.Struct("!HHII4x")
ANY_GROUP = 0xFFFFFFFF
ALL_GROUPS = 0xFFFFFFFC


class GroupType(IntEnum):
    """What a group does with its buckets (OFPGT_*)."""

    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


class Bucket(Record, frozen=True):
    """A list of actions. `weight` counts in select groups only; a switch watches `watch_port` or `watch_group`."""

    actions: tuple[Action, ...] = ()
    weight: int = 0
    watch_port: int = Port.ANY
    watch_group: int = ANY_GROUP

    def pack(self) -> bytes:
        """ValueError: a number does not fit, or the bucket is longer than 65535 bytes."""
        actions = encode_actions(self.actions)
        try:
            head = _BUCKET.pack(16 + len(actions), self.weight, self.watch_port, self.watch_group)
        except struct.error as error:
            raise ValueError(f"bucket: {error}: {self}") from None
        return head + actions


def encode_buckets(buckets: Iterable[Bucket] | Buffer) -> bytes:
    """Buckets as Open vSwitch writes them into a dump. Bytes are taken for buckets that are encoded already."""
    if isinstance(buckets, (bytes, memoryview)):
        return bytes(buckets)
    return b"".join([bucket.pack() for bucket in buckets])


def decode_buckets(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[Bucket, ...]:
    """The buckets from `offset` to `end`. `WireError`: impossible lengths."""
    end = len(data) if end is None else end
    buckets = []
    while offset < end:
        if end - offset < _BUCKET.size:
            raise WireError(f"bucket: {end - offset} bytes left, too few")
        length, weight, watch_port, watch_group = _BUCKET.unpack_from(data, offset)
        if length < _BUCKET.size or length % 8 or offset + length > end:
            raise WireError(f"bucket: impossible length {length}, {end - offset} bytes left")
        actions = decode_actions(data, offset + _BUCKET.size, offset + length)
        buckets.append(Bucket(actions, weight, watch_port, watch_group))
        offset += length
    return tuple(buckets)


def unpack_buckets(data: Buffer, offset: int, end: int) -> tuple[tuple[Bucket, ...], int]:
    """The buckets that fill the rest of a record."""
    return decode_buckets(data, offset, end), end
