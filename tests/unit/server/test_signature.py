"""Parameters of an API: what is converted, what is refused and how, and what `discover` tells of them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from vlcp.server.config import Seconds
from vlcp.server.signature import Signature

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]  # as modules do for the types of results


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cable:
    """A live object."""


class Apis:
    """Methods that take one parameter."""

    def flag(self, value: bool) -> None: ...
    def perhaps(self, value: bool | None = None) -> None: ...
    def number(self, value: int) -> None: ...
    def size(self, value: Annotated[int, msgspec.Meta(gt=0)]) -> None: ...
    def cookie(self, value: int | str) -> None: ...
    def seconds(self, value: float | None = None) -> None: ...
    def patience(self, value: Seconds) -> None: ...
    def text(self, value: str | None = None) -> None: ...
    def names(self, value: list[str]) -> None: ...
    def things(self, value: list[Any] | None = None) -> None: ...
    def table(self, value: dict[str, int]) -> None: ...
    def pairs(self, value: list[tuple[int, int]]) -> None: ...
    def either(self, value: Literal["up", "down"]) -> None: ...
    def colour(self, value: Colour) -> None: ...
    def cable(self, value: Cable) -> None: ...
    def function(self, value: Callable[..., Any]) -> None: ...
    def anything(self, value: Any) -> None: ...
    def bare(self, value) -> None: ...  # type: ignore[no-untyped-def]  # as authors may write


def convert(api: str, value: Any) -> Any:
    return Signature(getattr(Apis(), api)).arguments({"value": value})["value"]


def refusal(api: str, value: Any) -> str:
    with pytest.raises(ValueError, match="parameter 'value': ") as caught:
        convert(api, value)
    return str(caught.value).removeprefix("parameter 'value': ")


@pytest.mark.parametrize(
    ("api", "given", "got"),
    [
        *(("flag", text, True) for text in ("true", "True", "TRUE", "yes", "on", "1")),
        *(("flag", text, False) for text in ("false", "False", "no", "off", "0")),
        ("flag", 0, False),
        ("flag", True, True),
        ("perhaps", "no", False),
        ("perhaps", None, None),
        ("perhaps", "null", None),
        ("number", "5", 5),
        ("number", 5, 5),
        ("number", "-5", -5),
        ("number", 5.0, 5),
        ("cookie", "5", "5"),
        ("cookie", 5, 5),
        ("seconds", "2.5", 2.5),
        ("seconds", 2, 2.0),
        ("seconds", None, None),
        ("text", "null", "null"),
        ("text", "", ""),
        ("names", ("a", "b"), ["a", "b"]),
        ("pairs", [[1, "2"]], [(1, 2)]),
        ("table", {"a": "1"}, {"a": 1}),
        ("either", "up", "up"),
        ("colour", "red", Colour.RED),
        ("function", len, len),
        ("anything", "5", "5"),
        ("bare", "5", "5"),
    ],
)
def test_values_become_what_the_annotation_says(api: str, given: Any, got: Any) -> None:
    converted = convert(api, given)
    assert converted == got
    assert type(converted) is type(got)


@pytest.mark.parametrize("api", ["things", "anything", "cable"])
def test_live_objects_are_passed_as_they_are(api: str) -> None:
    live = Cable() if api == "cable" else [object()]
    assert convert(api, live) is live


@pytest.mark.parametrize(
    ("api", "given", "text"),
    [
        ("flag", "maybe", "expected `bool`, got `str`; 'maybe' is neither true nor false"),
        ("flag", "", "expected `bool`, got `str`; '' is neither true nor false"),
        ("flag", 2, "expected `bool`, got `int`"),
        ("flag", None, "expected `bool`, got `null`"),
        ("number", "x", "expected `int`, got `str`"),
        ("number", True, "expected `int`, got `bool`"),
        ("number", "5.5", "expected `int`, got `str`"),
        ("size", "0", "expected `int` >= 1"),
        ("seconds", "nan", "expected a finite number, got nan"),
        ("seconds", float("inf"), "expected a finite number, got inf"),
        ("patience", "-1", "expected `float` > 0.0"),
        ("text", 5, "expected `str | null`, got `int`"),
        (
            "names",
            "ab",
            "expected `array`, got `str`; in a query or a form write it as a literal in back-quotes, in JSON",
        ),
        ("names", [5], "expected `str`, got `int` - at `$[0]`"),
        ("table", "a", "expected `object`, got `str`; in a query"),
        ("pairs", [[1]], "expected `array` of length 2, got 1 - at `$[0]`"),
        ("either", "sideways", "invalid enum value 'sideways'; allowed are 'up', 'down'"),
        ("colour", "green", "invalid enum value 'green'; allowed are 'red', 'blue'"),
        ("cable", "x", "expected `Cable`, got `str`"),
        ("function", "len", "expected `Callable`, got `str`"),
    ],
)
def test_what_is_not_allowed_is_named(api: str, given: Any, text: str) -> None:
    assert refusal(api, given).startswith(text)


def shape(physicalnetwork: str, id: str | None = None, *, mtu: int = 1500, **kwargs: int) -> dict[str, Any]:
    """Make a network.

    Of one kind:
        indented.
    """
    return {}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "missing parameter 'physicalnetwork'; the parameters are (physicalnetwork, id=None, mtu=1500)"),
        ({"id": "x"}, "missing parameter 'physicalnetwork'"),
    ],
)
def test_missing_parameters_are_named(params: Mapping[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Signature(shape).arguments(params)
    assert str(caught.value).startswith(text)


def test_unknown_parameters_are_named_unless_further_ones_are_taken() -> None:
    assert Signature(shape).arguments({"physicalnetwork": "p", "tag": "1"}) == {
        "physicalnetwork": "p",
        "tag": "1",
    }
    with pytest.raises(ValueError, match=r"unknown parameter 'valu'; did you mean value\?"):
        Signature(Apis().text).arguments({"valu": "x"})
    with pytest.raises(ValueError, match=r"unknown parameter 'q'; the parameters are \(value=None\)"):
        Signature(Apis().text).arguments({"q": "x"})


def test_what_the_caller_gave_stays_as_it_is() -> None:
    params = {"value": "5"}
    assert Signature(Apis().number).arguments(params) == {"value": 5}
    assert params == {"value": "5"}


def test_the_shape_of_details() -> None:
    assert Signature(shape).details() == {
        "description": "Make a network.\n\nOf one kind:\n    indented.",
        "parameters": [
            {
                "name": "physicalnetwork",
                "optional": False,
                "type": "<class 'str'>",
                "schema": {"type": "string"},
            },
            {
                "name": "id",
                "optional": True,
                "default": None,
                "type": ["<class 'str'>", None],
                "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            {
                "name": "mtu",
                "optional": True,
                "default": 1500,
                "type": "<class 'int'>",
                "schema": {"type": "integer"},
            },
        ],
        "extraparameters": True,
        "extraparameters_type": "<class 'int'>",
        "return_type": "dict[str, typing.Any]",
    }


def test_details_of_what_is_not_annotated_and_of_what_json_does_not_know() -> None:
    def plain(key, timeout=None):  # type: ignore[no-untyped-def]  # as authors may write
        pass

    assert Signature(plain).details() == {
        "description": "",
        "parameters": [
            {"name": "key", "optional": False},
            {"name": "timeout", "optional": True, "default": None},
        ],
        "extraparameters": False,
    }
    (cable,) = Signature(Apis().cable).details()["parameters"]
    assert cable == {"name": "value", "optional": False, "type": repr(Cable)}
    (size,) = Signature(Apis().size).details()["parameters"]
    assert (size["type"], size["schema"]) == ("<class 'int'>", {"type": "integer", "exclusiveMinimum": 0})


def test_a_result_may_have_a_type_that_only_type_checkers_know() -> None:
    def get(self: Any) -> Nothing: ...

    assert "return_type" not in Signature(get).details()


def test_parameters_must_be_usable_by_keyword() -> None:
    with pytest.raises(TypeError, match="must be usable by keyword"):
        Signature(lambda *args: None)
    with pytest.raises(TypeError, match="must be usable by keyword"):
        Signature(eval)
