"""The types of API parameters: each is a function from what a caller gave to the value that we keep.

Callers give text (from a query string), numbers, lists and dictionaries (from JSON or Python). A value that does not
fit raises `NotAllowedError`, which knows where inside the value the trouble is and what is allowed there.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from typing import Any, TypeVar

from vlcp.model.addresses import AddressError, format_address, parse_address, parse_mac, parse_prefix
from vlcp.model.errors import InvalidError

T = TypeVar("T")
S = TypeVar("S")
Field = Callable[[Any], T]

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_LONGEST_ID = 255
_LONGEST_NAME = 253
_DEEPEST = 32
_LONGEST_SHOWN = 80
_LONGEST_NUMBER = 4096


class _Short(reprlib.Repr):
    """Texts for messages. Python refuses to write very long numbers with decimal digits; they are hexadecimal here."""

    def repr_int(self, x: int, level: int) -> str:
        return hex(x) if x.bit_length() > _LONGEST_NUMBER else super().repr_int(x, level)


_short = _Short()
_short.maxstring = _short.maxother = _LONGEST_SHOWN
_short.maxlevel = 4


class NotAllowedError(ValueError):
    """A value that does not fit. `path` leads to it (`mtu`, `host_routes[1]`); `allowed` says what would fit."""

    def __init__(self, value: Any, allowed: str, path: str = "") -> None:
        super().__init__(value, allowed, path)
        self.value, self.allowed, self.path = value, allowed, path

    def below(self, path: str) -> NotAllowedError:
        """The same error, seen from one level up."""
        return NotAllowedError(self.value, self.allowed, path + self.path)

    def at(self, place: str) -> InvalidError:
        """The error for the caller; `place` is in front of the path: nothing, or `ports[3].`."""
        return InvalidError(
            f"{place}{self.path.removeprefix('.')} is {shown(self.value)}, but must be {self.allowed}"
        )


def shown(value: Any) -> str:
    """A value in an error message: short, however large or deep it is."""
    text = _short.repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _text(value: Any, allowed: str, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise NotAllowedError(value, allowed)
    return value


def identifier(value: Any) -> str:
    """The id of an object: any printable text, 1 to 255 characters."""
    return _text(value, f"text of 1 to {_LONGEST_ID} printable characters", _LONGEST_ID)


def identifier_or_empty(value: Any) -> str:
    """A name that may be empty."""
    return "" if value == "" else identifier(value)


def _parsed(parse: Callable[[str], T], value: Any) -> T:
    try:
        return parse(value if isinstance(value, str) else "")
    except AddressError as error:
        raise NotAllowedError(value, str(error)) from None


def address(value: Any) -> str:
    """A dotted IPv4 address."""
    return format_address(_parsed(parse_address, value))


def cidr(value: Any) -> str:
    """An IPv4 prefix `a.b.c.d/p`; host bits are cleared."""
    return str(_parsed(parse_prefix, value))


def subnet_cidr(value: Any) -> str:
    """The prefix of a subnet: any but the whole Internet, /0."""
    prefix = _parsed(parse_prefix, value)
    if prefix.length == 0:
        raise NotAllowedError(value, "a prefix with a length of 1 to 32")
    return str(prefix)


def mac(value: Any) -> str:
    """The MAC address of one machine, in lower case with colons."""
    return _parsed(parse_mac, value)


def integer(first: int, last: int) -> Field[int]:
    """A number within limits, also as decimal text."""

    def parse(value: Any) -> int:
        number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not first <= number <= last:
            raise NotAllowedError(value, f"a number from {first} to {last}")
        return number

    return parse


def boolean(value: Any) -> bool:
    """True or False, also as text (`true`, `false`, `1`, `0`)."""
    truth = _TRUTH.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(truth, bool):
        raise NotAllowedError(value, "true or false")
    return truth


def nullable(field: Field[T]) -> Field[T | None]:
    """A value of the given type, or None."""
    return lambda value: None if value is None else field(value)


def array(field: Field[T], of: str) -> Field[tuple[T, ...]]:
    """A list of values of one type; `of` names them in the error message."""

    def parse(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise NotAllowedError(value, f"a list of {of}")
        return tuple(within(field, f"[{index}]", item) for index, item in enumerate(value))

    return parse


def pair(first: Field[S], second: Field[T], of: str) -> Field[tuple[S, T]]:
    """A list of two values; `of` names them in the error message."""

    def parse(value: Any) -> tuple[S, T]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise NotAllowedError(value, of)
        return within(first, "[0]", value[0]), within(second, "[1]", value[1])

    return parse


def within(field: Field[T], path: str, value: Any) -> T:
    """The value of a part of something larger; `path` leads to it in the error."""
    try:
        return field(value)
    except NotAllowedError as error:
        raise error.below(path) from None


def name(value: Any) -> str:
    """A host or domain name (RFC 1123 section 2.1; underscores are let pass)."""
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not _NAME.fullmatch(value):
        raise NotAllowedError(value, "a name such as host1 or example.org")
    return value


_lease_seconds = integer(1, 0xFFFFFFFF)


def lease_time(value: Any) -> int | str:
    """Seconds, or `infinite` (RFC 2132 section 9.2)."""
    if value == "infinite":
        return "infinite"
    try:
        return _lease_seconds(value)
    except NotAllowedError:
        raise NotAllowedError(value, "a number of seconds from 1 to 4294967295, or 'infinite'") from None


def json_value(value: Any, depth: int = _DEEPEST) -> Any:
    """A value that JSON can hold; tuples become lists."""

    def inner(item: Any) -> Any:
        return json_value(item, depth - 1)

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and depth:
        return [within(inner, f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, dict) and depth:
        return {_json_name(key): within(inner, f".{key}", item) for key, item in value.items()}
    if not _json_scalar(value):
        raise NotAllowedError(value, f"a JSON value of at most {_DEEPEST} levels")
    return value


def _json_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 64
    return isinstance(value, float) and math.isfinite(value)


def _json_name(key: Any) -> str:
    if not isinstance(key, str) or not _json_scalar(key):
        raise NotAllowedError(key, "a text, as the names in a JSON object are")
    return key
