"""What the modules that store check alike before they read or write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from vlcp.server.api import BadParameterError
from vlcp.store.table import check_key


def check_keys(keys: Iterable[Any]) -> None:
    """`BadParameterError` for the first one that no store can hold."""
    for key in keys:
        _check(key)


def keys_of(things: Iterable[Any]) -> list[str]:
    """The keys meant by texts, bytes in UTF-8, and objects that know theirs; `BadParameterError` for others."""
    return [_key_of(thing) for thing in things]


def _key_of(thing: Any) -> str:
    if hasattr(thing, "getkey") and not isinstance(thing, type):
        thing = thing.getkey()
    if isinstance(thing, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            thing = thing.decode()
    return _check(thing)


def _check(key: Any) -> str:
    if not isinstance(key, str):
        raise BadParameterError(f"{key!r:.100} is not a key: a key is a text")
    try:
        check_key(key)
    except ValueError as error:
        raise BadParameterError(str(error)) from None
    return key


def check_function(function: Any, parameter: str = "updater") -> None:
    """`BadParameterError` for what cannot be called: all that comes through the web API."""
    if not callable(function):
        raise BadParameterError(
            f"parameter {parameter!r} must be a function: only other modules can give one"
        )
