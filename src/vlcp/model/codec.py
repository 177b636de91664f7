"""Objects as they lie in the store: JSON that begins with the type; anything else is a plain JSON value."""

from __future__ import annotations

from typing import Any

import msgspec

from vlcp.model.objects import Stored, StoredObject

_encoder = msgspec.json.Encoder()
_objects: msgspec.json.Decoder[Any] = msgspec.json.Decoder(StoredObject)
_plain = msgspec.json.Decoder()
_TYPED = b'{"type":'


class CodecError(ValueError):
    """A stored value is not what its type says."""


def encode(key: str, value: Any) -> bytes:
    """The stored form of an object or of a plain JSON value."""
    try:
        return _encoder.encode(value)
    except (TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"the value of {key} cannot be stored: {error}") from None


def decode(key: str, data: bytes) -> Any:
    """The value that was stored under the key. `CodecError` says what is wrong with it, without the key."""
    try:
        return (_objects if data.startswith(_TYPED) else _plain).decode(data)
    except msgspec.MsgspecError as error:
        raise CodecError(str(error)) from None


def known(value: Any) -> bool:
    """Whether a value is an object of the network, not a plain JSON value."""
    return isinstance(value, Stored)
