"""What authors of modules hold of an object that others may change: a reference to its present value, by key."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import msgspec

from vlcp.store.dataobject import DataObject
from vlcp.store.errors import NotKeptError, UndecodableError
from vlcp.store.known import Known, Undecodable

_logger = logging.getLogger(__name__)

_STEPS = 1000
"""Steps that wait for one reader of `Changes`; then the newest are told as one."""


class Cell:
    """One kept key: its value, or the last one if it is deleted. All references to the key share it."""

    __slots__ = ("_read", "exists", "kept", "key", "known", "links", "listeners", "stored", "value")

    def __init__(self, key: str, read: Callable[[str, Any], Any]) -> None:
        self.key = key
        self._read = read
        self.known = False
        """Whether the store was asked; until then nobody is given a reference."""
        self.exists = False
        self.kept = True
        self.stored: Any = None
        self.value: Any = None
        self.links: dict[str, Cell] = {}
        """The objects that this one refers to, by key."""
        self.listeners: dict[Changes, None] = {}

    def take(self, known: Known) -> bool:
        """Take over what is known now; whether it differs from before."""
        exists = known.version is not None
        differs = exists != self.exists or (exists and known.value is not self.stored)
        self.known, self.exists = True, exists
        if differs and exists:
            self.stored = known.value
            self.value = self._readable(known.value)
        return differs

    def _readable(self, stored: Any) -> Any:
        try:
            return stored if isinstance(stored, Undecodable) else self._read(self.key, stored)
        except Exception as error:  # a class of somebody else must not harm the other keys
            return Undecodable(f"{type(error).__name__}: {error}")

    def referred(self) -> list[str]:
        """The keys that the object refers to, if there is one and it can say so."""
        try:
            return self.value.referred() if self.exists and isinstance(self.value, DataObject) else []
        except Exception:
            _logger.exception("%r cannot say what it refers to", self.key)
            return []

    def present(self) -> Any:
        """The value, the last one if it is deleted; `UndecodableError` if it cannot be understood."""
        if isinstance(self.value, Undecodable):
            raise UndecodableError(self.key, self.value.reason)
        return self.value

    def copy(self) -> Any:
        """A value of the caller's own."""
        value = self.present()
        return self._read(self.key, self.stored) if value is not None else None


class Reference:
    """A reference to an object: its attributes are those of the present value, whoever changed it.

    Setting an attribute changes this reference alone. The attributes of a deleted object stay readable. A plain JSON
    object has its members as attributes and as items. An attribute that names another object, as declared in its class
    (`DataObject.references`), is a reference to that, or a list of them.
    """

    __slots__ = ("_cell", "_own")
    _cell: Cell
    _own: dict[str, Any]

    def __init__(self, cell: Cell) -> None:
        object.__setattr__(self, "_cell", cell)
        object.__setattr__(self, "_own", {})

    def getkey(self) -> str:
        """The key of the object."""
        return self._cell.key

    def isdeleted(self) -> bool:
        """Whether the object does not exist: not yet, or not any more."""
        return not self._cell.exists

    def getvalue(self) -> Any:
        """A copy of the value; None if it never existed."""
        return self._cell.copy()

    async def wait(self) -> None:
        """Wait until the object exists. `NotKeptError` if its key is given up meanwhile."""
        await self.waitif(lambda reference: not reference.isdeleted())

    async def waitif(self, predicate: Callable[[Reference], Any], nextchange: bool = False) -> Any:
        """Wait until predicate(reference) is true, and return what it gave. With nextchange wait for a change first."""
        with Changes([self]) as changes:
            while nextchange or not (found := predicate(self)):
                nextchange = False
                await anext(changes)
        return found

    def displayed(self) -> dict[str, Any]:
        """What the web API shows: the stored form with the key as `_key`."""
        cell = self._cell
        shown: dict[str, Any] = {"_key": cell.key} if cell.exists else {"_key": cell.key, "_deleted": True}
        value = cell.present()
        value = value.displayed() if isinstance(value, DataObject) else msgspec.to_builtins(value)
        if isinstance(value, dict):
            return {**shown, **value, **self._own}
        return shown if value is None else {**shown, "_value": value}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._own:
            return self._own[name]
        value = self._cell.present()
        try:
            found = value[name] if isinstance(value, dict) else getattr(value, name)
        except (KeyError, AttributeError):
            raise AttributeError(f"{self._cell.key} has no attribute {name!r}", name=name, obj=self) from None
        if isinstance(value, DataObject) and name in value.references:
            return self._followed(found)
        return _copy(found)

    def _followed(self, found: Any) -> Any:
        links = self._cell.links
        if isinstance(found, list | tuple):
            return [Reference(links[key]) for key in found if key in links]
        return Reference(links[found]) if found in links else None

    def __setattr__(self, name: str, value: Any) -> None:
        self._own[name] = value

    def __getitem__(self, name: Any) -> Any:
        value = self._cell.present()
        if isinstance(value, dict) and name in value:
            return self._own[name] if name in self._own else _copy(value[name])
        return self.getvalue()[name]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Reference):
            return self._cell is other._cell or bool(self._cell.present() == other._cell.present())
        return bool(self._cell.present() == other)

    __hash__ = None  # type: ignore[assignment]  # equal means equal values, and they change

    def __repr__(self) -> str:
        return f"<Reference to {self._cell.key!r}{' (deleted)' if self.isdeleted() else ''}>"


def _copy(found: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(found)) if isinstance(found, dict | list) else found


class Changes:
    """The changes of several references: `async for changed in changes` gives those of one step at a time.

    A step is what became visible together, at least one whole commit. It remembers from the beginning, so none is
    missed between two turns of the loop. Use it with `with`, or close it.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        self._references = {reference.getkey(): reference for reference in references}
        self._cells = [reference._cell for reference in self._references.values()]
        self._steps: deque[set[str]] = deque()
        self._changed = asyncio.Event()
        for cell in self._cells:
            cell.listeners[self] = None

    def tell(self, keys: Iterable[str]) -> None:
        """One step; called by whoever changed the cells."""
        if mine := self._references.keys() & set(keys):
            if len(self._steps) < _STEPS:
                self._steps.append(mine)
            else:
                self._steps[-1] |= mine
            self._changed.set()

    def wake(self) -> None:
        """Let a waiter see that its keys are not kept any more."""
        self._changed.set()

    def close(self) -> None:
        """Remember nothing more."""
        for cell in self._cells:
            cell.listeners.pop(self, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Reference]:
        while not self._steps:
            if gone := [cell.key for cell in self._cells if not cell.kept]:
                raise NotKeptError(f"nobody keeps {gone[0]!r} any more: its changes are not followed")
            self._changed.clear()
            await self._changed.wait()
        return [self._references[key] for key in sorted(self._steps.popleft())]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


async def wait_any(references: Iterable[Reference]) -> list[Reference]:
    """Wait for the next step that changes some of the references, and return those: once for a whole commit."""
    with Changes(references) as changes:
        return await anext(changes)
