"""What the modules that store check alike before they read or write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlcp.server.api import BadParameterError
from vlcp.store.table import check_key


def check_keys(keys: Iterable[Any]) -> None:
    """`BadParameterError` for the first one that no store can hold."""
    for key in keys:
        try:
            check_key(key)
        except (ValueError, AttributeError) as error:
            raise BadParameterError(str(error)) from None


def check_function(function: Any, parameter: str = "updater") -> None:
    """`BadParameterError` for what cannot be called: all that comes through the web API."""
    if not callable(function):
        raise BadParameterError(
            f"parameter {parameter!r} must be a function: only other modules can give one"
        )
