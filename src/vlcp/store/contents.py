"""What the mirror holds, and how a snapshot of the store becomes changes for those who want to know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from vlcp.store.contract import Entry, Snapshot
from vlcp.store.known import ABSENT, Change, ChangeBuilder, Known, Undecodable
from vlcp.store.table import directory_of

_logger = logging.getLogger(__name__)

_REMEMBERED = 1000
"""Undecodable keys that are remembered; one beyond that may be logged again."""

R = TypeVar("R", bound=Hashable)
Wants = dict[str, dict[R, bool]]
"""Who wants each key and each directory (directories end in `/`, keys do not), and whether it saw the first value."""


class Contents(Generic[R]):
    """Keys and directories that are known. It holds only what is in `wants`, which belongs to the caller."""

    def __init__(self, decode: Callable[[str, bytes], Any], wants: Wants[R]) -> None:
        self._decode = decode
        self._wants = wants
        self._known: dict[str, Known] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._decoded = 0
        self._bad: dict[str, tuple[str, str]] = {}

    def look_up(self, key: str) -> Known | None:
        """What is known of a key; None if nothing. A key in a known directory is known to be absent."""
        known = self._known.get(key)
        if known is None and directory_of(key) in self._members:
            return ABSENT
        return known

    def names(self, directory: str) -> Collection[str] | None:
        """The names in a directory (a live collection); None if it is not known."""
        members = self._members.get(directory)
        return members.keys() if members is not None else None

    def has(self, name: str) -> bool:
        """Whether a key or a directory was read by its own name."""
        return name in (self._members if name.endswith("/") else self._known)

    def decoded(self, key: str, entry: Entry | None) -> Known:
        """An entry with its decoded value. An undecodable one is logged once and stands for itself."""
        if entry is None:
            self._bad.pop(key, None)
            return ABSENT
        self._decoded += 1
        try:
            value = self._decode(key, entry.value)
        except Exception as error:
            value = Undecodable(str(error))
            self._report(key, entry.version, value.reason)
        else:
            self._bad.pop(key, None)
        return Known(value, entry.version, hash(entry.value))

    @property
    def undecodable(self) -> dict[str, str]:
        """The keys that were read and could not be decoded last, with the reason."""
        return {key: reason for key, (_, reason) in self._bad.items()}

    def _report(self, key: str, version: str, reason: str) -> None:
        if self._bad.get(key, ("", ""))[0] != version:
            _logger.warning("the value of %r cannot be decoded: %s", key, reason)
            if len(self._bad) >= _REMEMBERED:
                del self._bad[next(iter(self._bad))]
            self._bad[key] = version, reason

    def forget(self, name: str) -> None:
        """Drop what only this key or directory, which nobody wants any more, held."""
        if not name.endswith("/"):
            if directory_of(name) not in self._members or self._known.get(name) == ABSENT:
                self._known.pop(name, None)
            return
        for member in self._members.pop(name, ()):
            if name + member not in self._wants:
                self._known.pop(name + member, None)

    def take(self, snapshot: Snapshot | None, asked: Mapping[str, Iterable[R]]) -> dict[R, Change]:
        """Take over a snapshot. What is `asked` for counts as changed for those who ask, since they never saw it."""
        told: dict[R, ChangeBuilder] = {}
        if snapshot is not None:
            for directory, listing in snapshot.listings.items():
                self._take_listing(told, directory, listing)
            for key, entry in snapshot.entries.items():
                self._take_entry(told, key, entry)
        for name, readers in asked.items():
            for reader in readers:
                if self._wants.get(name, {}).get(reader) is False and self.has(name):
                    self._wants[name][reader] = True
                    self._tell_known(told.setdefault(reader, ChangeBuilder()), name)
        return {reader: builder.build() for reader, builder in told.items()}

    def statistics(self) -> dict[str, int]:
        return {
            "keys": len(self._known),
            "directories": len(self._members),
            "decoded": self._decoded,
            "undecodable": len(self._bad),
        }

    def _tell_known(self, builder: ChangeBuilder, name: str) -> None:
        if name.endswith("/"):
            builder.directories.add(name)
            builder.keys.update([name + member for member in self._members[name]])
        else:
            builder.keys.add(name)

    def _take_listing(
        self, told: dict[R, ChangeBuilder], directory: str, listing: Mapping[str, Entry]
    ) -> None:
        if directory not in self._wants:
            return
        members = self._members.get(directory)
        if members is None:
            self._members[directory] = {key[len(directory) :]: None for key in listing}
        else:
            for name in [name for name in members if directory + name not in listing]:
                self._take_entry(told, directory + name, None)
        for key, entry in listing.items():
            self._take_entry(told, key, entry)

    def _take_entry(self, told: dict[R, ChangeBuilder], key: str, entry: Entry | None) -> None:
        directory = directory_of(key)
        listed = directory is not None and directory in self._members
        if not listed and key not in self._wants:
            return
        if listed and directory is not None:
            self._take_membership(told, directory, key[len(directory) :], entry is not None)
        if self._put(key, entry):
            for name in (key, directory) if listed else (key,):
                for reader in self._told(name or ""):
                    told.setdefault(reader, ChangeBuilder()).keys.add(key)

    def _take_membership(
        self, told: dict[R, ChangeBuilder], directory: str, name: str, present: bool
    ) -> None:
        members = self._members[directory]
        if present == (name in members):
            return
        if present:
            members[name] = None
        else:
            del members[name]
        for reader in self._told(directory):
            builder = told.setdefault(reader, ChangeBuilder())
            (builder.joined if present else builder.left).setdefault(directory, set()).add(name)

    def _told(self, name: str) -> list[R]:
        """Who wants it and saw it before. Who did not is told all of it when it is shown for the first time."""
        return [reader for reader, told in self._wants.get(name, {}).items() if told]

    def _put(self, key: str, entry: Entry | None) -> bool:
        """Take over what was read of a key; whether the stored bytes differ from the last known ones."""
        old = self._known.get(key, ABSENT)
        if entry is None:
            self._bad.pop(key, None)
            if key in self._wants:
                self._known[key] = ABSENT
            else:
                self._known.pop(key, None)
            return old.version is not None
        if old.version == entry.version:
            return False
        if old.version is not None and old.digest == hash(entry.value):
            self._known[key] = old._replace(version=entry.version)
            return False
        self._known[key] = self.decoded(key, entry)
        return True
