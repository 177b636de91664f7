"""All keys of a store in memory, by key and by directory. A change costs what it touches, whatever the size."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping

from vlcp.store.contract import Entry, Preconditions, Snapshot, TooLargeError

COMMIT_LIMIT = 64 << 20
"""The largest commit that the local stores take: bytes of keys and values together."""


def directory_of(key: str) -> str | None:
    """The directory that a key is a member of: everything up to and including its last `/`; None for a key outside."""
    end = key.rfind("/") + 1
    return key[:end] if end else None


def check_writes(writes: Mapping[str, bytes | None]) -> None:
    """Refuse what no store can hold. `ValueError` names the key; `TooLargeError` names the limit."""
    size = 0
    for key, value in writes.items():
        size += len(check_key(key)) + len(value or b"")
    if size > COMMIT_LIMIT:
        raise TooLargeError(f"the commit has {size} bytes of keys and values; the limit is {COMMIT_LIMIT}")


def check_key(key: str) -> bytes:
    """The key in UTF-8; `ValueError` if it is empty, ends in `/` (a directory) or is not Unicode text."""
    if not key or key.endswith("/"):
        raise ValueError(f"{key!r} is not a key: a key is not empty and does not end in '/'")
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{key!r} is not a key: a key is Unicode text without lone surrogates") from None


class Table:
    """Keys with their entries, and directories with their members."""

    def __init__(self, entries: Iterable[tuple[str, Entry]] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        self._directories: dict[str, dict[str, Entry]] = {}
        for key, entry in entries:
            self._put(key, entry)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Every key with its entry, in no order."""
        return iter(self._entries.items())

    def keys(self) -> list[str]:
        """Every key, sorted."""
        return sorted(self._entries)

    def apply(self, writes: Mapping[str, bytes | None], version: str) -> None:
        """Take over the writes of one commit."""
        for key, value in writes.items():
            if value is None:
                self._remove(key)
            else:
                self._put(key, Entry(value, version))

    def put(self, entries: Mapping[str, Entry | None]) -> None:
        """Take over the present state of some keys; None is a deleted one."""
        for key, entry in entries.items():
            if entry is None:
                self._remove(key)
            else:
                self._put(key, entry)

    def get(self, key: str) -> Entry | None:
        """The entry of a key, None if there is none."""
        return self._entries.get(key)

    def members(self, directory: str) -> Mapping[str, Entry]:
        """The members of a directory, in no order."""
        return self._directories.get(directory, {})

    def equals(self, other: Table) -> bool:
        """Whether both hold the same keys with the same entries."""
        return self._entries == other._entries

    def snapshot(self, keys: Iterable[str], directories: Iterable[str], now: int, revision: str) -> Snapshot:
        """The present state of keys and directories; listings are sorted by key."""
        return Snapshot(
            entries={key: self._entries.get(key) for key in keys},
            listings={directory: self._listing(directory) for directory in directories},
            time=now,
            revision=revision,
        )

    def failing(self, preconditions: Preconditions) -> tuple[list[str], list[str]]:
        """The keys and the directories whose precondition does not hold."""
        keys = [key for key, version in preconditions.versions.items() if self._version(key) != version]
        return keys, [directory for directory in preconditions.empty if directory in self._directories]

    def _version(self, key: str) -> str | None:
        entry = self._entries.get(key)
        return entry.version if entry is not None else None

    def _listing(self, directory: str) -> dict[str, Entry]:
        members = self._directories.get(directory, {})
        return {key: members[key] for key in sorted(members)}

    def _put(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        directory = directory_of(key)
        if directory is not None:
            self._directories.setdefault(directory, {})[key] = entry

    def _remove(self, key: str) -> None:
        directory = directory_of(key)
        if self._entries.pop(key, None) is None or directory is None:
            return
        members = self._directories[directory]
        del members[key]
        if not members:
            del self._directories[directory]


class Draft:
    """A table with changes on top that it does not have yet: who decides on commits sees them, who reads does not."""

    def __init__(self, table: Table, revision: str) -> None:
        self._table = table
        self._entries: dict[str, Entry | None] = {}
        self._directories: dict[str, dict[str, Entry | None]] = {}
        self.revision = revision

    def put(self, entries: Mapping[str, Entry | None], revision: str) -> None:
        """Change keys; None is a deleted one. `revision` is the last commit that is in it."""
        self.revision = revision
        self._entries.update(entries)
        for key, entry in entries.items():
            directory = directory_of(key)
            if directory is not None:
                self._directories.setdefault(directory, {})[key] = entry

    def apply(self, writes: Mapping[str, bytes | None], version: str) -> None:
        """Change what one commit writes."""
        entries = {key: None if value is None else Entry(value, version) for key, value in writes.items()}
        self.put(entries, version)

    def failing(self, preconditions: Preconditions) -> tuple[list[str], list[str]]:
        """The keys and the directories whose precondition does not hold."""
        keys = [key for key, version in preconditions.versions.items() if self._version(key) != version]
        return keys, [directory for directory in preconditions.empty if self._has_members(directory)]

    def snapshot(self, keys: Iterable[str], directories: Iterable[str], now: int) -> Snapshot:
        """The state of keys and directories with the changes; listings are sorted by key."""
        return Snapshot(
            entries={key: self._get(key) for key in keys},
            listings={directory: self._listing(directory) for directory in directories},
            time=now,
            revision=self.revision,
        )

    def _get(self, key: str) -> Entry | None:
        return self._entries[key] if key in self._entries else self._table.get(key)

    def _version(self, key: str) -> str | None:
        entry = self._get(key)
        return entry.version if entry is not None else None

    def _has_members(self, directory: str) -> bool:
        changed = self._directories.get(directory, {})
        return any(changed.values()) or any(key not in changed for key in self._table.members(directory))

    def _listing(self, directory: str) -> dict[str, Entry]:
        members = {**self._table.members(directory), **self._directories.get(directory, {})}
        return {key: entry for key in sorted(members) if (entry := members[key]) is not None}


class Revisions:
    """Names for commits that are never given twice, not even by the next process: a number and a random part."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(6)
        self._number = 0

    def next(self) -> str:
        self._number += 1
        return f"{self._number:x}-{self._run}"


class Clock:
    """The time of a store on this machine: microseconds since 1970, never going back while the process runs."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last
