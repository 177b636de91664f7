"""Every store keeps every clause, and a store that is broken in a known way does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from store import history
from store.conformance import CLAUSES, Clause
from vlcp.store.contract import (
    Backend,
    Committed,
    Conflict,
    NotificationHandler,
    Preconditions,
    Snapshot,
    Watcher,
)
from vlcp.store.memory import MemoryBackend


@pytest.mark.parametrize("clause", CLAUSES.values(), ids=CLAUSES)
async def test_clause(backend: Backend, clause: Clause) -> None:
    await clause(backend)


@pytest.mark.parametrize("seed", range(10))
async def test_concurrent_histories_are_serialisable(backend: Backend, seed: int) -> None:
    recorded = await history.record(backend, seed)
    history.check(recorded)
    assert len(recorded.commits) > 20
    assert recorded.conflicts > 0


class _LosesUpdates(MemoryBackend):
    """Checks first, writes later."""

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        checked = await super().commit(preconditions, {})
        if isinstance(checked, Conflict):
            return checked
        await asyncio.sleep(0)
        return await super().commit(Preconditions(), writes)


class _IgnoresEmpty(MemoryBackend):
    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        return await super().commit(Preconditions(preconditions.versions), writes)


class _WritesHalf(MemoryBackend):
    """Writes key after key, each in a commit of its own."""

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        result = await super().commit(preconditions, {})
        for key, value in writes.items():
            if not isinstance(result, Conflict):
                result = await super().commit(Preconditions(), {key: value})
                await asyncio.sleep(0)
        return result


class _ReadsTorn(MemoryBackend):
    """Reads key after key."""

    async def read(self, keys: Sequence[str] = (), directories: Sequence[str] = ()) -> Snapshot:
        entries = {}
        for key in keys:
            entries.update((await super().read([key])).entries)
            await asyncio.sleep(0)
        last = await super().read([], directories)
        return Snapshot(entries, last.listings, last.time, last.revision)


class _TellsNothingOfDirectories(MemoryBackend):
    def watch(self, handler: NotificationHandler) -> Watcher:
        return super().watch(
            lambda keys, revision: handler(
                frozenset(key for key in keys if "/" not in key) if keys else keys, revision
            )
        )


BROKEN = (_LosesUpdates, _IgnoresEmpty, _WritesHalf, _ReadsTorn, _TellsNothingOfDirectories)


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_store_fails(broken: type[MemoryBackend]) -> None:
    assert await _failures(broken)


async def test_a_store_that_loses_updates_fails_where_it_must() -> None:
    failures = await _failures(_LosesUpdates)
    assert {"increments_are_never_lost", "a_key_that_must_not_exist_is_created_once", "histories"} <= failures
    assert await _failures(MemoryBackend) == set()


async def _failures(kind: type[MemoryBackend]) -> set[str]:
    failed = set()
    for name, clause in {**CLAUSES, "histories": _histories}.items():
        backend = kind()
        await backend.open()
        try:
            await clause(backend)
        except (AssertionError, pytest.fail.Exception):
            failed.add(name)
        await backend.close()
    return failed


async def _histories(backend: Backend) -> None:
    history.check(await history.record(backend, seed=1))
