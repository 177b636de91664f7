"""What is known of a key, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vlcp.derive.view import UnreadableError
from vlcp.store.contract import StoreError


class UndecodableError(StoreError, UnreadableError):
    """The value of this one key cannot be decoded."""

    status = 409

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the value of {key!r} cannot be decoded: {reason}")
        self.key = key
        self.reason = reason


class Undecodable(NamedTuple):
    """Stands for a value that could not be decoded."""

    reason: str


class Known(NamedTuple):
    """What is known of a key: its value and version, both None when it does not exist.

    `digest` tells equal stored bytes from different ones, within this process.
    """

    value: Any
    version: str | None
    digest: int = 0

    def get(self, key: str) -> Any:
        """The value; `UndecodableError` if it could not be decoded."""
        if isinstance(self.value, Undecodable):
            raise UndecodableError(key, self.value.reason)
        return self.value


ABSENT = Known(None, None)


class Change(NamedTuple):
    """What changed for one reader in one step.

    `keys`: values changed, appeared or gone, or just became known. `joined`, `left`: directory -> names of members (the
    part after the last `/`). `directories`: just became known (their members are in `keys`, not in `joined`).
    """

    keys: frozenset[str]
    joined: Mapping[str, frozenset[str]]
    left: Mapping[str, frozenset[str]]
    directories: frozenset[str]


class ChangeBuilder:
    """Collects one `Change`."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.joined: dict[str, set[str]] = {}
        self.left: dict[str, set[str]] = {}
        self.directories: set[str] = set()

    def build(self) -> Change:
        return Change(
            frozenset(self.keys),
            {directory: frozenset(names) for directory, names in self.joined.items()},
            {directory: frozenset(names) for directory, names in self.left.items()},
            frozenset(self.directories),
        )
