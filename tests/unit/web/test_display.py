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

from vlcp.server.config import ConfigError, parse
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


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Failing:
    def displayed(self) -> Any:
        raise RuntimeError("not to be shown")


class Data:
    def displayed(self) -> Any:
        return {"_key": "k", "a": 1}


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


def test_what_cannot_be_shown_is_text() -> None:
    """The call that returned it has done its work: there is always an answer."""
    circle: list[Any] = [1]
    circle.append(circle)
    assert json.loads(Display().encode(circle)) == [1, "<list...>"]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert b"<list...>" in Display().encode(deep)
    assert json.loads(Display().encode({"a": Broken(), "b": Failing()})) == {
        "a": "<Broken>",
        "b": "<Failing>",
    }
    while deep:  # or the interpreter ends the levels one in the other
        deep = deep[0]


def test_bytes() -> None:
    assert json.loads(Display(bytesdecode="latin-1").encode(b"\xe4")) == "ä"
    assert json.loads(Display(byteslimit=2).encode([b"abc", b"ab"])) == ["<3 bytes...>", "ab"]
    assert json.loads(Display(byteslimit=2, humanread=False).encode(b"abc")) == "abc"


def test_structures_as_text() -> None:
    display = Display(namedstruct=False)
    assert json.loads(display.encode([Port("a"), Point(1)])) == [
        "Port(id='a', tags=frozenset())",
        "Point(x=1)",
    ]


def test_data_objects() -> None:
    assert json.loads(Display().encode(Data())) == {"_key": "k", "a": 1}
    assert json.loads(Display(dataattributes=False).encode([Data()])) == [{"_key": "k"}]
    assert json.loads(Display(dataobject=False).encode(Data())) == "<Data>"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jsonformat.bytesdecode = 'x'", "x.conf:1: jsonformat.bytesdecode = 'x': there is no encoding 'x'"),
        ("jsonformat.byteslimit = -1", "x.conf:1: jsonformat.byteslimit = -1: expected `int` >= 0"),
    ],
)
def test_wrong_keys(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(text, "x.conf").settings(Display, "jsonformat")
