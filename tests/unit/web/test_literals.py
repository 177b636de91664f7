"""Back-quoted literals."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.web.literals import is_quoted, unquote


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("`1`", 1),
        ("` -1.5 `", -1.5),
        ("`None`", None),
        ("`'a`b'`", "a`b"),
        ('`[1,2,{"name":("value",set(1,2,3))}]`', [1, 2, {"name": ("value", {1, 2, 3})}]),
        ("`set()`", set()),
        ("`set([])`", set()),
        ("`set([1, 2])`", {1, 2}),
        ("`set(set(1), )`", {1}),
        ("`{1, 2}`", {1, 2}),
        ("`b'x'`", b"x"),
        ("`1+2j`", 1 + 2j),
        ("`('a' 'b', -0x10, 1_000, ...)`", ("ab", -16, 1000, ...)),
        ("`{'a': set(), (1,): {True: None}}`", {"a": set(), (1,): {True: None}}),
        ("`[['10.0.0.0/8', '10.0.1.1']]`", [["10.0.0.0/8", "10.0.1.1"]]),
    ],
)
def test_literals(text: str, value: Any) -> None:
    assert is_quoted(text)
    assert unquote(text) == value


@pytest.mark.parametrize(
    "text",
    ["``", "`x`", "`1 +`", "`len([])`", "`set(a=1)`", "`set(*[1])`", "`set([[1]])`", "`__import__('os')`", "`9**9`",
     "`" + "[" * 5000 + "`", "`x\0`"],
)  # fmt: skip
def test_what_is_not_a_literal(text: str) -> None:
    with pytest.raises(ValueError, match="not a Python literal between back-quotes"):
        unquote(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("`[1, x]`", r"only literals and set(...) are allowed (character 6)"),
        ("` {'ä': f()}`", r"only literals and set(...) are allowed (character 9)"),
        ("`[1,\n 2 3]`", r"(character 7)"),
        ("`(1`", r"'(' was never closed (character 2)"),
        ("`{[]: 1}`", r"unhashable type: 'list': it can be neither in a set nor a key"),
        ("`" + "-" * 7000 + "1`", r"nested too deeply"),
    ],
)  # fmt: skip
def test_errors_tell_the_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        unquote(text)


def test_one_quote_is_no_pair() -> None:
    assert not is_quoted("`")
    assert not is_quoted("a`")


def test_doubts_of_the_compiler_are_not_told(recwarn: pytest.WarningsRecorder) -> None:
    assert unquote(r"`'\d'`") == r"\d"
    assert len(recwarn) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    | st.frozensets(st.text() | st.integers(), max_size=3).map(set),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_what_python_writes_is_read(value: Any) -> None:
    assert unquote(f"`{value!r}`") == value


PIECES = st.sampled_from(
    ["1", "'a", "'", "[", "]", "(", ")", "{", "}", ",", ":", "x", "set(", "set", "*", "**", "-", "+", "\n", "\r", "\t",
     "\\", "#", "é", "\x0c", "\u2028", "f'", "b'", "lambda", "=", "\ud800", "\0", '"""', "...", "if", "not ", "await "]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_nothing_else_breaks_it(source: str) -> None:
    told = "not a Python literal between back-quotes: "
    try:
        unquote(f"`{source}`")
    except ValueError as error:
        told = str(error)
    assert told.startswith("not a Python literal between back-quotes: ")
