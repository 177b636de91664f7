"""The configuration file: one `key = literal` per logical line, kept as a tree of dotted keys.

Grammar: a key is identifiers joined by dots (a letter, then letters, digits and underscores), without leading
blanks. A value is a Python literal. Lines that begin with white space continue the value above. Blank lines and
lines whose first visible character is `#` are skipped, also inside a value. A later assignment wins; a key is
either a value or a subtree, whichever was assigned last.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)
Seconds = Annotated[float, msgspec.Meta(gt=0)]
"""A setting that is a time, never zero."""
Limit = Annotated[int, msgspec.Meta(gt=0)]
"""A setting that is the largest number of something."""

_KEY = r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*"
_LONGEST_TYPO = 255
"""Characters of the longest name for which similar ones are searched; to compare takes time."""
_ASSIGNMENT = re.compile(rf"({_KEY})[ \t]*=(.*)", re.DOTALL)


class ConfigError(ValueError):
    """The configuration cannot be used. The text names the place, what is there and what is wrong."""


class Subtree(dict[str, Any]):
    """An inner node of the tree; any other value, a plain dict too, is a leaf."""


class Config:
    """A tree of settings, each with the place where it was written."""

    def __init__(self, filename: str = "") -> None:
        self.filename = filename
        self._root = Subtree()
        self._origins: dict[str, str] = {}

    def set(self, key: str, value: Any, origin: str = "") -> None:
        """Assign one leaf. `origin` is told in messages about it, such as `vlcp.conf:12`."""
        if not re.fullmatch(_KEY, key):
            raise ConfigError(
                f"{origin or 'configuration'}: {key!r} is not a key: identifiers joined by dots"
            )
        *parents, last = key.split(".")
        node = self._root
        for name in parents:
            below = node.get(name)
            if not isinstance(below, Subtree):
                below = node[name] = Subtree()
            node = below
        node[last] = value
        self._origins[key] = origin

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; a subtree comes as nested dictionaries. `default` when nothing was assigned."""
        node: Any = self._root
        for name in key.split("."):
            if not isinstance(node, Subtree) or name not in node:
                return default
            node = node[name]
        return _plain(node)

    def subtree(self, key: str) -> dict[str, Any]:
        """What is below a key, as nested dictionaries; a leaf that holds a dictionary counts as well."""
        node = self.get(key)
        return node if isinstance(node, dict) else {}

    def names(self, key: str = "") -> list[str]:
        """The sorted names directly below a key; below the root without a key."""
        return sorted(self.subtree(key) if key else self._root)

    def items(self) -> Iterator[tuple[str, Any]]:
        """All leaves with their full keys, sorted by key."""
        return iter(sorted(_leaves(self._root, ""), key=lambda item: item[0]))

    def origin(self, key: str) -> str:
        """Where a key (or the first one below it) was assigned, such as `/etc/vlcp.conf:12`; else the file's name."""
        if key in self._origins:
            return self._origins[key]
        below = (origin for name, origin in self._origins.items() if name.startswith(key + "."))
        return next(below, self.filename or "configuration")

    def dump(self) -> str:
        """The tree as the text of a configuration file, one assignment per line, sorted."""
        return "".join(f"{key} = {value!r}\n" for key, value in self.items())

    def settings(self, cls: type[S], key: str, fallback: str | None = None) -> S:
        """Build a settings structure from what is below `key`.

        Fields that are missing there are taken from below `fallback`, then from the structure's defaults. Keys that
        are not fields are ignored here (see `unknown`). Raises `ConfigError` that names the key and its place.
        """
        self.check_keys_below(key)
        values = {**(self.subtree(fallback) if fallback else {}), **self.subtree(key)}
        try:
            return msgspec.convert(_texts(values), cls, strict=False)
        except msgspec.ValidationError as error:
            raise self._invalid(error, key, fallback) from None

    def check_keys_below(self, key: str) -> None:
        """Raise `ConfigError` if the key is a value by itself, where only keys below it mean something."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise ConfigError(
                f"{self.origin(key)}: {key} = {value!r}: expected a dictionary, or keys below it such as {key}.<name>"
            )

    def _invalid(self, error: msgspec.ValidationError, key: str, fallback: str | None) -> ConfigError:
        what, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        name = re.split(r"[.\[]", field)[0]
        owner = fallback if fallback and name not in self.subtree(key) else key
        full = f"{owner}.{name}"
        return ConfigError(f"{self.origin(full)}: {full} = {self.get(full)!r}: {what[:1].lower()}{what[1:]}")

    def unknown(self, key: str, known: Iterable[str]) -> list[str]:
        """One message per name below `key` that is not among `known`, with its place and the nearest known one."""
        allowed = sorted(known)
        return [
            f"{self.origin(f'{key}.{name}')}: unknown key {key}.{name}{nearest(name, allowed, f'{key}.')}"
            for name in self.names(key)
            if name not in allowed
        ]


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a message: `; did you mean ...?`, or nothing when no known name is similar.

    Two names are told only when they are about equally near.
    """
    if len(name) > _LONGEST_TYPO:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=2, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, match, name.lower()).ratio() for match in found]
    found = [match for match, ratio in zip(found, ratios, strict=True) if ratio > ratios[0] - 0.05]
    return f"; did you mean {' or '.join(prefix + by_lower[match] for match in found)}?" if found else ""


