"""Objects as they lie in the store: JSON that begins with the type; anything else is a plain JSON value."""

from __future__ import annotations

from typing import Any

import msgspec

from vlcp.model.objects import (
    LogicalNetwork,
    LogicalPort,
    PhysicalNetwork,
    PhysicalPort,
    Stored,
    StoredObject,
    Subnet,
)

_encoder = msgspec.json.Encoder()
_objects: msgspec.json.Decoder[Any] = msgspec.json.Decoder(StoredObject)
_plain = msgspec.json.Decoder()
_TYPED = b'{"type":'
_OBJECTS: dict[str, type[Stored]] = {
    "physicalnetwork": PhysicalNetwork,
    "physicalport": PhysicalPort,
    "logicnetwork": LogicalNetwork,
    "subnet": Subnet,
    "logicalport": LogicalPort,
}
"""What lies under `viperflow.<name>.<id>`."""


class CodecError(ValueError):
    """A stored value is not what its type says."""


def encode(key: str, value: Any) -> bytes:
    """The stored form of an object or of a plain JSON value."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(f"the value of {key} cannot be stored: {error}") from None


def decode(key: str, data: bytes) -> Any:
    """The value that was stored under the key. `CodecError` says what is wrong with it, without the key.

    A type that is not known here is a plain JSON value, unless the key is one of ours: nothing of others gets lost.
    """
    prefix, _, rest = key.partition(".")
    ours = prefix == "viperflow" and ("/" in rest or rest.partition(".")[0] in _OBJECTS)
    try:
        value = _decode(data, strict=ours)
    except (ValueError, RecursionError) as error:
        raise CodecError(str(error)) from None
    expected = _OBJECTS[rest.partition(".")[0]] if ours and "/" not in rest else None
    if expected is not None and not isinstance(value, expected):
        raise CodecError(f"it is not a {expected.__name__}")
    return value


def _decode(data: bytes, *, strict: bool) -> Any:
    if data.startswith(_TYPED):
        try:
            return _objects.decode(data)
        except msgspec.MsgspecError:
            if strict:
                raise
    return _plain.decode(data)


def known(value: Any) -> bool:
    """Whether a value is an object of the network, not a plain JSON value."""
    return isinstance(value, Stored)
