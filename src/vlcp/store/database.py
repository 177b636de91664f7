"""The file of the embedded store: SQLite, shared by processes of one machine, used by one thread of each.

Schema 1: `entries(key, value, version)` holds every key; `log(number, revision, keys)` names the keys of the last
commits (a JSON list), written in the same transaction. `PRAGMA user_version` is the schema, `PRAGMA application_id`
says whose file it is (https://www.sqlite.org/pragma.html).

Beside the file `<path>`, and what SQLite itself puts there: `<path>.lock`, which every user of the file shares, so
that a program that wants it alone is kept out; `<path>.peers/`, where the users meet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from vlcp.store.contract import StoreError, StoreUnavailableError
from vlcp.store.filelock import Turn, pause, share
from vlcp.store.log import Position, Transaction
from vlcp.store.table import Table

SCHEMA = 1
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
PATIENCE = 5.0
"""Seconds to wait for another writer before a commit is refused."""

_APPLICATION = 0x564C4350
_ENTRIES = (
    "CREATE TABLE IF NOT EXISTS"
    " entries(key TEXT PRIMARY KEY, value BLOB NOT NULL, version TEXT NOT NULL) WITHOUT ROWID"
)
_LOG = (
    "CREATE TABLE IF NOT EXISTS log(number INTEGER PRIMARY KEY, revision TEXT NOT NULL, keys TEXT NOT NULL)"
)
_SETTINGS = (f"PRAGMA application_id = {_APPLICATION}", f"PRAGMA user_version = {SCHEMA}")


class StoreFileError(StoreError):
    """The file cannot be used as a store. The text names it and says why."""


class Database:
    """The file. Every method blocks and belongs to the one thread that was made for it."""

    def __init__(self, path: str, synchronous: str) -> None:
        self._path = Path(path)
        self._name = str(self._path)
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._shared: int | None = None
        self._turn = Turn(self.peers / "turn")
        self._position = Position()
        self._file = (0, 0)

    @property
    def peers(self) -> Path:
        """The directory where the users of the file meet."""
        return Path(f"{self._path}.peers")

    @property
    def log_rows(self) -> int:
        """Commits that this process knows the log to name."""
        return self._position.rows

    def open(self) -> tuple[Table, str]:
        """Every key and the last commit; a missing file is created. `StoreFileError` when that is impossible."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._share()
            self._turn.open()
            with self._turn.taken():
                self._create()
                self._connection = self._connect()
            self._file = self._identity()
            self._position = Position()
            with self.transaction(writing=False) as transaction:
                return transaction.everything(), transaction.position.revision
        except (OSError, ValueError, sqlite3.Error, StoreUnavailableError) as error:
            self.close()  # (a ValueError is a NUL in the path)
            raise StoreFileError(f"cannot use {self._path} as a store: {error}") from error
        except StoreFileError:
            self.close()
            raise

    @contextlib.contextmanager
    def transaction(self, writing: bool) -> Iterator[Transaction]:
        """All or nothing. `StoreUnavailableError` when the file or another writer refuses; then call `recover`."""
        if self._connection is None:
            raise StoreUnavailableError(f"the store {self._path} is not open")
        self._check_file()
        try:
            data_version = self._begin(self._connection, writing)
            transaction = Transaction(self._connection, self._position, data_version)
            try:
                yield transaction
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"cannot use {self._path}: {error}") from error
        self._position = transaction.position

    def recover(self) -> None:
        """After a failure: open the file again. What happened meanwhile, or happened after all, is news."""
        try:
            self._check_file()
            self._disconnect()
            self._connection = self._connect()
            self._position = self._position._replace(data_version=-1)
        except (OSError, sqlite3.Error, StoreFileError) as error:
            raise StoreUnavailableError(f"cannot open {self._path} again: {error}") from error

    def close(self) -> None:
        self._disconnect()
        self._turn.close()
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _share(self) -> None:
        # A file of its own: closing any descriptor of the database itself would drop the locks that SQLite holds on it.
        self._shared = share(Path(f"{self._path}.lock"))
        if self._shared is None:
            raise StoreFileError(
                f"the store {self._path} is in use by another process that does not share it;"
                " stop it, or give this one another path"
            )

    def _create(self) -> None:
        """An empty file for this user alone, if there is none. Nobody can have locks on it yet."""
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise PermissionError("this process may not write it")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            self._check_schema(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA busy_timeout = 0")  # from here on `_begin` waits
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, int]:
        status = os.stat(self._name)
        return status.st_dev, status.st_ino

    def _check_file(self) -> None:
        """`StoreUnavailableError` if what is written now would be lost.

        A file that took the place of ours is not opened: the journal beside it is not its own and would destroy it.
        """
        with contextlib.suppress(OSError):
            if self._identity() == self._file:
                return
        raise StoreUnavailableError(
            f"{self._path} was removed or replaced while it was in use; put it back, or stop all that use it, and"
            f" remove {self._path}-wal before you start again"
        )

    def _begin(self, connection: sqlite3.Connection, writing: bool) -> int:
        """Begin, and return the `data_version`. Waits while somebody else writes, in turn with other processes."""
        if not writing:
            return _begin_patiently(connection, "BEGIN")
        with self._turn.taken():
            return _begin_patiently(connection, "BEGIN IMMEDIATE")

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        """Refuse what is not ours; make what is missing, also in a file that has no log yet."""
        if self._missing(connection):
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for statement in self._missing(connection):  # another process may have been faster
                    connection.execute(statement)

    def _missing(self, connection: sqlite3.Connection) -> list[str]:
        application, schema = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        if application != _APPLICATION:
            if schema or tables:
                raise StoreFileError(f"{self._path} is a database of another program")
            return [_ENTRIES, _LOG, *_SETTINGS]
        if schema != SCHEMA:
            raise StoreFileError(
                f"the store {self._path} has schema {schema}; this program knows only {SCHEMA}"
            )
        return [] if {"entries", "log"} <= tables else [_ENTRIES, _LOG]


def _begin_patiently(connection: sqlite3.Connection, statement: str) -> int:
    end = None
    while True:
        try:
            connection.execute(statement)
            return int(connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            end = end or time.monotonic() + PATIENCE
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        pause()
