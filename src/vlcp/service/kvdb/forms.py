"""The values of the object database: as they are stored, and as those who use it have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlcp.model import codec
from vlcp.model.codec import decode
from vlcp.service.kvdb.checks import keys_of
from vlcp.store.dataobject import DataObject, restore

__all__ = ["decode", "encode", "keys", "own"]


def encode(key: str, value: Any) -> bytes:
    """The stored form of an object of the network, an author's object, or plain JSON."""
    return codec.encode(key, value.stored() if isinstance(value, DataObject) else value)


def own(key: str, value: Any) -> Any:
    """A value for somebody who may change it, from a decoded one."""
    if value is None or isinstance(value, str | int | float):
        return value
    return restore(key, decode(key, encode(key, value)))


def keys(things: Iterable[Any]) -> list[str]:
    """Keys, checked; objects and references stand for theirs."""
    return keys_of(things)
