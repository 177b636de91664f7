"""Objects of other authors in the object database: classes that say what must be unique and what they refer to.

An object is stored as JSON that begins with its type, which is the prefix of its class; the index attributes are in
the key alone. What must be unique is a *claim*: a key `<prefix>/<name>/<values>` that holds the owner's key and is
written and deleted in the commit that writes or deletes the owner. Attributes that a class does not know are kept.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, Self

import msgspec

from vlcp.derive.view import UnreadableError
from vlcp.store.errors import AlreadyExistsError

_UNESCAPED = {"+_": "+", "++": ".", "+-": "/"}
_ESCAPED = re.compile(r"\+[_+-]")
_EMPTY = "+"
"""Stands for an empty text at the end of a key, which cannot end in `/`; no other text is escaped like this."""

_classes: dict[str, type[DataObject]] = {}
"""Every class by its prefix; one that is defined again, by a reload, takes the place of the earlier one."""


class DataObject:
    """The base of an author's objects. Attributes are JSON values; those that begin with `_` are not stored.

    `prefix`: what the keys begin with; `indices`: the attributes that make up the rest of the key, in order.
    `unique`: pairs of a name and attributes whose values together no two objects share; a missing value claims nothing.
    `references`: attributes that hold the key, or a list of keys, of objects that are kept together with this one.
    """

    prefix: ClassVar[str]
    indices: ClassVar[tuple[str, ...]] = ()
    unique: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = ()
    references: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "prefix" in vars(cls):
            if not cls.prefix or "/" in cls.prefix or cls.prefix.split(".")[0] == "viperflow":
                raise TypeError(
                    f"{cls.__name__}: {cls.prefix!r} cannot be a prefix: no '/', not below viperflow"
                )
            _classes[cls.prefix] = cls

    def __init__(self, *indices: Any, **attributes: Any) -> None:
        if len(indices) != len(self.indices):
            raise TypeError(
                f"{type(self).__name__} is named by {len(self.indices)} values, not {len(indices)}"
            )
        for name, value in (*zip(self.indices, map(str, indices), strict=True), *attributes.items()):
            setattr(self, name, value)

    @classmethod
    def key(cls, *indices: Any) -> str:
        """The key of the object with these index values."""
        if len(indices) != len(cls.indices):
            raise TypeError(f"{cls.__name__} is named by {len(cls.indices)} values, not {len(indices)}")
        return ".".join([cls.prefix, *map(_escaped, indices)])

    def getkey(self) -> str:
        """The key of this object."""
        return self.key(*(getattr(self, name) for name in self.indices))

    def removes(self) -> Iterable[str]:
        """The keys that are deleted together with this object; overridden by those who have some."""
        return ()

    def stored(self) -> dict[str, Any]:
        """What is stored under the key. `ValueError` for an attribute whose name is taken."""
        names = [name for name in vars(self) if not name.startswith("_") and name not in self.indices]
        if "type" in names:
            raise ValueError(f"{self!r} cannot have an attribute 'type': that is its prefix")
        return {"type": self.prefix, **{name: getattr(self, name) for name in names}}

    def displayed(self) -> dict[str, Any]:
        """What the web API shows."""
        return {"_key": self.getkey(), **self.stored()}

    @classmethod
    def restored(cls, key: str, stored: Mapping[str, Any]) -> Self:
        """An object from its key and what is stored there."""
        restored = cls.__new__(cls)
        vars(restored).update(stored)
        vars(restored).pop("type", None)
        vars(restored).update(zip(cls.indices, _split(cls, key) or (), strict=True))
        return restored

    def referred(self) -> list[str]:
        """The keys of the objects that it refers to."""
        found: list[str] = []
        for name in self.references:
            value = getattr(self, name, None)
            found += [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        return [key for key in dict.fromkeys(found) if isinstance(key, str) and key and not key.endswith("/")]

    def claims(self) -> list[str]:
        """The keys that only one object may own."""
        found = []
        for name, attributes in self.unique:
            values = [getattr(self, attribute, None) for attribute in attributes]
            if all(value is not None for value in values):
                claimed = ".".join(map(_escaped, values)) or _EMPTY
                found.append(f"{self.prefix}/{_escaped(name)}/{claimed}")
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataObject):
            return NotImplemented
        return (self.getkey(), self.stored()) == (other.getkey(), other.stored())

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.getkey()!r}>"


def of_key(key: str) -> type[DataObject] | None:
    """The class whose objects have keys like this one."""
    prefix = key
    while prefix:
        cls = _classes.get(prefix)
        if cls is not None:
            return cls if _split(cls, key) is not None else None
        prefix = prefix.rpartition(".")[0]
    return None


def restore(key: str, value: Any) -> Any:
    """The object for a decoded value, if a class for it is there; else the value as it is, for nobody is to lose it."""
    if isinstance(value, dict):
        cls = of_key(key)
        if cls is not None and value.get("type") == cls.prefix:
            return cls.restored(key, value)
    return value


class View(Protocol):
    """What the view of a transaction offers to find claims."""

    def get(self, key: str, /) -> Any: ...

    def many(self, keys: Iterable[str], /) -> list[Any]: ...


def with_claims(view: View, writes: Mapping[str, Any]) -> dict[str, Any]:
    """The writes with what belongs to them: claims made and given up, and what is deleted together.

    Raises `AlreadyExistsError` when another object owns a claim.
    """
    writes = dict(writes)
    gone, made = dict[str, str](), dict[str, str]()
    todo = [key for key in writes if of_key(key) is not None]
    while todo:
        _fetch(view, todo)
        removed = dict[str, None]()
        for key in todo:
            removed.update(dict.fromkeys(_one(view, key, writes[key], gone, made)))
        more = [key for key in removed if key not in writes]
        writes.update(dict.fromkeys(more))
        todo = [key for key in more if of_key(key) is not None]
    return {**writes, **_owned(view, gone, made)}


def _one(view: View, key: str, written: Any, gone: dict[str, str], made: dict[str, str]) -> Iterable[str]:
    """Note the claims that one write gives up and makes. Returns the keys that are to be deleted with it."""
    new, old = restore(key, written), restore(key, _readable(view, key))
    if isinstance(new, DataObject) and new.getkey() != key:
        raise ValueError(f"{new!r} cannot be written as {key!r}")
    claims = new.claims() if isinstance(new, DataObject) else []
    for claim in claims:
        if made.setdefault(claim, key) != key:
            raise AlreadyExistsError(f"{claim} cannot belong to both {made[claim]!r} and {key!r}")
    if not isinstance(old, DataObject):
        return ()
    gone.update((claim, key) for claim in old.claims() if claim not in claims)
    return old.removes() if new is None else ()


def _owned(view: View, gone: Mapping[str, str], made: Mapping[str, str]) -> dict[str, Any]:
    """The claims to write: those made, and those given up that nobody else makes."""
    writes: dict[str, Any] = {}
    _fetch(view, {**made, **gone})
    for claim, owner in made.items():
        present = _readable(view, claim)
        if present not in (None, owner) and gone.get(claim) != present:
            raise AlreadyExistsError(f"{claim} belongs to {present!r} already, {owner!r} cannot have it")
        if present != owner:
            writes[claim] = owner
    for claim, owner in gone.items():
        if claim not in made and _readable(view, claim) == owner:
            writes[claim] = None
    return writes


def _fetch(view: View, keys: Iterable[str]) -> None:
    """Ask for everything in one round."""
    with contextlib.suppress(UnreadableError):
        view.many(list(keys))


def _readable(view: View, key: str) -> Any:
    """A value; none if it cannot be understood, for it may be about to be replaced."""
    try:
        return view.get(key)
    except UnreadableError:
        return None


def _escaped(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("+", "+_").replace(".", "++").replace("/", "+-")


def _split(cls: type[DataObject], key: str) -> list[str] | None:
    """The index values in a key of the class; None if it is none."""
    head, *parts = key[len(cls.prefix) :].split(".")
    if head or "/" in key or len(parts) != len(cls.indices):
        return None
    return [_ESCAPED.sub(lambda found: _UNESCAPED[found[0]], part) for part in parts]
