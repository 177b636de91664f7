"""The configuration file: one `key = literal` per logical line, kept as a tree of dotted keys.

Grammar: a key is identifiers joined by dots (a letter, then letters, digits and underscores), without leading
blanks. A value is a Python literal. Lines that begin with white space continue the value above. Blank lines and
lines whose first visible character is `#` are skipped, also inside a value. A later assignment wins; a key is
either a value or a subtree, whichever was assigned last.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections import defaultdict
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
    """A tree of settings, each with the place where it was written.

    It remembers which keys were asked for: what the others do is nothing, and that can be told (`unread`).
    """

    def __init__(self, filename: str = "") -> None:
        self.filename = filename
        self.path: Path | None = None
        """The file, to read it again; None when there is none."""
        self.read: dict[tuple[str, type[msgspec.Struct]], msgspec.Struct] = {}
        """The settings that were built, by the key and the structure that they were built for."""
        self._root = Subtree()
        self._origins: dict[str, str] = {}
        self._overrides: dict[str, tuple[Any, str]] = {}
        self._known: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """The names directly below a key that somebody asked for."""

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

    def override(self, key: str, value: Any, origin: str) -> None:
        """Assign one leaf for good, whatever the file says now or when it is read again."""
        self.set(key, value, origin)
        self._overrides[key] = value, origin

    def again(self) -> Config:
        """What the file says now, as another configuration. Raises `ConfigError`, also when there is no file."""
        if self.path is None:
            raise ConfigError(f"{self.filename or 'configuration'}: there is no file to read again")
        new = load(self.path)
        for key, (value, origin) in self._overrides.items():
            new.override(key, value, origin)
        return new

    def take(self, new: Config) -> list[str]:
        """Hold what another configuration holds from now on; returns the keys whose values are others now."""
        before, now = dict(self.items()), dict(new.items())
        self._root, self._origins = new._root, new._origins
        return sorted(key for key in before.keys() | now.keys() if _differ(key, before, now))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; a subtree comes as nested dictionaries. `default` when nothing was assigned."""
        section, _, name = key.rpartition(".")
        self._known[section][name] = None
        return self._find(key, default)

    def _find(self, key: str, default: Any = None) -> Any:
        node: Any = self._root
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return default
            node = node[name]
        return _plain(node)

    def subtree(self, key: str) -> dict[str, Any]:
        """What is below a key, as nested dictionaries; a leaf that holds a dictionary counts as well."""
        node = self._find(key) if key else self._root
        return node if isinstance(node, dict) else {}

    def names(self, key: str = "") -> list[str]:
        """The sorted names directly below a key; below the root without a key."""
        return sorted(self.subtree(key))

    def items(self, key: str = "") -> Iterator[tuple[str, Any]]:
        """All leaves with their full keys, sorted by key; with a key this leaf or those below it."""
        leaves = _leaves(self._root, "")
        found = (item for item in leaves if not key or f"{item[0]}.".startswith(f"{key}."))
        return iter(sorted(found, key=lambda item: item[0]))

    def origin(self, key: str) -> str:
        """Where a key (or the first one below it) was assigned, such as `/etc/vlcp.conf:12`; else the file's name."""
        if key in self._origins:
            return self._origins[key]
        below = (origin for name, origin in self._origins.items() if name.startswith(key + "."))
        return next(below, self.filename or "configuration")

    def dump(self) -> str:
        """The tree as the text of a configuration file, one assignment per line, sorted."""
        return "".join(f"{key} = {value!r}\n" for key, value in self.items())

    def settings(self, cls: type[S], key: str, *above: str, derived: int = 0) -> S:
        """Build a settings structure from what is below `key`.

        `above` are the keys of the structures that `cls` derives from, the nearest first; the last one serves all
        that remain. A field is looked for below `key`, then upwards to the key of the structure that declares it,
        and then has its default: what a structure declares anew is not taken from the keys above it. The first
        `derived` keys belong to something that declares nothing itself, and `cls` to the key above them.

        Keys that are not fields are ignored here (see `unread`). Raises `ConfigError` that names the key and its
        place.
        """
        self.check_keys_below(key)
        values, owners = dict[str, Any](), dict[str, str]()
        below = {place: self.subtree(place) for place in (key, *above)}
        for name, places in _places(cls, (key, *above), derived).items():
            for place in reversed(places):
                self._known[place][name] = None
                if name in below[place]:
                    values[name], owners[name] = below[place][name], place
        try:
            settings = self.read[key, cls] = msgspec.convert(_texts(values), cls, strict=False)
        except msgspec.ValidationError as error:
            raise self._invalid(error, key, owners) from None
        return settings

    def check_keys_below(self, key: str) -> None:
        """Raise `ConfigError` if the key is a value by itself, where only keys below it mean something."""
        value = self._find(key, {})
        if not isinstance(value, dict):
            raise ConfigError(
                f"{self.origin(key)}: {key} = {value!r}: expected a dictionary, or keys below it such as {key}.<name>"
            )

    def _invalid(self, error: msgspec.ValidationError, key: str, owners: dict[str, str]) -> ConfigError:
        """The text of a check of the structure itself begins with the field that it is about, if that is one."""
        what, _, path = str(error).partition(" - at ")
        name = re.findall(r"\w+", path.partition("$.")[2] or what.partition(":")[0])[0]
        if name not in owners:
            return ConfigError(f"{self.origin(key)}: {key}: {what}")
        full = f"{owners[name]}.{name}"
        what = what.removeprefix(f"{name}: ")
        return ConfigError(
            f"{self.origin(full)}: {full} = {self._find(full)!r}: {what[:1].lower()}{what[1:]}"
        )

    def known(self, key: str) -> frozenset[str]:
        """The names directly below a key that were asked for, or keys below them; without a key those at the root."""
        prefix = f"{key}." if key else ""
        sections = {
            section.removeprefix(prefix).split(".")[0]
            for section in self._known
            if section.startswith(prefix)
        }
        return frozenset(sections.union(self._known.get(key, ())) - {""})

    def unread(self) -> list[str]:
        """The keys that were assigned but that nobody asked for: single ones, or whole sections."""
        return list(self._unread(self._root, "", free=False))

    def _unread(self, node: Subtree, prefix: str, *, free: bool) -> Iterator[str]:
        """`free` is true below a key whose value may have any names in it."""
        known = self._known.get(prefix[:-1])
        for name, below in node.items():
            key = f"{prefix}{name}"
            told = known is not None and name in known
            if isinstance(below, Subtree) and any(f"{asked}.".startswith(f"{key}.") for asked in self._known):
                yield from self._unread(below, f"{key}.", free=free or told)
            elif not told and (known is not None or not free):
                yield key


def _differ(key: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    return (key in before) != (key in now) or repr(before[key]) != repr(now[key])


def _places(cls: type[msgspec.Struct], keys: tuple[str, ...], derived: int) -> dict[str, list[str]]:
    """Per field of a structure the keys below which it is looked for, in this order."""
    layers: list[tuple[set[str], str]] = [(set(), key) for key in keys[:derived]]
    for base in cls.__mro__:
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            layers.append((set(inspect.get_annotations(base)), keys[min(len(layers), len(keys) - 1)]))
    found: dict[str, list[str]] = {}
    for name in cls.__struct_fields__:
        declaring = next(i for i, (declared, _) in enumerate(layers) if name in declared)
        found[name] = list(dict.fromkeys(key for _, key in layers[: declaring + 1]))
    return found


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
        config = parse(Path(path).read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from None
    config.path = Path(path).absolute()
    return config


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
    for current, line in enumerate(text.split("\n"), 1):
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
