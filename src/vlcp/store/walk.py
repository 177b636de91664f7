"""Walking from key to key: functions that read what they can and are called again when more is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from vlcp.derive.view import UNREAD, Source
from vlcp.store.errors import RetrieveError

__all__ = ["RetrieveError", "Walk", "Walked", "Walker", "walk"]

Walk = Callable[[str], Any]
Walker = Callable[[str, Any, Walk, Callable[[str], None]], None]


class Walked(NamedTuple):
    """One pass: the keys that walkers saved, with their values, and the keys that were asked for and are not known."""

    saved: dict[str, Any]
    missing: set[str]


def walk(source: Source, keys: Iterable[str], walkers: Mapping[str, Walker]) -> Walked:
    """Call the walker of every start key, `walker(key, value, walk, save)`, over what the source knows now.

    A walker whose start key is not known yet is not called in this pass. `save` takes keys that were walked.
    """
    saved: dict[str, Any] = {}
    missing: set[str] = set()

    def read(key: str) -> Any:
        value = source.get(key)
        if value is UNREAD:
            missing.add(key)
            raise RetrieveError(key)
        return value

    def save(key: str) -> None:
        saved[key] = read(key)

    for key in keys:
        try:
            value = read(key)
        except RetrieveError:
            continue
        try:
            if key in walkers:
                walkers[key](key, value, read, save)
        except RetrieveError:
            continue
    return Walked(saved, missing)
