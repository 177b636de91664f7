"""The schema of a database (RFC 7047 section 3.2), and its columns' values as Python values.

| column | Python value |
|---|---|
| integer, real, boolean, string | int, float, bool, str |
| uuid | `Uuid` |
| at most one value (min 0, max 1) | the value, or None |
| set | frozenset |
| map | dict, not to be changed |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from vlcp.wire import WireError

Value = Any
"""What a column holds, see the table above."""

Json = Any


class Uuid(str):
    """The name of a row: 8-4-4-4-12 lower-case hexadecimal digits."""

    __slots__ = ()


class NamedUuid(str):
    """The name that an `insert` of the same transaction gave to its row; stands where a `Uuid` may stand."""

    __slots__ = ()


_ZERO_UUID = Uuid("00000000-0000-0000-0000-000000000000")

AtomDecoder = Callable[[Json], Value]


def _decode_uuid(json: Json) -> Uuid:
    match json:
        case ["uuid", str(text)]:
            return Uuid(text)
    raise WireError(f'expected ["uuid", "..."], got {json!r:.80}')


def _decode_real(json: Json) -> float:
    if isinstance(json, (int, float)) and not isinstance(json, bool):
        return float(json)
    raise WireError(f"expected real, got {json!r:.80}")


def _exactly(type_: type, name: str) -> AtomDecoder:
    def decode(json: Json) -> Value:
        if type(json) is type_:
            return json
        raise WireError(f"expected {name}, got {json!r:.80}")

    return decode


_ATOM_DECODERS: Mapping[str, AtomDecoder] = {
    "integer": _exactly(int, "integer"),
    "real": _decode_real,
    "boolean": _exactly(bool, "boolean"),
    "string": _exactly(str, "string"),
    "uuid": _decode_uuid,
}
_ATOM_DEFAULTS: Mapping[str, Value] = {
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "string": "",
    "uuid": _ZERO_UUID,
}


@dataclass(frozen=True, slots=True)
class Column:
    """The type of a column: `key` and, for maps, `value` name atomic types.

    `minimum` is 0 or 1; `maximum` is at least 1, None without limit. `references`: the table that uuids point to.
    """

    key: str
    value: str | None = None
    minimum: int = 1
    maximum: int | None = 1
    references: str | None = None
    mutable: bool = True
    ephemeral: bool = False
    decode: Callable[[Json], Value] = field(init=False, compare=False, repr=False)
    """The Python value of a JSON <value>; `WireError` when it is not of this type."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "decode", self._decoder())

    @property
    def scalar(self) -> bool:
        """Holds one value or (if `optional`) none, not a set or map."""
        return self.value is None and self.maximum == 1

    @property
    def optional(self) -> bool:
        return self.scalar and self.minimum == 0

    @property
    def default(self) -> Value:
        """What a row holds that was inserted without this column, RFC 7047 section 5.2.1."""
        if self.value is not None:
            return {} if not self.minimum else {_ATOM_DEFAULTS[self.key]: _ATOM_DEFAULTS[self.value]}
        if not self.minimum:
            return None if self.scalar else frozenset()
        atom = _ATOM_DEFAULTS[self.key]
        return atom if self.scalar else frozenset([atom])

    def changed(self, old: Value, difference: Value) -> Value:
        """The value that came out of `old` by a <row-update2> difference, ovsdb-server(7) section 4.1.14."""
        if self.maximum == 1:
            return difference
        if self.value is None:
            return old ^ difference
        kept = {k: v for k, v in old.items() if k not in difference}
        return kept | {k: v for k, v in difference.items() if k not in old or old[k] != v}

    def _decoder(self) -> Callable[[Json], Value]:
        key = _ATOM_DECODERS[self.key]
        if self.value is not None:
            return _map_decoder(key, _ATOM_DECODERS[self.value])
        if not self.scalar:
            return _set_decoder(key)
        return _optional_decoder(key) if self.minimum == 0 else key


def _optional_decoder(atom: AtomDecoder) -> AtomDecoder:
    def decode(json: Json) -> Value:
        match json:
            case ["set", []]:
                return None
            case ["set", [only]]:
                return atom(only)
        return atom(json)

    return decode


def _set_decoder(atom: AtomDecoder) -> AtomDecoder:
    def decode(json: Json) -> Value:
        match json:
            case ["set", list(members)]:
                return frozenset(map(atom, members))
        return frozenset([atom(json)])

    return decode


