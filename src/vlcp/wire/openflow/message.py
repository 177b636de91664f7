"""What all messages have in common: their header, how they are declared, and how bytes become messages."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from vlcp.wire.records import LENGTH, XID, Buffer, Prefix, Record, WireError, record

VERSION = 4
"""The version in the header of OpenFlow 1.3 messages."""
HEADER_SIZE = 8
HEADER = struct.Struct("!BBHI")
"""version, type, length, transaction id (OpenFlow 1.3.5, section 7.1)."""

EXPERIMENTER, MULTIPART_REQUEST, MULTIPART_REPLY = 4, 18, 19
_Second = tuple[int, ...]


class Message(Record, frozen=True, kw_only=True):
    """The base of all messages. `xid`: the transaction id that it was read with; `pack` takes its own."""

    xid: int = 0

    def pack(self, xid: int = 0) -> bytes:
        """The whole message. ValueError: a field does not fit; the text names it."""
        raise NotImplementedError


_AnyMessage = TypeVar("_AnyMessage", bound=type[Message])
_MESSAGES: dict[int, type[Message]] = {}
_BY_SUBTYPE: dict[_Second, type[Message]] = {}


def message(number: int, *, pad: int = 0, compiled: bool = True) -> Callable[[_AnyMessage], _AnyMessage]:
    """Declare the message of that type; `pad` zero bytes follow its header.

    `compiled`: False when the class packs and unpacks by itself.
    """

    def declare(cls: _AnyMessage) -> _AnyMessage:
        _MESSAGES[number] = cls
        if not compiled:
            return cls
        return record(Prefix("BBHI" + "x" * pad, (VERSION, number, LENGTH, XID)))(cls)

    return declare


def multipart_request(number: int) -> Callable[[_AnyMessage], _AnyMessage]:
    """Declare the body of a multipart request of that type."""

    def declare(cls: _AnyMessage) -> _AnyMessage:
        _BY_SUBTYPE[MULTIPART_REQUEST, number] = cls
        return record(Prefix("BBHIHHxxxx", (VERSION, MULTIPART_REQUEST, LENGTH, XID, number, 0)))(cls)

    return declare


def experimenter(vendor: int, number: int) -> Callable[[_AnyMessage], _AnyMessage]:
    """Declare the message of an experimenter."""

    def declare(cls: _AnyMessage) -> _AnyMessage:
        _BY_SUBTYPE[EXPERIMENTER, vendor, number] = cls
        return record(Prefix("BBHIII", (VERSION, EXPERIMENTER, LENGTH, XID, vendor, number)))(cls)

    return declare


class RawMessage(Message, frozen=True):
    """A message that is not known here. `body`: everything behind the header."""

    version: int
    type: int
    body: bytes

    def pack(self, xid: int = 0) -> bytes:
        """The message as it was read, with another transaction id."""
        return HEADER.pack(self.version, self.type, HEADER_SIZE + len(self.body), xid) + self.body

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> RawMessage:
        """The message at `offset`, whatever it is."""
        version, kind, _, xid = HEADER.unpack_from(data, offset)
        return cls(version, kind, bytes(data[offset + HEADER_SIZE : end]), xid=xid)


def parse(data: Buffer) -> Message:
    """The one message that the bytes are. Unknown types and versions become `RawMessage`.

    `WireError` for everything that is not a well-formed message; the text says what is wrong.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"message: {len(data)} bytes are too few for a header")
    version, kind, length, _ = HEADER.unpack_from(data)
    if length != len(data):
        raise WireError(f"message of type {kind}: its length says {length}, it has {len(data)} bytes")
    known = _class_of(data, kind) if version == VERSION or kind == _HELLO else RawMessage
    try:
        return known.unpack(data, 0, length)
    except (struct.error, IndexError) as error:
        raise WireError(f"{known.__name__}: {error}") from None


_HELLO = 0


def _class_of(data: Buffer, kind: int) -> type[Message]:
    if kind == EXPERIMENTER and len(data) >= 16:
        vendor, number = struct.unpack_from("!II", data, HEADER_SIZE)
        return _BY_SUBTYPE.get((kind, vendor, number)) or _MESSAGES.get(kind, RawMessage)
    if kind == MULTIPART_REQUEST and len(data) >= 16:
        number = int.from_bytes(data[HEADER_SIZE : HEADER_SIZE + 2], "big")
        return _BY_SUBTYPE.get((kind, number)) or _MESSAGES.get(kind, RawMessage)
    return _MESSAGES.get(kind, RawMessage)
