"""OVSDB values, operations and replicas, as far as no server is needed; tests/network compares with a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.wire import WireError, ovsdb
from vlcp.wire.ovsdb import (
    Column,
    NamedUuid,
    OvsdbError,
    Replica,
    RowChange,
    Schema,
    Uuid,
    encode_value,
    results,
)

A, B = Uuid("aaaaaaaa-0000-0000-0000-000000000000"), Uuid("bbbbbbbb-0000-0000-0000-000000000000")

SCHEMA = Schema.decode(
    {
        "name": "db",
        "version": "1.2.3",
        "tables": {
            "Port": {
                "isRoot": True,
                "indexes": [["name"]],
                "columns": {
                    "name": {"type": "string", "mutable": False},
                    "tag": {"type": {"key": {"type": "integer", "minInteger": 0}, "min": 0, "max": 1}},
                    "trunks": {"type": {"key": "integer", "min": 0, "max": 4096}},
                    "interfaces": {
                        "type": {"key": {"type": "uuid", "refTable": "Interface"}, "max": "unlimited"}
                    },
                    "external_ids": {
                        "type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}
                    },
                },
            },
            "Interface": {"columns": {}},
        },
    }
)
COLUMNS = {"Port": ["name", "tag", "trunks", "interfaces", "external_ids"]}


def test_a_schema_has_types_references_and_the_implicit_columns() -> None:
    port = SCHEMA.table("Port")
    assert port.columns["name"] == Column("string", mutable=False)
    assert port.columns["tag"] == Column("integer", minimum=0)
    assert port.columns["interfaces"] == Column("uuid", maximum=None, references="Interface")
    assert port.columns["external_ids"] == Column("string", "string", minimum=0, maximum=None)
    assert port.columns["_uuid"] == Column("uuid", mutable=False)
    assert (port.root, SCHEMA.table("Interface").root, port.indexes) == (True, False, (("name",),))


@pytest.mark.parametrize(
    ("column", "json_value", "value"),
    [
        (Column("integer"), 5, 5),
        (Column("real"), 5, 5.0),
        (Column("boolean"), True, True),
        (Column("uuid"), ["uuid", str(A)], A),
        (Column("string", minimum=0), ["set", []], None),
        (Column("string", minimum=0), "x", "x"),
        (Column("string", minimum=0), ["set", ["x"]], "x"),
        (Column("integer", minimum=0, maximum=None), ["set", []], frozenset()),
        (Column("integer", minimum=0, maximum=None), 7, frozenset({7})),
        (Column("uuid", maximum=None), ["uuid", str(A)], frozenset({A})),
        (Column("uuid", maximum=None), ["set", [["uuid", str(A)], ["uuid", str(B)]]], frozenset({A, B})),
        (Column("string", "integer", 0, None), ["map", [["a", 1], ["b", 2]]], {"a": 1, "b": 2}),
    ],
)
def test_values(column: Column, json_value: Any, value: Any) -> None:
    decoded = column.decode(json_value)
    assert decoded == value
    assert type(decoded) is type(value)
    assert column.decode(json.loads(json.dumps(encode_value(value)))) == value


@pytest.mark.parametrize(
    ("column", "json_value"),
    [
        (Column("integer"), True),
        (Column("integer"), 1.5),
        (Column("real"), False),
        (Column("boolean"), 1),
        (Column("string"), None),
        (Column("string"), ["set", []]),
        (Column("uuid"), str(A)),
        (Column("uuid"), ["named-uuid", "a"]),
        (Column("string", minimum=0), ["set", ["x", "y"]]),
        (Column("integer", maximum=None), ["set", [1, "2"]]),
        (Column("string", "string", 0, None), ["map", [["a"]]]),
        (Column("string", "string", 0, None), {}),
    ],
)
def test_values_of_the_wrong_type(column: Column, json_value: Any) -> None:
    with pytest.raises(WireError, match="expected"):
        column.decode(json_value)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ([], "schema: expected an object"),
        ({}, "schema.tables: expected an object"),
        ({"tables": {"t": {"columns": {"c": {}}}}}, r"t\.c: the type must be one of integer, real"),
        ({"tables": {"t": {"columns": {"c": {"type": {"key": "text"}}}}}}, r"t\.c: the type must be one of"),
        ({"tables": {"t": {"columns": {"c": {"type": {"key": "integer", "max": 0}}}}}}, r"t\.c: min must be"),
        ({"tables": {"t": {"columns": {}, "indexes": [1]}}}, "table t, indexes"),
    ],
)
def test_a_wrong_schema_names_the_place(schema: Any, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        Schema.decode(schema)


def test_a_value_that_no_column_holds() -> None:
    with pytest.raises(WireError, match="column name: no column can hold b'x', a bytes"):
        ovsdb.insert("Port", {"name": b"x"})


def test_operations_are_those_of_the_rfc() -> None:
    assert ovsdb.insert("Port", {"name": "p", "tag": None, "interfaces": {NamedUuid("i")}}, "p1") == {
        "op": "insert",
        "table": "Port",
        "row": {"name": "p", "tag": ["set", []], "interfaces": ["set", [["named-uuid", "i"]]]},
        "uuid-name": "p1",
    }
    assert ovsdb.mutate("Port", ovsdb.by_uuid(A), [("external_ids", "delete", {"k"})]) == {
        "op": "mutate",
        "table": "Port",
        "where": [["_uuid", "==", ["uuid", str(A)]]],
        "mutations": [["external_ids", "delete", ["set", ["k"]]]],
    }
    assert ovsdb.wait("Port", [("name", "==", "p")], [{"tag": 3}], "!=", timeout=None) == {
        "op": "wait",
        "table": "Port",
        "where": [["name", "==", "p"]],
        "columns": ["tag"],
        "until": "!=",
        "rows": [{"tag": 3}],
    }
    assert ovsdb.assert_lock("lock") == {"op": "assert", "lock": "lock"}


def test_results_by_operation() -> None:
    operations = [
        ovsdb.insert("Port", {}),
        ovsdb.select("Port"),
        ovsdb.delete("Port", []),
        ovsdb.comment("x"),
    ]
    reply = [{"uuid": ["uuid", str(A)]}, {"rows": [{"name": "p", "tag": 3}]}, {"count": 2}, {}]
    assert results(operations, reply, SCHEMA) == [A, [{"name": "p", "tag": 3}], 2, None]


def test_the_operation_that_failed_is_named() -> None:
    operations = [ovsdb.comment("x"), ovsdb.delete("Port", []), ovsdb.comment("y")]
    failed = {"error": "constraint violation", "details": "no"}
    with pytest.raises(OvsdbError) as caught:
        results(operations, [{}, failed, None])
    assert (caught.value.index, caught.value.operation, caught.value.error) == (
        1,
        operations[1],
        "constraint violation",
    )
    assert str(caught.value) == "constraint violation: no (operation 1, delete Port)"
    with pytest.raises(OvsdbError, match="referential") as caught:
        results(operations, [{}, {"count": 1}, {}, {"error": "referential integrity violation"}])
    assert caught.value.operation is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["error", "uuid", "rows"]), inner)
        ),
    )
)
def test_a_wrong_reply_is_one_of_two_errors(reply: Any) -> None:
    with pytest.raises((WireError, OvsdbError)):
        results([ovsdb.insert("Port", {}), ovsdb.select("Port")], reply, SCHEMA)


def text(**updates: Any) -> bytes:
    return json.dumps({"Port": updates}).encode()


def test_defaults_that_update2_leaves_out_are_filled_in() -> None:
    replica = Replica(SCHEMA, COLUMNS)
    [change] = replica.update2(text(**{A: {"initial": {"name": "p"}}}))
    zero = Uuid("00000000-0000-0000-0000-000000000000")
    new = {
        "name": "p",
        "tag": None,
        "trunks": frozenset(),
        "interfaces": frozenset({zero}),
        "external_ids": {},
    }
    assert change == RowChange("Port", A, None, new)


def test_differences_of_update2() -> None:
    replica = Replica(SCHEMA, COLUMNS)
    ids = ["map", [["a", "1"], ["b", "2"], ["c", "3"]]]
    row = {"name": "p", "tag": 1, "trunks": ["set", [1, 2]], "interfaces": ["uuid", A], "external_ids": ids}
    replica.update2(text(**{A: {"insert": row}}))
    difference = {
        "tag": ["set", []],
        "trunks": ["set", [2, 3]],
        "external_ids": ["map", [["a", "1"], ["b", "9"], ["d", "4"]]],
    }
    [change] = replica.update2(text(**{A: {"modify": difference}}))
    assert change.old is not None
    assert change.old["external_ids"] == {"a": "1", "b": "2", "c": "3"}  # the old row is not changed in place
    assert change.new == {
        "name": "p",
        "tag": None,
        "trunks": frozenset({1, 3}),
        "interfaces": frozenset({A}),
        "external_ids": {"b": "9", "c": "3", "d": "4"},
    }
    assert replica.update2(text(**{A: {"delete": None}})) == [RowChange("Port", A, change.new, None)]
    assert replica.tables == {"Port": {}}


def test_an_update_that_makes_no_sense_changes_nothing() -> None:
    replica = Replica(SCHEMA, COLUMNS)
    replica.update2(text(**{A: {"initial": {"name": "a"}}}))
    before = dict(replica.tables["Port"])
    for wrong in ({"modify": {"name": "x"}}, {"insert": {"name": 3}}, {"delete": None}, {}, []):
        with pytest.raises(WireError):
            replica.update2(text(**{A: {"modify": {"name": "changed"}}, B: wrong}))
        with pytest.raises(WireError):
            replica.update(text(**{A: {"new": {"name": "changed"}}, B: wrong}))
    assert replica.tables["Port"] == before


def test_columns_that_do_not_exist() -> None:
    with pytest.raises(WireError, match="table Port has no column 'nam'"):
        Replica(SCHEMA, {"Port": ["nam"]})
    with pytest.raises(WireError, match="database db has no table 'Ports'"):
        Replica(SCHEMA, {"Ports": []})
