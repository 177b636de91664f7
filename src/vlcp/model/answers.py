"""Objects as API calls answer with them: flat dictionaries with the names that the API takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from vlcp.model.objects import DhcpAttributes, Stored

DONE = {"status": "OK"}
"""The answer to a delete call."""

_HIDDEN = frozenset({"extra", "number"})
_RENAMED = {"kind": "type"}
_ATTRIBUTES = {"type": "kind"}
_EXPLICIT_NONE = frozenset(DhcpAttributes.__struct_fields__)


def flat(stored: Stored, version: str | None) -> dict[str, Any]:
    """An object with all attributes that are set, the caller's own among them; `version` is that of its key."""
    answer = {
        _RENAMED.get(name, name): _listed(value)
        for name in stored.__struct_fields__
        if name not in _HIDDEN and _is_set(name, value := getattr(stored, name))
    }
    return {**answer, **getattr(stored, "extra", {}), "version": version}


def _is_set(name: str, value: object) -> bool:
    if value is None:
        return name in _EXPLICIT_NONE
    return value is not msgspec.UNSET and value != ()


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def attribute(stored: Stored, name: str) -> Any:
    """The value of an attribute by the name that the API takes; None when the object has no such attribute."""
    field = _ATTRIBUTES.get(name, name)
    if field in stored.__struct_fields__ and field not in _HIDDEN and name not in _RENAMED:
        value = getattr(stored, field)
        return None if value is msgspec.UNSET else value
    return getattr(stored, "extra", {}).get(name)


def written(objects: Sequence[Stored], version: str) -> list[dict[str, Any]]:
    """The answer to a create or update call; `version` is that of its commit."""
    return [flat(each, version) for each in objects]
