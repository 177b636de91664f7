"""What some features want of a switch, worked out from its facts and from the store, and kept up to date."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from vlcp.datapath.facts import FactChange, Facts, SwitchSource
from vlcp.datapath.tables import Desired
from vlcp.derive.graph import Cell, FailedError
from vlcp.derive.plan import Plan
from vlcp.derive.view import Key, Source
from vlcp.flow import facts as fact_keys
from vlcp.flow.rules import Feature

SLICE = 0.005
"""Seconds that settling may hold the event loop."""

FREEZE_AFTER = 300
"""Cells that run, or names that join, before the heap is taken out of the cyclic collector's sight: one pass over it
holds the event loop for longer than all the rest."""


class StoredFacts(Source, Protocol):
    """The store's mirror, as a switch needs it."""

    def want(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def release(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def close(self) -> None: ...


class StoreChange(Protocol):
    """What the store's mirror says has changed."""

    @property
    def keys(self) -> Iterable[str]: ...

    @property
    def joined(self) -> Mapping[Any, Iterable[str]]: ...

    @property
    def left(self) -> Mapping[Any, Iterable[str]]: ...

    @property
    def directories(self) -> Iterable[str]: ...


OpenStore = Callable[[Callable[[StoreChange], None]], StoredFacts]
"""Opens a reader of the store that calls a function for every change."""


class Derivation:
    """The plan of one set of features over a switch's facts, and what comes out of it.

    `settings`: those of features that read others than the facts tell, by name.
    """

    def __init__(
        self,
        facts: Facts,
        open_store: OpenStore,
        on_news: Callable[[], None],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._on_news = on_news
        self._stored = open_store(self._store_changed)
        self.source = SwitchSource(facts, self._stored)
        """What the features that count may read; `plan` may read something else until it counts."""
        self.desired = Desired()
        first = _WithSettings(facts, self._stored, settings) if settings else self.source
        self.plan = Plan(first, self.desired.exchange)
        self.features: dict[int, Feature] = {}
        self._closed = False

    def add(self, feature: Feature) -> None:
        """From now on this feature belongs to it."""
        self.features[feature.number] = feature
        for root in feature.roots:
            self.plan.add_root(root)

    def remove(self, feature: Feature) -> None:
        """The feature belongs to it no longer."""
        del self.features[feature.number]
        for root in feature.roots:
            self.plan.remove_root(root)

    def count(self) -> None:
        """From now on the facts tell all settings."""
        self.plan.graph.source = self.source

    def close(self) -> None:
        """Follow the store no longer, whatever is still worked out."""
        self._closed = True
        self._stored.close()

    def _store_changed(self, change: StoreChange) -> None:
        self.plan.change(change.keys, change.joined, change.left, change.directories)
        self._on_news()

    async def settle(self, take: Callable[[], None]) -> None:
        """Run everything that is stale, in slices; `take` is called after each pause to take new facts in."""
        loop, runs = asyncio.get_running_loop(), self.plan.graph.runs
        started = loop.time()
        for _ in self.plan.steps():
            if loop.time() - started > SLICE:
                if self.plan.graph.runs - runs > FREEZE_AFTER:
                    gc.freeze()
                    runs = self.plan.graph.runs
                self._fetch()
                await asyncio.sleep(0)
                started = loop.time()
                take()
        self._fetch()
        self._release()

    def change(self, change: FactChange) -> None:
        """The facts have changed."""
        self.plan.change(*change)

    @property
    def settled(self) -> bool:
        """Whether nothing is stale."""
        return not self.plan.graph.busy

    @property
    def complete(self) -> bool:
        """Whether everything is worked out, and nothing unread."""
        return self.settled and not self.plan.loading

    def failures(self) -> Iterator[Cell]:
        """Calls that failed by themselves, not because they read one that failed; kept by the plan or not."""
        for cell in self.plan.graph.unsettled:
            if cell.error is not None and not isinstance(cell.error, FailedError):
                yield cell

    def _fetch(self) -> None:
        """Ask the store for what is unread. Done early, since who reads the same later need not wait any more."""
        keys, directories = self.plan.take_unread()
        if (keys or directories) and not self._closed:
            self._stored.want(_of_store(keys), _of_store(directories))

    def _release(self) -> None:
        """Stop watching what nobody reads."""
        keys, directories = self.plan.take_released()
        if (keys or directories) and not self._closed:
            self._stored.release(_of_store(keys), _of_store(directories))


class _WithSettings(SwitchSource):
    def __init__(self, facts: Facts, stored: Source, settings: Mapping[str, Any]) -> None:
        super().__init__(facts, stored)
        self._settings = {fact_keys.settings(name): value for name, value in settings.items()}

    def get(self, key: Key) -> Any:
        """The value of a key; the settings of a feature as they were given here."""
        return self._settings[key] if key in self._settings else super().get(key)


def _of_store(keys: Iterable[Any]) -> list[str]:
    return [key for key in keys if isinstance(key, str)]
