"""Values as JSON for people and programs that call the web API: readable, but not made to be read back.

Structures and data classes are objects, sets are sorted lists, bytes are text where they can be. The JSON text is
pure ASCII.
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Set
from enum import Enum
from typing import Annotated, Any

import msgspec

logger = logging.getLogger(__name__)
_DEEPEST = 200
"""Levels that a value is shown for which the encoder cannot do alone."""
_LONGEST_NUMBER = 4096
"""Bits of the largest number that is shown in decimal digits; Python refuses to convert very long ones."""


class Display(msgspec.Struct, frozen=True, kw_only=True):
    """How values are shown; the keys of `jsonformat.*`."""

    humanread: bool = True
    """Shorten long byte strings."""
    bytesdecode: str = "ascii"
    """The encoding that byte strings are tried with; others are shown as Python writes them."""
    byteslimit: Annotated[int, msgspec.Meta(ge=0)] = 256
    """Byte strings longer than this are shortened."""
    namedstruct: bool = True
    """Show structures and data classes as objects; otherwise as text."""
    dataobject: bool = True
    """Show objects of the object database as objects; otherwise as text."""
    dataattributes: bool = True
    """Show their attributes; otherwise only what names them."""

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.bytesdecode)
        except LookupError:
            raise ValueError(f"bytesdecode: there is no encoding {self.bytesdecode!r}") from None

    def encode(self, value: Any) -> bytes:
        """The JSON text of any value. What cannot be shown is text: whoever asked has done something already."""
        try:
            return json.dumps(value, default=self._simpler, allow_nan=False).encode()
        except (
            Exception
        ):  # keys that are not text, numbers that JSON does not have, circles, objects that fail
            return json.dumps(self._plain(value, ())).encode()

    def _simpler(self, value: Any) -> Any:
        """What stands for a value that JSON does not know; itself encoded again."""
        if callable(getattr(type(value), "displayed", None)):  # it knows how it wants to be shown
            return self._object(value)
        if isinstance(value, msgspec.Struct) and self.namedstruct:
            fields = msgspec.structs.asdict(value)
            return {name: field for name, field in fields.items() if field is not msgspec.UNSET}
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value))
        if isinstance(value, Set):
            return _sorted(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, Enum):
            return value.value
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and self.namedstruct:
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, tuple | list):
            return list(value)
        return _text(value)

    def _object(self, value: Any) -> Any:
        shown = value.displayed() if self.dataobject else _text(value)
        if self.dataattributes or not isinstance(shown, dict):
            return shown
        return {name: attribute for name, attribute in shown.items() if name.startswith("_")}

    def _bytes(self, value: bytes) -> str:
        if self.humanread and len(value) > self.byteslimit:
            return f"<{len(value)} bytes...>"
        try:
            return value.decode(self.bytesdecode)
        except (UnicodeError, LookupError):
            return repr(value)

    def _plain(self, value: Any, above: tuple[int, ...]) -> Any:
        """A copy of a value in terms of JSON, for what the encoder cannot do alone."""
        if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
            return hex(value)
        if value is None or isinstance(value, str | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if id(value) in above or len(above) >= _DEEPEST:
            return f"<{type(value).__name__}...>"
        below = (*above, id(value))
        try:
            return self._inside(value, below)
        except Exception:
            logger.exception("a value of class %s cannot be shown", type(value).__qualname__)
            return f"<{type(value).__name__}>"

    def _inside(self, value: Any, below: tuple[int, ...]) -> Any:
        if isinstance(value, Mapping):
            return {self._key(key): self._plain(item, below) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item, below) for item in value]
        return self._plain(self._simpler(value), below)

    def _key(self, key: Any) -> str | int | float | bool | None:
        if key is None or isinstance(key, str | int | float):
            return key
        return self._bytes(key) if isinstance(key, bytes) else str(key)


def _sorted(values: Set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (type(value).__name__, repr(value)))


def _text(value: Any) -> str:
    """An object as text, without memory addresses."""
    text = str(value)
    return f"<{type(value).__name__}>" if f" at {id(value):#x}" in text else text
