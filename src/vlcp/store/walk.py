"""Walking from key to key: functions that read what they can and are called again when more is known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from vlcp.derive.view import UNREAD
from vlcp.store.errors import RetrieveError

__all__ = ["RetrieveError", "Walk", "Walked", "Walker", "walk"]

Walk = Callable[[Any], Any]
Walker = Callable[[str, Any, Walk, Callable[[Any], None]], None]


class Readable(Protocol):
    """Where the values come from: a `derive.view.Source`, as far as a walk needs one."""

    def get(self, key: str) -> Any:
        """The value, None when there is none, or `UNREAD`."""
        ...


class Walked(NamedTuple):
    """One pass: the keys that walkers saved, with their values, and the keys that were asked for and are not known."""

    saved: dict[str, Any]
    missing: set[str]


def walk(
    source: Readable,
    keys: Iterable[str],
    walkers: Mapping[str, Walker],
    keys_of: Callable[[Iterable[Any]], list[str]] = list,
) -> Walked:
    """Call the walker of every start key, `walker(key, value, walk, save)`, over what the source knows now.

    A walker whose start key is not known yet is not called in this pass. `save` takes keys that were walked; `keys_of`
    gives the keys for what walkers walk to and save.
    """
    saved: dict[str, Any] = {}
    missing: set[str] = set()

    def read(key: Any) -> Any:
        [key] = keys_of([key])
        value = source.get(key)
        if value is UNREAD:
            missing.add(key)
            raise RetrieveError(key)
        return value

    def save(key: Any) -> None:
        [key] = keys_of([key])
        saved[key] = read(key)

    for key in keys:
        with contextlib.suppress(RetrieveError):
            value = read(key)
            if key in walkers:
                walkers[key](key, value, read, save)
    return Walked(saved, missing)
