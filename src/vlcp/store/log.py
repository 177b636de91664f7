"""One transaction of the embedded store's file: what others logged since the last one, and what this process adds.

Every commit is a row of `log` with the keys that it wrote, in the order of the commits. Whoever knows the last rows up
to some number needs only the rows after it, and the present entries of the keys that these name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from vlcp.store.contract import Entry
from vlcp.store.table import Table

LOG_LENGTH = 10_000
"""Commits that the log names at least; whoever is further behind reads everything."""
_PRUNED_AT_ONCE = 500
"""Commits that leave the log together: one for one would write a page more in each transaction."""


class Commit(NamedTuple):
    """What one commit writes, and the version that it gives."""

    writes: Mapping[str, bytes | None]
    revision: str


class Logged(NamedTuple):
    """A commit of another process: its version, and the keys that it wrote or deleted."""

    revision: str
    keys: Sequence[str]


class Position(NamedTuple):
    """How much of the file is known: the number and the revision of the last row of the log.

    `data_version` is SQLite's mark that changes when any other connection commits; -1 is none.
    """

    number: int = 0
    revision: str = ""
    data_version: int = -1

    @property
    def rows(self) -> int:
        """The length of the log."""
        return self.number - _pruned(self.number)


class News(NamedTuple):
    """What is in the file and not yet known here.

    `commits` of others in their order, and the present `entries` of all keys that they name. Or else `table`: all keys,
    when the log does not tell what happened.
    """

    commits: Sequence[Logged] = ()
    entries: Mapping[str, Entry | None] = {}
    table: Table | None = None


NO_NEWS = News()


class Transaction:
    """A transaction that has begun. `position` is how much is known; it counts when the transaction is committed."""

    def __init__(self, connection: sqlite3.Connection, position: Position, data_version: int) -> None:
        self._connection = connection
        self._data_version = data_version
        self.position = position

    def news(self) -> News:
        """What happened since `position`, and move it there."""
        if self._data_version == self.position.data_version:
            return NO_NEWS
        rows = self._new_rows()
        if not rows:
            return News(table=self.everything())
        commits = [Logged(revision, msgspec.json.decode(keys, type=list[str])) for _, revision, keys in rows]
        self.position = Position(rows[-1][0], commits[-1].revision, self._data_version)
        return News(commits, self._entries({key: None for logged in commits for key in logged.keys}))

    def everything(self) -> Table:
        """All keys, wherever the position was."""
        last = self._connection.execute("SELECT number, revision FROM log ORDER BY number DESC LIMIT 1")
        number, revision = last.fetchone() or (0, "")
        self.position = Position(number, revision, self._data_version)
        rows = self._connection.execute("SELECT key, value, version FROM entries")
        return Table((key, Entry(value, version)) for key, value, version in rows)

    def write(self, commits: Sequence[Commit]) -> None:
        """Add commits. The news must be known."""
        last: dict[str, Entry | None] = {}
        for writes, revision in commits:
            for key, value in writes.items():
                last[key] = None if value is None else Entry(value, revision)
        self._put(last)
        number = self.position.number
        self._connection.executemany(
            "INSERT INTO log(number, revision, keys) VALUES (?, ?, ?)",
            [
                (number + added, revision, msgspec.json.encode(list(writes)).decode())
                for added, (writes, revision) in enumerate(commits, 1)
            ],
        )
        number += len(commits)
        if _pruned(number) > _pruned(self.position.number):
            self._connection.execute("DELETE FROM log WHERE number <= ?", (_pruned(number),))
        self.position = Position(number, commits[-1].revision, self._data_version)

    def _new_rows(self) -> list[tuple[int, str, str]]:
        """The rows after the position. None of them: something happened that the log, as it is now, does not tell."""
        number, revision, _ = self.position
        rows = self._connection.execute(
            "SELECT number, revision, keys FROM log WHERE number >= ? ORDER BY number", (number,)
        ).fetchall()
        if number == 0:
            return rows if rows and rows[0][0] == 1 else []
        return rows[1:] if rows and rows[0][:2] == (number, revision) else []

    def _entries(self, keys: Iterable[str]) -> dict[str, Entry | None]:
        entries: dict[str, Entry | None] = {}
        for key in keys:
            row = self._connection.execute(
                "SELECT value, version FROM entries WHERE key = ?", (key,)
            ).fetchone()
            entries[key] = Entry(*row) if row is not None else None
        return entries

    def _put(self, entries: Mapping[str, Entry | None]) -> None:
        gone = [(key,) for key, entry in entries.items() if entry is None]
        if len(gone) < len(entries):
            self._connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)"
                " ON CONFLICT(key) DO UPDATE SET value = excluded.value, version = excluded.version",
                [(key, entry.value, entry.version) for key, entry in entries.items() if entry is not None],
            )
        if gone:
            self._connection.executemany("DELETE FROM entries WHERE key = ?", gone)


def _pruned(number: int) -> int:
    """The last row that is deleted when `number` is the last row of the log."""
    return max(0, number - number % _PRUNED_AT_ONCE - LOG_LENGTH)
