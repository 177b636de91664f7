"""Operations of a transaction (RFC 7047 section 5.2) and their results.

A condition is (column, function, value) such as `("name", "==", "br0")`; all conditions of a list must hold.
A mutation is (column, mutator, value) such as `("ports", "insert", {port})`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlcp.wire import WireError
from vlcp.wire.ovsdb.schema import Json, Schema, Uuid, Value, encode_row, encode_value

Operation = Mapping[str, Json]
Condition = tuple[str, str, Value]
Mutation = tuple[str, str, Value]


class OvsdbError(Exception):
    """The database refused. `error` is the tag of RFC 7047 section 3.1, such as `constraint violation`.

    `operation` is what was refused and `index` its place in the transaction, both None when the transaction failed
    as a whole: at its commit, or because the request was no transaction.
    """

    def __init__(
        self, error: str, details: str = "", operation: Operation | None = None, index: int | None = None
    ) -> None:
        self.error = error
        self.details = details
        self.operation = operation
        self.index = index
        super().__init__(error, details, operation, index)

    def __str__(self) -> str:
        text = f"{self.error}: {self.details}" if self.details else self.error
        if self.operation is None:
            return text
        return f"{text} (operation {self.index}, {self.operation['op']} {self.operation.get('table', '')})"

    @staticmethod
    def decode(json: Json, operation: Operation | None = None, index: int | None = None) -> OvsdbError:
        """The error that an <error>, or a reply's error member, tells of."""
        if isinstance(json, Mapping) and isinstance(json.get("error"), str):
            return OvsdbError(json["error"], str(json.get("details", "")), operation, index)
        return OvsdbError(str(json), "", operation, index)


def by_uuid(uuid: str) -> list[Condition]:
    """The condition that holds for one row."""
    return [("_uuid", "==", Uuid(uuid))]


def insert(table: str, row: Mapping[str, Value], name: str | None = None) -> Operation:
    """Insert a row; other operations refer to it as `NamedUuid(name)`. Result: its `Uuid`."""
    operation = {"op": "insert", "table": table, "row": encode_row(row)}
    return operation if name is None else {**operation, "uuid-name": str(name)}


def select(table: str, where: Iterable[Condition] = (), columns: Sequence[str] | None = None) -> Operation:
    """Read rows, all columns unless some are named. Result: a list of rows."""
    operation = {"op": "select", "table": table, "where": _conditions(where)}
    return operation if columns is None else {**operation, "columns": list(columns)}


def update(table: str, where: Iterable[Condition], row: Mapping[str, Value]) -> Operation:
    """Set the columns in `row`. Result: the number of rows."""
    return {"op": "update", "table": table, "where": _conditions(where), "row": encode_row(row)}


def mutate(table: str, where: Iterable[Condition], mutations: Iterable[Mutation]) -> Operation:
    """Change columns by `+= -= *= /= %= insert delete`. Result: the number of rows."""
    return {"op": "mutate", "table": table, "where": _conditions(where), "mutations": _conditions(mutations)}


def delete(table: str, where: Iterable[Condition]) -> Operation:
    """Delete rows. Result: their number."""
    return {"op": "delete", "table": table, "where": _conditions(where)}


def wait(
    table: str,
    where: Iterable[Condition],
    rows: Iterable[Mapping[str, Value]],
    until: str = "==",
    timeout: int | None = 0,
) -> Operation:
    """Go on only when what the database holds is (`==`) or is not (`!=`) these rows; all rows name the same columns.

    `timeout`: milliseconds, None to wait for ever. With 0 it guards a transaction: fail at once unless it holds.
    """
    rows = list(rows)
    operation: dict[str, Json] = {
        "op": "wait",
        "table": table,
        "where": _conditions(where),
        "columns": list(rows[0]) if rows else [],
        "until": until,
        "rows": [encode_row(row) for row in rows],
    }
    return operation if timeout is None else {**operation, "timeout": timeout}


def comment(text: str) -> Operation:
    """Text for the server's log of changes."""
    return {"op": "comment", "comment": text}


def commit(*, durable: bool) -> Operation:
    """Answer only when the transaction is on disk, if durable."""
    return {"op": "commit", "durable": durable}


def abort() -> Operation:
    """Fail the transaction."""
    return {"op": "abort"}


def assert_lock(lock: str) -> Operation:
    """Fail unless this connection owns the lock."""
    return {"op": "assert", "lock": lock}


def _conditions(triples: Iterable[tuple[str, str, Value]]) -> list[Json]:
    return [[column, function, encode_value(value)] for column, function, value in triples]


def results(operations: Sequence[Operation], reply: Json, schema: Schema | None = None) -> list[Any]:
    """The result of each operation of a transaction, see the functions above (None for those without).

    Raises `OvsdbError` for the operation that failed, `WireError` when the reply is not one to these operations.
    `schema` is needed for the rows of a `select`.
    """
    if not isinstance(reply, list) or len(reply) < len(operations):
        raise WireError(f"expected the results of {len(operations)} operations, got {reply!r:.80}")
    for index, result in enumerate(reply):
        if isinstance(result, Mapping) and "error" in result:
            of_operation = index < len(operations)
            operation = operations[index] if of_operation else None
            raise OvsdbError.decode(result, operation, index if of_operation else None)
    return [_result(*pair, schema) for pair in zip(operations, reply, strict=False)]


def _result(operation: Operation, json: Json, schema: Schema | None) -> Any:
    match operation["op"], json:
        case "insert", {"uuid": ["uuid", str(uuid)]}:
            return Uuid(uuid)
        case "select", {"rows": list(rows)} if schema is not None:
            table = schema.table(operation["table"])
            return [table.decode_row(row) for row in rows]
        case (("update" | "mutate" | "delete"), {"count": int(count)}):
            return count
        case (("insert" | "select" | "update" | "mutate" | "delete"), _):
            raise WireError(f"{operation['op']} {operation['table']}: no such result: {json!r:.80}")
    return None
