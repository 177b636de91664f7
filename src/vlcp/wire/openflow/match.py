"""What a flow matches: an `ofp_match` (OpenFlow 1.3.5, section 7.2.3) and its values."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vlcp.wire.openflow.fields import FIELDS, Field, Value, field_of_header, short_headers
from vlcp.wire.records import Buffer, WireError

_OXM = 1  # the type of an ofp_match that holds OXM fields
_VLAN_PRESENT = 0x1000
_PREFIX = struct.Struct("!HH")


class Match:
    """An immutable set of fields to match. Two matches are equal when a switch would hold them to be the same.

    `Match(in_port=3, eth_dst=(0x010000000000, 0x010000000000))`: a value is an unsigned integer or `(value, mask)`.
    A mask of all ones is left out; a field with a mask of zero is left out.
    ValueError: an unknown field, a value that does not fit, a mask where none is taken, or a missing prerequisite;
    the text names the field.
    """

    __slots__ = ("_packed", "_values")

    def __init__(self, **fields: Value) -> None:
        values: dict[str, Value] = {}
        dependent = []
        for name, value in fields.items():
            field = FIELDS.get(name)
            if field is None or not field.matchable:
                raise ValueError(_not_matchable(name))
            if type(value) is int and 0 <= value <= field.limit and not field.always_masked:
                values[name] = value
            elif (checked := field.checked(value)) is not None:
                values[name] = checked
            else:
                continue
            if field.requires is not None:
                dependent.append(field)
        for field in dependent:
            _check_requirement(field, values)
        if "vlan_vid" in values or "vlan_pcp" in values:
            _check_vlan(values)
        self._values = values
        self._packed: bytes | None = None

    @classmethod
    def _of(cls, values: dict[str, Value]) -> Match:
        """A match of values that were on the wire: nothing is checked."""
        match = cls.__new__(cls)
        match._values = values
        match._packed = None
        return match

    def pack(self) -> bytes:
        """The whole `ofp_match` with its padding."""
        if self._packed is None:
            self._packed = _encode(self._values)
        return self._packed

    @property
    def fields(self) -> tuple[tuple[str, Value], ...]:
        """(name, value or (value, mask)), in the order of a dump by Open vSwitch."""
        return tuple((name, self._values[name]) for name in _in_order(self._values))

    def get(self, name: str, default: Value | None = None) -> Value | None:
        """The value or (value, mask) of a field; `default` when the field is not matched."""
        return self._values.get(name, default)

    def number(self, name: str, default: int = 0) -> int:
        """The value of a field, without its mask; `default` when the field is not matched."""
        value = self._values.get(name, default)
        return value[0] if isinstance(value, tuple) else value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Match) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.fields)
        return f"Match({shown})"


_WIRE = {name: (field.header.exact, field.header.masked, field.header.size) for name, field in FIELDS.items()}
_RANKS = {name: field.rank for name, field in FIELDS.items()}
_SHORT_HEADERS = short_headers()


def _in_order(values: dict[str, Value]) -> list[str]:
    """The names in the order of a dump; unknown ones last."""
    if len(values) < 2:
        return list(values)
    try:
        return sorted(values, key=_RANKS.__getitem__)
    except KeyError:
        return sorted(values, key=lambda name: _RANKS.get(name, len(_RANKS)))


def _shown(value: Value) -> str:
    return f"({value[0]:#x}, {value[1]:#x})" if isinstance(value, tuple) else f"{value:#x}"


def _not_matchable(name: str) -> str:
    if name in FIELDS:
        return f"{name}: cannot be matched; match the 32-bit registers that it is made of"
    return f"unknown field {name!r}; see vlcp.wire.openflow.fields.FIELDS"


def _check_requirement(field: Field, values: dict[str, Value]) -> None:
    assert field.requires is not None
    required, allowed = field.requires
    if values.get(required) not in allowed:
        shown = " or ".join(f"{required}={value:#x}" for value in sorted(allowed))
        raise ValueError(f"{field.name}: can only be matched together with {shown}")


def _check_vlan(values: dict[str, Value]) -> None:
    """A tag's number is matched with the bit for "has a tag" set; 0 means no tag (OpenFlow 1.3.5, section 7.2.3.7)."""
    vid = values.get("vlan_vid")
    if isinstance(vid, int) and vid and not vid & _VLAN_PRESENT:
        raise ValueError(f"vlan_vid: {vid} lacks the bit 0x1000 that says there is a tag")
    number = vid[0] if isinstance(vid, tuple) else vid
    if "vlan_pcp" in values and not (number or 0) & _VLAN_PRESENT:
        raise ValueError("vlan_pcp: can only be matched together with a vlan_vid that has the bit 0x1000 set")


