"""How results look as JSON."""

import dataclasses
import enum
import json
import uuid
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from vlcp.web.display import Display


class Port(msgspec.Struct):
    id: str
    tags: frozenset[int] = frozenset()


@dataclasses.dataclass
class Point:
    x: int


class Kind(enum.Enum):
    VLAN = "vlan"


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Port("a", frozenset({3, 1, 2})), {"id": "a", "tags": [1, 2, 3]}),
        ([Point(1), Kind.VLAN, (1, None)], [{"x": 1}, "vlan", [1, None]]),
        ({1, "a", None}, [None, 1, "a"]),
        (b"abc", "abc"),
        (b"\x01\xff", "b'\\x01\\xff'"),
        (b"x" * 300, "<300 bytes...>"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({(1, 2): {b"k": 1}, 3: 4}, {"(1, 2)": {"k": 1}, "3": 4}),
        ([1 << 20_000, 2], [hex(1 << 20_000), 2]),
        ([1.5, float("nan"), float("inf")], [1.5, None, None]),
        (ip_address("10.0.0.1"), "10.0.0.1"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Opaque(), "<Opaque>"),
        (ValueError("x"), "x"),
    ],
)
def test_values(value: Any, shown: Any) -> None:
    assert json.loads(Display().encode(value)) == shown


def test_the_text_is_ascii() -> None:
    assert Display().encode({"ä": ["b"], "c": 1}) == b'{"\\u00e4": ["b"], "c": 1}'


def test_a_value_that_contains_itself() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        Display().encode(value)
