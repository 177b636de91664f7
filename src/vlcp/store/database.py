"""The file of the embedded store: SQLite, written by one thread of one process.

Schema 1: `entries(key, value, version)` holds every key; `log(number, revision, keys)` names the keys of the last
commits (a JSON list), written in the same transaction. `PRAGMA user_version` is the schema, `PRAGMA application_id`
says whose file it is (https://www.sqlite.org/pragma.html).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vlcp.store.contract import Entry, StoreError, StoreUnavailableError
from vlcp.store.table import Table

SCHEMA = 1
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
LOG_LENGTH = 10_000
"""Commits that the log names."""

_APPLICATION = 0x564C4350
_CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE entries(key TEXT PRIMARY KEY, value BLOB NOT NULL, version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE log(number INTEGER PRIMARY KEY AUTOINCREMENT, revision TEXT NOT NULL, keys TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""


class StoreFileError(StoreError):
    """The file cannot be used as a store. The text names it and says why."""


class Commit(NamedTuple):
    """What one commit writes, and the version that it gives."""

    writes: Mapping[str, bytes | None]
    revision: str


class Contents(NamedTuple):
    """What a file holds: all keys, and the last commit."""

    table: Table
    revision: str


class Database:
    """The file, locked against other processes. Every method blocks and belongs to the one writer thread."""

    def __init__(self, path: str, synchronous: str) -> None:
        self._path = Path(path)
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None

    def open(self) -> Contents:
        """Lock, create if missing, and read everything. `StoreFileError` when that is impossible."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = self._connect()
            return self._contents(self._connection)
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: a NUL in the path
            self.close()
            raise StoreFileError(f"cannot use {self._path} as a store: {error}") from error
        except StoreFileError:
            self.close()
            raise

    def write(self, commits: Sequence[Commit]) -> None:
        """All commits in one transaction. `StoreUnavailableError` when the disk refuses; then call `recover`."""
        if self._connection is None:
            raise StoreUnavailableError(f"the store {self._path} is not open")
        last: dict[str, Entry | None] = {}
        for writes, revision in commits:
            for key, value in writes.items():
                last[key] = None if value is None else Entry(value, revision)
        try:
            self._transaction(self._connection, last, commits)
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise StoreUnavailableError(f"cannot write {self._path}: {error}") from error

    def recover(self, revision: str) -> Contents | None:
        """After a failed write: open the file again. None if its last commit is `revision`, else what it holds."""
        try:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
            self._connection = self._connect()
            if _last_revision(self._connection) == revision:
                return None
            return self._contents(self._connection)
        except (OSError, sqlite3.Error, StoreFileError) as error:
            raise StoreUnavailableError(f"cannot open {self._path} again: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> int:
        # A file of its own: closing any descriptor of the database itself would drop the locks that SQLite holds on it.
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreFileError(
                f"the store {self._path} is in use by another process; stop it, or give this one another path"
            ) from None
        except OSError:
            os.close(lock)
            raise
        return lock

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            self._check_schema(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        application, schema = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application == _APPLICATION and schema == SCHEMA:
            return
        if application == _APPLICATION:
            raise StoreFileError(
                f"the store {self._path} has schema {schema}; this program knows only {SCHEMA}"
            )
        if schema or connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise StoreFileError(f"{self._path} is a database of another program")
        connection.executescript(_CREATE)

    @staticmethod
    def _contents(connection: sqlite3.Connection) -> Contents:
        rows = connection.execute("SELECT key, value, version FROM entries")
        table = Table((key, Entry(value, version)) for key, value, version in rows)
        return Contents(table, _last_revision(connection))

    @staticmethod
    def _transaction(
        connection: sqlite3.Connection, entries: Mapping[str, Entry | None], commits: Sequence[Commit]
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?)"
            " ON CONFLICT(key) DO UPDATE SET value = excluded.value, version = excluded.version",
            [(key, entry.value, entry.version) for key, entry in entries.items() if entry is not None],
        )
        connection.executemany(
            "DELETE FROM entries WHERE key = ?", [(key,) for key, entry in entries.items() if entry is None]
        )
        connection.executemany(
            "INSERT INTO log(revision, keys) VALUES (?, ?)",
            [(revision, json.dumps(list(writes))) for writes, revision in commits],
        )
        connection.execute("DELETE FROM log WHERE number <= (SELECT max(number) FROM log) - ?", (LOG_LENGTH,))
        connection.execute("COMMIT")


def _last_revision(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT revision FROM log ORDER BY number DESC LIMIT 1").fetchone()
    return str(row[0]) if row is not None else ""
