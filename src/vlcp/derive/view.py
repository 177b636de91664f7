"""What a pure function sees of the world: a view, which remembers what the function read.

A *key* names one value: any hashable; the store's keys are strings, facts of a switch are tuples.
A *directory* names a set of members; it is a key too, but in a name space of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

Key = Hashable


class PendingError(Exception):
    """Something that was read is not known yet. It was asked for; the function will be called again."""


class UnreadableError(Exception):
    """There is a value, but not one that can be understood. Only whoever reads this key is concerned."""


class Unread:
    """The type of `UNREAD`: a source does not know yet whether the key exists."""

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD = Unread()


class View(Protocol):
    """The reads that a pure function may make. Every read may raise `PendingError`."""

    def get(self, key: Key) -> Any:
        """The value of a key; None when there is none."""
        ...

    def many(self, keys: Iterable[Key]) -> list[Any]:
        """The values of keys, in their order; all that are unread are asked for at once."""
        ...

    def members(self, directory: Key) -> Sequence[Any]:
        """The names in a directory, sorted. For sets that stay small; a large set is a `plan.Each`."""
        ...

    def call(self, function: Callable[..., Any], *arguments: Hashable) -> Any:
        """The value of another pure function, `function(view, *arguments)`."""
        ...


class Source(Protocol):
    """Where the values come from: immutable objects that are replaced, never changed."""

    def get(self, key: Key) -> Any:
        """The value, None when there is none, or `UNREAD`."""
        ...

    def members(self, directory: Key) -> Iterable[Any] | Unread:
        """The names in a directory (a live collection: do not keep it), or `UNREAD`."""
        ...
