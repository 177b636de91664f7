"""JSON-RPC 1.0 over a byte stream, as OVSDB uses it (RFC 7047 section 4): no delimiter stands between the messages.

`Framer` cuts the stream into messages without decoding them. `decode` looks only at a message's members; parameters
and results stay JSON text (`msgspec.Raw`): who knows their shape decodes them once, and in slices if they are big.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, TypeVar, overload

import msgspec

from vlcp.wire import WireError

T = TypeVar("T")

MAX_MESSAGE = 16 * 1024 * 1024
"""The largest message in bytes."""

MAX_NESTING = 1024
"""The deepest nesting of arrays and objects. Before Python 3.12 decoding already fails a little earlier."""


class JsonRpcError(WireError):
    """The peer does not speak JSON-RPC. The stream cannot be read any further."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a reply with the same `id` (any JSON value but null). `params`: a JSON array, as text."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")
    id: Any


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A request that nobody answers."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")
    id: None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the request with this `id`: a result (JSON text) or an error, the other of them null."""

    id: Any
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


Message = Request | Notification | Reply


class _Members(msgspec.Struct):
    """The members of all three kinds of messages."""

    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"[]")
    id: Any = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


_encoder = msgspec.json.Encoder()
_members = msgspec.json.Decoder(_Members)
_any = msgspec.json.Decoder()


def request(method: str, params: Any, id: Any) -> bytes:
    """The text of a request; without id (None) it is a notification. `params`: a list of anything JSON can hold."""
    return _encoder.encode({"method": method, "params": params, "id": id})


def reply(id: Any, result: Any = None, error: Any = None) -> bytes:
    """The text of a reply."""
    return _encoder.encode({"id": id, "result": result, "error": error})


def decode(message: bytes) -> Message:
    """One message; `JsonRpcError` when the text is not one."""
    try:
        members = _members.decode(message)
    except (ValueError, RecursionError) as error:
        raise JsonRpcError(f"not a JSON-RPC message: {error}; it begins with {message[:60]!r}") from None
    if members.method is None:
        return Reply(id=members.id, result=members.result, error=members.error)
    if members.id is None:
        return Notification(method=members.method, params=members.params)
    return Request(method=members.method, params=members.params, id=members.id)


@overload
def decode_value(text: msgspec.Raw | bytes) -> Any: ...
@overload
def decode_value(text: msgspec.Raw | bytes, decoder: msgspec.json.Decoder[T]) -> T: ...
def decode_value(text: msgspec.Raw | bytes, decoder: msgspec.json.Decoder[Any] = _any) -> Any:
    """The value of JSON text; `JsonRpcError` when it is none, or not of the decoder's type."""
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise JsonRpcError(f"wrong JSON value: {error}; it begins with {bytes(text)[:60]!r}") from None


# Outside of strings, `}` and `{` stand side by side only where one message ends and the next begins.
_BOUNDARY = re.compile(rb"\}[ \t\r\n]*(?=\{)")
_BLANK = b" \t\r\n"
_STEPS = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class Framer:
    """Cuts a stream of JSON objects into messages, in time linear in the bytes however they arrive.

    Only quotes and brackets are looked at, by searching and counting whole chunks: about 7 ms for each MB.
    After a `JsonRpcError` the framer is of no further use.
    """

    def __init__(self, max_message: int = MAX_MESSAGE, max_nesting: int = MAX_NESTING) -> None:
        self._max_message = max_message
        self._max_nesting = max_nesting
        self._pieces: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False  # a backslash ended the last piece

    @property
    def pending(self) -> int:
        """The bytes of the message that has begun but not ended."""
        return self._size

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that end in `data`; consume all of them before feeding again."""
        start = 0
        for boundary in _BOUNDARY.finditer(data):
            yield from self._add(data[start : boundary.end()])
            start = boundary.end()
        yield from self._add(data[start:])

    def _add(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece within which no message ends, unless at its end."""
        if not self._pieces:
            piece = piece.lstrip(_BLANK)
            if not piece:
                return
            if not piece.startswith(b"{"):
                raise JsonRpcError(f"a message must be a JSON object, this one begins with {piece[:60]!r}")
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._max_message:
            raise JsonRpcError(f"a message is longer than {self._max_message} bytes")
        self._count(self._outside_strings(piece))
        if self._depth == 0 and not self._in_string:
            message = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces = []
            self._size = 0
            yield message

    def _outside_strings(self, piece: bytes) -> bytes:
        """What of the piece does not stand inside quotes."""
        if self._escaped or b"\\" in piece:
            piece = self._without_escapes(piece)
        parts = piece.split(b'"')
        outside = parts[1 if self._in_string else 0 :: 2]
        self._in_string ^= len(parts) % 2 == 0
        return b"".join(outside)

    def _without_escapes(self, piece: bytes) -> bytes:
        """The piece without escaped quotes and backslashes, so that every quote begins or ends a string."""
        if self._escaped:
            piece = b"\\" + piece
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        self._escaped = piece.endswith(b"\\")
        return piece[:-1] if self._escaped else piece

    def _count(self, structure: bytes) -> None:
        opening = structure.count(b"{") + structure.count(b"[")
        if self._depth + opening > self._max_nesting:
            self._check_nesting(structure)
        self._depth += opening - structure.count(b"}") - structure.count(b"]")
        if self._depth < 0:
            raise JsonRpcError("a message closes more brackets than it opens")

    def _check_nesting(self, structure: bytes) -> None:
        steps = memoryview(structure.translate(_STEPS, _NO_BRACKETS)).cast("b")
        if max(accumulate(steps, initial=self._depth)) > self._max_nesting:
            raise JsonRpcError(f"a message is nested deeper than {self._max_nesting} levels")