def _map_decoder(key: AtomDecoder, value: AtomDecoder) -> AtomDecoder:
    def decode(json: Json) -> Value:
        match json:
            case ["map", list(pairs)]:
                return dict(map(pair, pairs))
        raise WireError(f'expected ["map", [...]], got {json!r:.80}')

    def pair(json: Json) -> tuple[Value, Value]:
        match json:
            case [k, v]:
                return key(k), value(v)
        raise WireError(f"expected a pair of a map, got {json!r:.80}")

    return decode


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's columns, `_uuid` and `_version` among them. `root`: rows stay although nothing refers to them."""

    name: str
    columns: Mapping[str, Column]
    indexes: tuple[tuple[str, ...], ...] = ()
    root: bool = True

    def column(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            raise WireError(f"table {self.name} has no column {name!r}") from None

    def decode_row(self, row: Mapping[str, Json]) -> dict[str, Value]:
        """The values of a <row>; `WireError` names the table and the column."""
        decoded = {}
        for name, json in row.items():
            column = self.column(name)
            try:
                decoded[name] = column.decode(json)
            except WireError as error:
                raise WireError(f"{self.name}.{name}: {error}") from None
        return decoded


@dataclass(frozen=True, slots=True)
class Schema:
    """A database's schema. `version`: three numbers with points."""

    name: str
    version: str
    tables: Mapping[str, TableSchema]

    def table(self, name: str) -> TableSchema:
        try:
            return self.tables[name]
        except KeyError:
            raise WireError(f"database {self.name} has no table {name!r}") from None

    @staticmethod
    def decode(json: Json) -> Schema:
        """A <database-schema>; `WireError` names the place of what is wrong."""
        members = _object(json, "schema")
        tables = _object(members.get("tables"), "schema.tables")
        return Schema(
            name=str(members.get("name", "")),
            version=str(members.get("version", "")),
            tables={name: _decode_table(name, table) for name, table in tables.items()},
        )


_IMPLICIT_COLUMNS = {"_uuid": Column("uuid", mutable=False), "_version": Column("uuid", mutable=False)}


def _decode_table(name: str, json: Json) -> TableSchema:
    table = _object(json, f"table {name}")
    columns = _object(table.get("columns"), f"table {name}, columns")
    indexes = table.get("indexes", [])
    if not isinstance(indexes, list) or not all(isinstance(index, list) for index in indexes):
        raise WireError(f"table {name}, indexes: expected lists of column names")
    decoded = {c: _decode_column(f"{name}.{c}", _object(j, f"column {name}.{c}")) for c, j in columns.items()}
    return TableSchema(
        name=name,
        columns=_IMPLICIT_COLUMNS | decoded,
        indexes=tuple(tuple(map(str, index)) for index in indexes),
        root=table.get("isRoot", False) is True,
    )


def _decode_column(where: str, json: Mapping[str, Json]) -> Column:
    type_ = json.get("type")
    if not isinstance(type_, dict):
        type_ = {"key": type_}
    key = _base_type(type_.get("key"), where)
    value = _base_type(type_["value"], where)["type"] if "value" in type_ else None
    minimum, maximum = type_.get("min", 1), type_.get("max", 1)
    if minimum not in (0, 1) or (maximum != "unlimited" and not (isinstance(maximum, int) and maximum >= 1)):
        raise WireError(
            f"{where}: min must be 0 or 1, max at least 1 or unlimited; got {minimum!r}, {maximum!r}"
        )
    return Column(
        key=key["type"],
        value=value,
        minimum=minimum,
        maximum=None if maximum == "unlimited" else maximum,
        references=key.get("refTable"),
        mutable=json.get("mutable", True) is True,
        ephemeral=json.get("ephemeral", False) is True,
    )


def _base_type(json: Json, where: str) -> Mapping[str, Json]:
    base: Mapping[str, Json] = json if isinstance(json, dict) else {"type": json}
    name = base.get("type")
    if not isinstance(name, str) or name not in _ATOM_DECODERS:
        raise WireError(f"{where}: the type must be one of {', '.join(_ATOM_DECODERS)}, got {name!r:.80}")
    return base


def _object(json: Json, where: str) -> dict[str, Json]:
    if not isinstance(json, dict):
        raise WireError(f"{where}: expected an object, got {json!r:.80}")
    return json


def encode_value(value: Value) -> Json:
    """The JSON <value> of a Python value; `WireError` when it has none. None is the empty set."""
    match value:
        case None:
            return ["set", []]
        case Uuid():
            return ["uuid", str(value)]
        case NamedUuid():
            return ["named-uuid", str(value)]
        case bool() | int() | float():
            return value
        case str():
            return str(value)  # a plain one, JSON encoders refuse subclasses
        case Mapping():
            return ["map", [[encode_value(k), encode_value(v)] for k, v in value.items()]]
        case AbstractSet() | list() | tuple():
            return ["set", [encode_value(member) for member in value]]
    raise WireError(f"no column can hold {value!r:.80}, a {type(value).__name__}")


def encode_row(row: Mapping[str, Value]) -> dict[str, Json]:
    """The JSON <row> of a row; `WireError` names the column."""
    encoded = {}
    for name, value in row.items():
        try:
            encoded[name] = encode_value(value)
        except WireError as error:
            raise WireError(f"column {name}: {error}") from None
    return encoded
