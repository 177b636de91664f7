"""A copy of monitored tables, kept up to date by the server's notifications.

Updates come as JSON text and are decoded row by row while they are read: reading a big one can be spread over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from vlcp.wire import WireError
from vlcp.wire.jsonrpc import decode_value
from vlcp.wire.ovsdb.schema import Schema, TableSchema, Uuid, Value

Row = Mapping[str, Value]
"""A row's monitored columns; never changed, but replaced."""


class RowChange(NamedTuple):
    """A row before and after; None where it did not exist."""

    table: str
    uuid: Uuid
    old: Row | None
    new: Row | None


class _RowUpdate(msgspec.Struct):
    """RFC 7047 section 4.1.6: `old` holds only what changed, or all of a deleted row."""

    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None


class _RowUpdate2(msgspec.Struct):
    """ovsdb-server(7) section 4.1.14: `modify` holds differences, `initial` and `insert` leave out defaults."""

    initial: dict[str, Any] | None = None
    insert: dict[str, Any] | None = None
    modify: dict[str, Any] | None = None
    delete: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


_table_updates = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])
_row_update = msgspec.json.Decoder(_RowUpdate)
_row_update2 = msgspec.json.Decoder(_RowUpdate2)


class Replica:
    """The rows of monitored tables. `tables`: table -> uuid -> row, with the columns that are monitored."""

    def __init__(self, schema: Schema, columns: Mapping[str, Sequence[str]]) -> None:
        """`columns`: table -> the columns that are monitored. `WireError` when the schema lacks one."""
        self.schema = schema
        self.tables: dict[str, dict[Uuid, Row]] = {table: {} for table in columns}
        self._defaults = {table: _defaults(schema.table(table), names) for table, names in columns.items()}

    def update(self, updates: msgspec.Raw | bytes) -> list[RowChange]:
        """Take <table-updates> (RFC 7047); `WireError` when they make no sense, and then nothing is taken."""
        return self.apply(self.read_update(updates))

    def update2(self, updates: msgspec.Raw | bytes) -> list[RowChange]:
        """Take <table-updates2> (`monitor_cond`), like `update`."""
        return self.apply(self.read_update2(updates))

    def apply(self, changes: Iterable[RowChange]) -> list[RowChange]:
        """Take changes that were read, all or none."""
        changes = list(changes)
        for table, uuid, _, new in changes:
            if new is None:
                del self.tables[table][uuid]
            else:
                self.tables[table][uuid] = new
        return changes

    def read_update(self, updates: msgspec.Raw | bytes) -> Iterator[RowChange]:
        """Decode <table-updates> row by row. They must be applied before the next ones are read."""
        for table, uuid, text in self._read_rows(updates):
            row = decode_value(text, _row_update)
            old = self.tables[table.name].get(uuid)
            if row.new is not None:
                new = {**self._defaults[table.name], **table.decode_row(row.new)}
                yield RowChange(table.name, uuid, old, new)
            elif old is not None:
                yield RowChange(table.name, uuid, old, None)
            else:
                raise WireError(f"{table.name} {uuid}: an update of a row that was never told of")

    def read_update2(self, updates: msgspec.Raw | bytes) -> Iterator[RowChange]:
        """Decode <table-updates2> row by row. They must be applied before the next ones are read."""
        for table, uuid, text in self._read_rows(updates):
            row = decode_value(text, _row_update2)
            old = self.tables[table.name].get(uuid)
            inserted = row.initial if row.initial is not None else row.insert
            if inserted is not None:
                new = {**self._defaults[table.name], **table.decode_row(inserted)}
                yield RowChange(table.name, uuid, old, new)
            elif old is None:
                raise WireError(f"{table.name} {uuid}: an update of a row that was never told of")
            elif row.modify is not None:
                yield RowChange(table.name, uuid, old, _modified(table, old, row.modify))
            elif row.delete is not msgspec.UNSET:
                yield RowChange(table.name, uuid, old, None)
            else:
                raise WireError(f"{table.name} {uuid}: expected initial, insert, modify or delete")

    def _read_rows(self, updates: msgspec.Raw | bytes) -> Iterator[tuple[TableSchema, Uuid, msgspec.Raw]]:
        for name, rows in decode_value(updates, _table_updates).items():
            if name not in self.tables:
                raise WireError(f"an update of table {name!r}, which is not monitored")
            table = self.schema.table(name)
            for uuid, text in rows.items():
                yield table, Uuid(uuid), text


def _defaults(table: TableSchema, names: Sequence[str]) -> Row:
    return {name: table.column(name).default for name in names}


def _modified(table: TableSchema, old: Row, difference: Mapping[str, Any]) -> Row:
    new = dict(old)
    for name, value in table.decode_row(difference).items():
        if name not in old:
            raise WireError(f"{table.name}.{name}: an update of a column that is not monitored")
        new[name] = table.columns[name].changed(old[name], value)
    return new
