"""Processes that share the file of the embedded store see each other's commits, at once and without loss."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from pathlib import Path

import pytest

from effort import effort
from store import history
from store.conformance import CLAUSES, value, write
from store.host import count, following, until
from store.remote import Process, Remote, opened
from store.shared import shared
from vlcp.store.contract import Committed, Preconditions
from vlcp.store.embedded import EmbeddedBackend

# Speed.


async def test_a_commit_is_seen_elsewhere_within_milliseconds(local: EmbeddedBackend, remote: Remote) -> None:
    """Three attempts, since other work on the machine may hold up all of it for a moment."""
    for _ in range(3):
        delays = await _delays(local, remote, 200)
        if statistics.median(delays) < 0.005 and max(delays) < 0.05:
            return
    pytest.fail(f"median {statistics.median(delays)} s, worst {max(delays)} s")


async def _delays(local: EmbeddedBackend, remote: Remote, times: int) -> list[float]:
    """Seconds from the answer to a commit there until it is told here."""
    seen: dict[str, int] = {}
    watcher = local.watch(lambda keys, revision: seen.setdefault(revision, time.time_ns()))
    await watcher.add(["a"])
    delays = []
    for number in range(times):
        result, answered = await remote.call("commit", Preconditions(), {"a": str(number).encode()})
        await until(lambda result=result: result.version in seen)
        delays.append((seen[result.version] - answered) / 1e9)
    watcher.close()
    return delays


# Order and loss.


async def test_commits_of_all_are_told_once_in_one_order(
    local: EmbeddedBackend, remote: Remote, path: str
) -> None:
    third = EmbeddedBackend(path)
    await third.open()
    async with following(local) as here, following(third) as there:
        committing = [
            asyncio.create_task(remote.call("write_often", "d/remote", effort(100), 1)),
            *(
                asyncio.create_task(write(backend, **{f"d__{name}{n}": b"1"}))
                for n in range(effort(100))
                for name, backend in (("local", local), ("third", third))
            ),
        ]
        await asyncio.gather(*committing)
        await until(lambda: len(here) == len(there) == 3 * effort(100))
        assert here == there
        assert len({revision for _, revision in here}) == len(here)
    with sqlite3.connect(path) as connection:
        logged = [revision for (revision,) in connection.execute("SELECT revision FROM log ORDER BY number")]
    assert [revision for _, revision in here][-len(logged) :] == logged
    connection.close()
    await third.close()


@pytest.mark.parametrize("seed", range(effort(4)))
async def test_nothing_is_missed_by_a_watch_that_comes_and_goes(
    local: EmbeddedBackend, remote: Remote, seed: int
) -> None:
    chance = random.Random(seed)
    writing = asyncio.create_task(remote.call("write_often", "d/", 150, seed))
    rounds = 0
    while not writing.done():
        told: set[str] = set()
        watcher = local.watch(lambda keys, revision, told=told: told.update(keys or ()))
        await watcher.add([], ["d/"])
        read = (await local.read([], ["d/"])).listings["d/"].keys()
        await asyncio.sleep(chance.choice((0, 0.0005, 0.003)))
        assert (await local.read([], ["d/"])).listings["d/"].keys() == read | told
        watcher.close()
        rounds += 1
    assert rounds > 10
    await until(lambda: len(local.keys()) == 150)


async def test_increments_of_two_processes_add_up(path: str, processes: list[Process]) -> None:
    async with opened(processes[0], path) as one, opened(processes[1], path) as two:
        await asyncio.gather(one.call("increment", "n", 500), two.call("increment", "n", 500))
        conflicts = [int((await each.call("statistics"))["conflicts"]) for each in (one, two)]
    backend = EmbeddedBackend(path)
    await backend.open()
    assert await value(backend, "n") == b"1000"
    await backend.close()
    assert min(conflicts) > 0


async def test_a_busy_process_does_not_keep_another_one_out(local: EmbeddedBackend, remote: Remote) -> None:
    busy = [asyncio.create_task(remote.call("increment", f"n{n}", 400)) for n in range(4)]
    waits = []
    while not all(task.done() for task in busy):
        begin = time.monotonic()
        await write(local, a=b"1")
        waits.append(time.monotonic() - begin)
    assert len(waits) > 100
    assert statistics.median(waits) < 0.1
    assert max(waits) < 2


async def test_a_check_is_made_against_the_file(local: EmbeddedBackend, path: str) -> None:
    """What another process wrote counts, even if this one was not told yet."""
    other = EmbeddedBackend(path)
    await other.open()
    other._wakeups.close()
    version = await write(local, a=b"1")
    check = other.commit(Preconditions({"a": version}), {})
    assert isinstance(await check, Committed)
    await other.close()


# Histories.


@pytest.mark.parametrize("seed", range(100, 100 + effort(6)))
async def test_histories_of_processes_are_serialisable(
    tmp_path: Path, processes: list[Process], seed: int
) -> None:
    async with shared(tmp_path, processes) as backend:
        recorded = await history.record(backend, seed, clients=8, steps=30)
    history.check(recorded)
    assert recorded.conflicts > 0


@pytest.mark.parametrize("clause", ["increments_are_never_lost", "a_key_that_must_not_exist_is_created_once"])
async def test_processes_that_check_their_memory_only_lose_updates(
    tmp_path: Path, processes: list[Process], clause: str
) -> None:
    async with shared(tmp_path, processes, careless=True) as backend:
        with pytest.raises(AssertionError):
            await CLAUSES[clause](backend)


async def test_histories_show_lost_updates_of_processes(tmp_path: Path, processes: list[Process]) -> None:
    async with shared(tmp_path, processes, careless=True) as backend:
        recorded = await history.record(backend, 1, clients=8, steps=30)
    with pytest.raises(AssertionError, match="although its conditions did not hold"):
        history.check(recorded)


# Company.


async def test_many_that_begin_at_once_create_one_file(path: str) -> None:
    backends = [EmbeddedBackend(path) for _ in range(6)]
    await asyncio.gather(*(backend.open() for backend in backends))
    await asyncio.gather(*(write(each, **{f"k{n}": b"1"}) for n, each in enumerate(backends)))
    await until(lambda: all(len(each.keys()) == 6 for each in backends))
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_statistics_tell_of_the_others(local: EmbeddedBackend, remote: Remote) -> None:
    await until(lambda: count(local, "peers") == 1)
    await remote.call("commit", Preconditions(), {"a": b"1"})
    await until(lambda: local.keys() == ["a"])
    await write(local, b=b"1")
    here = local.statistics()
    assert (here["commits"], here["foreign_commits"], here["catch_ups"], here["log_rows"]) == (1, 1, 1, 2)
    assert int(here["wakeups_received"]) >= 1
    assert int(here["wakeups_sent"]) >= 1
