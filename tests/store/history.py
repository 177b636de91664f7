"""Random concurrent histories of a store, and the check that they could have happened one commit after the other."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from vlcp.store.contract import Backend, Committed, Preconditions, Snapshot

KEYS = ("a", "b", "d/1", "d/2", "d/3", "e/1", "e/2")
DIRECTORIES = ("d/", "e/")
State = dict[str, str]
"""Key -> version of the keys that exist."""


@dataclass
class History:
    """What the clients of one run did and saw."""

    commits: dict[str, tuple[Preconditions, dict[str, bytes | None]]] = field(default_factory=dict)
    checks: list[Preconditions] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    order: list[tuple[frozenset[str], str]] = field(default_factory=list)
    conflicts: int = 0

    def notified(self, keys: frozenset[str] | None, revision: str) -> None:
        assert keys is not None, "told to read again although nothing was lost"
        self.order.append((keys, revision))


async def record(backend: Backend, seed: int, clients: int = 6, steps: int = 25) -> History:
    history = History()
    watcher = backend.watch(history.notified)
    await watcher.add(KEYS, DIRECTORIES)
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(backend, history, random.Random(f"{seed} {number}"), steps))
    history.snapshots.append(await backend.read(KEYS, DIRECTORIES))
    watcher.close()
    return history


async def _client(backend: Backend, history: History, chance: random.Random, steps: int) -> None:
    for _ in range(steps):
        keys = chance.sample(KEYS, chance.randint(1, 4))
        directories = [each for each in DIRECTORIES if chance.random() < 0.2]
        snapshot = await backend.read(keys, directories)
        history.snapshots.append(snapshot)
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        versions = {key: entry.version if entry else None for key, entry in snapshot.entries.items()}
        empty = frozenset(name for name in directories if not snapshot.listings[name])
        writes: dict[str, bytes | None] = {
            key: None if versions[key] and chance.random() < 0.3 else chance.randbytes(4)
            for key in keys
            if chance.random() < 0.6
        }
        preconditions = Preconditions(versions, empty)
        result = await backend.commit(preconditions, writes)
        if not isinstance(result, Committed):
            history.conflicts += 1
        elif writes:
            history.commits[result.version] = preconditions, writes
        else:
            history.checks.append(preconditions)


def check(history: History) -> None:
    """Replay in the order of the notifications: every commit's conditions held when its turn came."""
    state: State = {}
    states = [state]
    for keys, revision in history.order:
        assert revision in history.commits, "a commit was told that nobody was answered"
        preconditions, writes = history.commits[revision]
        assert keys == writes.keys(), "a notification names other keys than the commit wrote"
        assert _holds(preconditions, state), (
            f"commit {revision} happened although its conditions did not hold"
        )
        state = {key: version for key, version in state.items() if writes.get(key, b"") is not None}
        state.update({key: revision for key, written in writes.items() if written is not None})
        states.append(state)
    assert len(history.order) == len(history.commits), "a commit was told twice or not at all"
    for preconditions in history.checks:
        assert any(_holds(preconditions, each) for each in states), "a check passed that never held"
    for snapshot in history.snapshots:
        assert any(_shows(snapshot, each) for each in states), "a snapshot shows what never was"
    assert _shows(history.snapshots[-1], state), "the last state is not what the commits add up to"


def _holds(preconditions: Preconditions, state: State) -> bool:
    occupied = {key[: key.rfind("/") + 1] for key in state}
    return not preconditions.empty & occupied and all(
        state.get(key) == version for key, version in preconditions.versions.items()
    )


def _shows(snapshot: Snapshot, state: State) -> bool:
    entries = all(
        (entry.version if entry else None) == state.get(key) for key, entry in snapshot.entries.items()
    )
    return entries and all(
        {key: entry.version for key, entry in listing.items()}
        == {key: version for key, version in state.items() if key[: key.rfind("/") + 1] == directory}
        for directory, listing in snapshot.listings.items()
    )