def encode_match(match: Match | Buffer) -> bytes:
    """The whole `ofp_match` with its padding, exactly as Open vSwitch writes this match into a dump.

    Bytes are taken for a match that is encoded already.
    """
    return match.pack() if isinstance(match, Match) else bytes(match)


def _encode(values: dict[str, Value]) -> bytes:
    parts = []
    for name in _in_order(values):
        value, wire = values[name], _WIRE.get(name)
        if isinstance(value, int) and wire is not None:  # the usual case without a call
            parts.append(wire[0] + value.to_bytes(wire[2], "big"))
        else:
            parts.append(encode_field(name, value))
    fields = b"".join(parts)
    length = len(fields) + 4
    return _PREFIX.pack(_OXM, length) + fields + bytes(-length % 8)


def encode_field(name: str, value: Value) -> bytes:
    """Header and value of one field."""
    wire = _WIRE.get(name)
    if wire is None:
        return _unknown_bytes(name, value)
    exact, masked, size = wire
    if isinstance(value, tuple):
        number, mask = value
        return masked + number.to_bytes(size, "big") + mask.to_bytes(size, "big")
    return exact + value.to_bytes(size, "big")


def decode_match(data: Buffer, offset: int = 0, end: int | None = None) -> Match:
    """The match at `offset`. Fields that are not known keep their header as a name. `WireError`: garbage."""
    return unpack_match(data, offset, len(data) if end is None else end)[0]


def unpack_match(data: Buffer, offset: int, end: int) -> tuple[Match, int]:
    """The match at `offset`, and the offset behind its padding."""
    if end - offset < 4:
        raise WireError("match: too few bytes for a header")
    kind, length = _PREFIX.unpack_from(data, offset)
    behind = offset + (length + 7) // 8 * 8
    if kind != _OXM or length < 4 or behind > end:
        raise WireError(f"match: type {kind}, length {length} with {end - offset} bytes left")
    return Match._of(_decode(bytes(data[offset + 4 : offset + length]))), behind


def _decode(data: bytes) -> dict[str, Value]:
    values: dict[str, Value] = {}
    offset, end = 0, len(data)
    number = int.from_bytes
    while offset < end:
        known = _SHORT_HEADERS.get(data[offset : offset + 4])
        if known is None:
            name, value, offset = _decode_unusual(data, offset)
            values[name] = value
            continue
        name, size, masked = known
        middle = offset + 4 + size
        if masked:
            values[name] = (
                number(data[offset + 4 : middle], "big"),
                number(data[middle : middle + size], "big"),
            )
            offset = middle + size
        else:
            values[name] = number(data[offset + 4 : middle], "big")
            offset = middle
    if offset > end:
        raise WireError(f"match: its last field reaches {offset - end} bytes beyond the end")
    return values


def _decode_unusual(data: bytes, offset: int) -> tuple[str, Value, int]:
    """A field with an experimenter's header, or one that is not known: name, value, the offset behind it."""
    header = data[offset : offset + 4]
    if header[:2] == b"\xff\xff":
        header = data[offset : offset + 8]
    if len(header) < 4 or header[3] < len(header) - 4 or offset + 4 + header[3] > len(data):
        raise WireError(f"match: field {header.hex()} is too short or reaches beyond the end")
    start, behind = offset + len(header), offset + 4 + header[3]
    field = field_of_header(header)
    name = field.name if field else "oxm_" + header.hex()
    if not header[2] & 1:
        return name, int.from_bytes(data[start:behind], "big"), behind
    middle = (start + behind) // 2
    return (
        name,
        (int.from_bytes(data[start:middle], "big"), int.from_bytes(data[middle:behind], "big")),
        behind,
    )


def _unknown_bytes(name: str, value: Value) -> bytes:
    """A field that was decoded without being known: its name holds its header."""
    header = bytes.fromhex(name.removeprefix("oxm_"))
    size = header[3] - (len(header) - 4)
    if isinstance(value, tuple):
        return header + value[0].to_bytes(size // 2, "big") + value[1].to_bytes(size // 2, "big")
    return header + value.to_bytes(size, "big")


def unpack_field(data: Buffer, offset: int, end: int) -> tuple[str, int]:
    """The one field at `offset`: its name and value. `WireError`: garbage, or a masked field."""
    length = data[offset + 3] + 4 if end - offset >= 4 else 0
    if not length or offset + length > end:
        raise WireError("set_field: the field reaches beyond the end of the action")
    ((name, value),) = _decode(bytes(data[offset : offset + length])).items()
    if isinstance(value, tuple):
        raise WireError(f"set_field: {name} has a mask, which OpenFlow 1.3 does not allow")
    return name, value
