"""What modules with calls on the network share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vlcp.model import answers
from vlcp.model.changes.outcome import ChangeView, Outcome, WithKinds
from vlcp.model.kinds import Kinds
from vlcp.model.params import Item, Placed
from vlcp.server.module import Module
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.sdn.networkdriver import NetworkDriver
from vlcp.store.transaction import Transactor

P = TypeVar("P")
T = TypeVar("T")

Answer = dict[str, Any]
Dictionaries = list[dict[str, Any]]


class NetworkCalls(Module):
    """The base of modules whose calls are transactions on the network; each depends on `ObjectDB` itself."""

    @property
    def transactor(self) -> Transactor:
        """What runs the changes."""
        return self.dependency(ObjectDB).transactor

    @property
    def kinds(self) -> Kinds:
        """The kinds of physical networks whose drivers are loaded."""
        drivers = [module for module in self.server.modules.values() if isinstance(module, NetworkDriver)]
        return {driver.kind.name: driver.kind for driver in drivers}

    def with_kinds(self, objects: Sequence[Placed[T]]) -> WithKinds[T]:
        """Objects of a request, for a change that asks their kinds."""
        return WithKinds(objects, self.kinds)

    async def write(self, change: Callable[[ChangeView, P], Outcome], request: P) -> list[Answer]:
        """Create or change objects; they are answered as they are then."""
        result = await self.transactor.run(change, request)
        return answers.written(result.answer, result.version)

    async def write_one(self, change: Callable[[ChangeView, P], Outcome], request: P) -> Answer:
        """Create or change the only object of a request."""
        [answer] = await self.write(change, request)
        return answer

    async def delete(self, change: Callable[[ChangeView, P], Outcome], request: P) -> Answer:
        """Delete objects."""
        await self.transactor.run(change, request)
        return dict(answers.DONE)

    async def find(self, find: Callable[[ChangeView, P], Outcome], query: P) -> list[Answer]:
        """The objects that a query finds."""
        answer: list[Answer] = (await self.transactor.run(find, query)).answer
        return answer


def single(**values: Any) -> Item:
    """The object of a call for one."""
    return Placed("", values)


def with_ids(items: Sequence[Item]) -> list[Item]:
    """Each object with an id of its own; now, so that a change that runs again gives the same one."""
    return [
        item if item.value.get("id") is not None else completed(item, "id", str(uuid.uuid4()))
        for item in items
    ]


def completed(item: Item, name: str, value: str) -> Item:
    """An object with one more attribute."""
    return Placed(item.place, {**item.value, name: value})