def load(path: str | Path) -> Config:
    """Read and parse a file (UTF-8). Raises `ConfigError`, also when the file cannot be read."""
    try:
        return parse(Path(path).read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from None


def parse(text: str, filename: str = "configuration") -> Config:
    """Parse the text of a configuration file. `filename` is told in errors and kept for later messages."""
    config = Config(filename)
    for number, entry in _entries(text, filename):
        match = _ASSIGNMENT.fullmatch(entry)
        if match is None:
            raise _error(filename, number, entry, f"expected `key = value`{_wrong_key(entry)}")
        key, literal = match.groups()
        config.set(key, _literal(literal, filename, number, entry), f"{filename}:{number}")
    return config


def _entries(text: str, filename: str) -> Iterator[tuple[int, str]]:
    """Logical lines, each with the number of its first line."""
    number, lines = 0, list[str]()
    for current, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            if not lines:
                raise _error(filename, current, line, "the first entry begins with a blank: remove it")
            lines.append(line)
            continue
        if lines:
            yield number, "\n".join(lines)
        number, lines = current, [line]
    if lines:
        yield number, "\n".join(lines)


def _literal(text: str, filename: str, number: int, entry: str) -> Any:
    if not text.strip():
        raise _error(filename, number, entry, "there is no value after `=`")
    try:
        return ast.literal_eval(text.strip())
    except SyntaxError as error:
        raise _error(filename, number, entry, f"the value is not a Python literal: {error.msg}") from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        allowed = "numbers, strings, True, False, None, and lists, tuples, dictionaries and sets of them"
        raise _error(filename, number, entry, f"the value is not a Python literal: use {allowed}") from None


def _error(filename: str, number: int, entry: str, what: str) -> ConfigError:
    first = entry.split("\n", 1)[0].strip()
    shown = first if len(first) <= 80 else first[:77] + "..."
    return ConfigError(f"{filename}:{number}: {what}\n    {shown}")


def _wrong_key(entry: str) -> str:
    key, equals, _ = entry.partition("=")
    return f"; {key.strip()!r} is not a key: identifiers joined by dots" if equals else ""


def _plain(node: Any) -> Any:
    return {name: _plain(below) for name, below in node.items()} if isinstance(node, Subtree) else node


def _leaves(node: Subtree, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, below in node.items():
        if isinstance(below, Subtree):
            yield from _leaves(below, f"{prefix}{name}.")
        else:
            yield prefix + name, below


def _texts(value: Any) -> Any:
    """Byte strings as text: older configuration files write HTTP names as byte strings."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_texts(key): _texts(below) for key, below in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(map(_texts, value))
    return value
