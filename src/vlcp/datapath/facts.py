"""What is known of one switch, and, together with the store's mirror, the source of its rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from vlcp.derive.view import UNREAD, Key, Source, Unread

Names = set[Hashable]


class FactChange(NamedTuple):
    """What changed since the last `take`: keys, names in directories, directories that became known."""

    keys: set[Key]
    joined: dict[Key, Names]
    left: dict[Key, Names]
    directories: set[Key]


class Facts:
    """Facts by key, and directories of names. A key without a value is absent; a directory is unread until `know`."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        self._values: dict[Key, Any] = {}
        self._directories: dict[Key, Names] = {}
        self._on_news = on_news
        self._change = FactChange(set(), {}, {}, set())

    def get(self, key: Key) -> Any:
        """The value of a fact, None when there is none."""
        return self._values.get(key)

    def members(self, directory: Key) -> Iterable[Any] | Unread:
        """The names in a directory, or UNREAD."""
        return self._directories.get(directory, UNREAD)

    def set(self, key: Key, value: Any) -> None:
        """Replace a fact; None removes it."""
        if self._values.get(key) == value:
            return
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        self._change.keys.add(key)
        self._on_news()

    def know(self, directory: Key) -> None:
        """From now on a directory is known, if only to be empty."""
        if directory not in self._directories:
            self._directories[directory] = set()
            self._change.directories.add(directory)
            self._on_news()

    def join(self, directory: Key, name: Hashable) -> None:
        """A name is in a directory now."""
        self.know(directory)
        self._directories[directory].add(name)
        self._move(directory, name, self._change.left, self._change.joined)

    def leave(self, directory: Key, name: Hashable) -> None:
        """A name is in a directory no more."""
        self._directories[directory].discard(name)
        self._move(directory, name, self._change.joined, self._change.left)

    def replace(self, directory: Key, values: Mapping[Any, Any], key: Callable[[Any], Key]) -> None:
        """Make a directory, and the facts that `key` gives its names, exactly this."""
        self.know(directory)
        for name in self._directories[directory] - values.keys():
            self.leave(directory, name)
            self.set(key(name), None)
        for name, value in values.items():
            self.set(key(name), value)
            if name not in self._directories[directory]:
                self.join(directory, name)

    def take(self) -> FactChange:
        """What changed since the last call."""
        change, self._change = self._change, FactChange(set(), {}, {}, set())
        return change

    def _move(
        self, directory: Key, name: Hashable, source: dict[Key, Names], target: dict[Key, Names]
    ) -> None:
        if name in source.get(directory, ()):
            source[directory].discard(name)
        target.setdefault(directory, set()).add(name)
        self._on_news()


class SwitchSource:
    """Everything that rules may read: strings are keys of the store, all others are facts of the switch."""

    def __init__(self, facts: Facts, stored: Source) -> None:
        self._facts = facts
        self._stored = stored

    def get(self, key: Key) -> Any:
        """The value of a key, None or UNREAD. ValueError: a directory, which no store would ever tell."""
        if not isinstance(key, str):
            return self._facts.get(key)
        if key[-1:] == "/":
            raise ValueError(f"{key!r} is a directory, not a key: read its members")
        return self._stored.get(key)

    def members(self, directory: Key) -> Iterable[Any] | Unread:
        """The names in a directory, or UNREAD. ValueError: a key, which has none."""
        if not isinstance(directory, str):
            return self._facts.members(directory)
        if directory[-1:] != "/":
            raise ValueError(f"{directory!r} is a key, not a directory: directories end in '/'")
        return self._stored.members(directory)
