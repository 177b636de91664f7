"""What every store must do, clause by clause. Each clause is given a new, open backend and raises if it is broken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from vlcp.store.contract import (
    Backend,
    Committed,
    Conflict,
    Preconditions,
    StoreUnavailableError,
    TooLargeError,
)

Clause = Callable[[Backend], Awaitable[None]]
CLAUSES: dict[str, Clause] = {}
Told = list[tuple[frozenset[str] | None, str]]

C = TypeVar("C", bound=Clause)


def clause(check: C) -> C:
    CLAUSES[check.__name__] = check
    return check


async def write(backend: Backend, **values: bytes | None) -> str:
    """Write without conditions; `__` in a name stands for `/`. Returns the version."""
    result = await backend.commit(
        Preconditions(), {name.replace("__", "/"): value for name, value in values.items()}
    )
    assert isinstance(result, Committed)
    return result.version


async def value(backend: Backend, key: str) -> bytes | None:
    entry = (await backend.read([key])).entries[key]
    return entry.value if entry is not None else None


@clause
async def what_is_written_is_read(backend: Backend) -> None:
    version = await write(backend, a=b"1", b=b"")
    snapshot = await backend.read(["a", "b", "c"])
    assert snapshot.entries == {"a": (b"1", version), "b": (b"", version), "c": None}
    assert snapshot.revision == version


@clause
async def no_two_commits_have_the_same_version(backend: Backend) -> None:
    versions = [await write(backend, a=b"same") for _ in range(50)]
    await backend.close()
    await backend.open()
    versions += [await write(backend, a=b"same") for _ in range(50)]
    assert len(set(versions)) == 100


@clause
async def a_commit_on_an_old_version_is_refused_as_a_whole(backend: Backend) -> None:
    old = await write(backend, a=b"1", b=b"1")
    new = await write(backend, a=b"2")
    result = await backend.commit(Preconditions({"a": old, "b": old}), {"a": b"3", "b": b"3", "c": b"3"})
    assert isinstance(result, Conflict)
    assert result.fresh.entries == {"a": (b"2", new)}
    assert [await value(backend, key) for key in "abc"] == [b"2", b"1", None]


@clause
async def a_commit_on_the_present_version_happens(backend: Backend) -> None:
    version = await write(backend, a=b"1", b=b"1")
    result = await backend.commit(Preconditions({"a": version, "b": version}), {"a": b"2"})
    assert isinstance(result, Committed)
    entries = (await backend.read(["a", "b"])).entries
    assert entries == {"a": (b"2", result.version), "b": (b"1", version)}


@clause
async def a_key_that_must_not_exist_is_created_once(backend: Backend) -> None:
    absent = Preconditions({"a": None})
    results = await asyncio.gather(*(backend.commit(absent, {"a": bytes([n])}) for n in range(10)))
    created = [n for n, result in enumerate(results) if isinstance(result, Committed)]
    assert len(created) == 1
    assert await value(backend, "a") == bytes(created)
    for result in results:
        assert isinstance(result, Committed) or result.fresh.entries["a"] is not None


@clause
async def a_deleted_key_does_not_exist(backend: Backend) -> None:
    version = await write(backend, a=b"1")
    await write(backend, a=None)
    assert await value(backend, "a") is None
    stale = await backend.commit(Preconditions({"a": version}), {"a": b"2"})
    assert isinstance(stale, Conflict)
    assert stale.fresh.entries == {"a": None}
    assert isinstance(await backend.commit(Preconditions({"a": None}), {"a": b"2"}), Committed)


@clause
async def a_directory_lists_its_own_members_only(backend: Backend) -> None:
    version = await write(backend, d__b=b"2", d__a=b"1", d__x__y=b"3", d=b"4", de=b"5")
    listings = (await backend.read([], ["d/", "d/x/", "e/"])).listings
    assert listings == {
        "d/": {"d/a": (b"1", version), "d/b": (b"2", version)},
        "d/x/": {"d/x/y": (b"3", version)},
        "e/": {},
    }
    await write(backend, d__a=None, d__x__y=None)
    listings = (await backend.read([], ["d/", "d/x/"])).listings
    assert listings == {"d/": {"d/b": (b"2", version)}, "d/x/": {}}


@clause
async def a_directory_that_must_be_empty_stops_a_commit(backend: Backend) -> None:
    version = await write(backend, d__a=b"1", d__x__y=b"1")
    empty = Preconditions(empty=frozenset({"d/", "e/"}))
    result = await backend.commit(empty, {"k": b"1"})
    assert isinstance(result, Conflict)
    assert result.fresh.listings == {"d/": {"d/a": (b"1", version)}}
    assert await value(backend, "k") is None
    await write(backend, d__a=None)
    assert isinstance(await backend.commit(empty, {"k": b"1"}), Committed)


@clause
async def a_commit_without_writes_only_checks(backend: Backend) -> None:
    version = await write(backend, a=b"1")
    told: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    await watcher.add(["a"])
    assert isinstance(await backend.commit(Preconditions({"a": version}), {}), Committed)
    assert isinstance(await backend.commit(Preconditions({"a": None}), {}), Conflict)
    assert (await backend.read(["a"])).entries["a"] == (b"1", version)
    assert told == []
    watcher.close()


@clause
async def increments_are_never_lost(backend: Backend) -> None:
    await write(backend, n=b"0")

    async def increment() -> None:
        while True:
            entry = (await backend.read(["n"])).entries["n"]
            assert entry is not None
            await asyncio.sleep(0)
            following = str(int(entry.value) + 1).encode()
            if isinstance(
                await backend.commit(Preconditions({"n": entry.version}), {"n": following}), Committed
            ):
                return

    await asyncio.gather(*(increment() for _ in range(50)))
    assert await value(backend, "n") == b"50"


@clause
async def a_snapshot_is_never_torn(backend: Backend) -> None:
    keys = [f"d/{n}" for n in range(8)]

    async def change() -> None:
        for n in range(40):
            await backend.commit(Preconditions(), dict.fromkeys(keys, str(n).encode()))

    torn = []
    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        while not changing.done():
            snapshot = await backend.read(keys[:4], ["d/"])
            seen = {entry.value for entry in snapshot.entries.values() if entry is not None}
            seen |= {entry.value for entry in snapshot.listings["d/"].values()}
            torn += [seen] if len(seen) > 1 else []
            await asyncio.sleep(0)
    assert torn == []


@clause
async def watchers_hear_their_keys_once_a_commit_in_order(backend: Backend) -> None:
    told: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    await watcher.add(["a", "d/x"], ["d/"])
    first = await write(backend, a=b"1", b=b"1", d__x=b"1", d__y=b"1", d__z__w=b"1")
    await write(backend, b=b"2")
    second = await write(backend, d__y=None)
    third = await write(backend, a=None, d__new=b"1")
    assert told == [
        (frozenset({"a", "d/x", "d/y"}), first),
        (frozenset({"d/y"}), second),
        (frozenset({"a", "d/new"}), third),
    ]
    watcher.close()


@clause
async def a_refused_commit_is_not_told(backend: Backend) -> None:
    told: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    await watcher.add(["a"])
    assert isinstance(await backend.commit(Preconditions({"b": "never"}), {"a": b"1"}), Conflict)
    assert told == []
    watcher.close()


@clause
async def whoever_is_told_can_read_it(backend: Backend) -> None:
    seen: list[bytes | None] = []
    reads: list[asyncio.Task[None]] = []

    async def look() -> None:
        seen.append(await value(backend, "a"))

    watcher = backend.watch(lambda keys, revision: reads.append(asyncio.create_task(look())))
    await watcher.add(["a"])
    for n in range(20):
        await write(backend, a=str(n).encode())
    await asyncio.gather(*reads)
    assert len(seen) == 20
    assert all(int(found or b"-1") >= n for n, found in enumerate(seen))
    watcher.close()


@clause
async def no_commit_after_add_is_missed(backend: Backend) -> None:
    """Whatever a read after `add` does not show is told."""
    told: set[str] = set()

    async def change() -> None:
        for n in range(60):
            await backend.commit(Preconditions(), {f"d/{n}": b"1"})

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        await asyncio.sleep(0.001)
        watcher = backend.watch(lambda keys, revision: told.update(keys or ()))
        await watcher.add([], ["d/"])
        read = set((await backend.read([], ["d/"])).listings["d/"])
    assert read | told == {f"d/{n}" for n in range(60)}
    watcher.close()


@clause
async def removed_watches_and_closed_watchers_are_silent(backend: Backend) -> None:
    told: Told = []
    others: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    other = backend.watch(lambda keys, revision: others.append((keys, revision)))
    await watcher.add(["a", "b"], ["d/"])
    await other.add(["a"], ["d/"])
    watcher.remove(["a"], ["d/"])
    await write(backend, a=b"1", d__x=b"1")
    assert told == []
    await write(backend, b=b"1")
    assert [keys for keys, _ in told] == [frozenset({"b"})]
    watcher.close()
    await write(backend, b=b"2")
    assert len(told) == 1
    assert [keys for keys, _ in others] == [frozenset({"a", "d/x"})]
    other.close()


@clause
async def one_bad_watcher_does_not_harm_the_others(backend: Backend) -> None:
    told: Told = []

    def fail(keys: frozenset[str] | None, revision: str) -> None:
        raise RuntimeError("a bad watcher")

    bad, good = backend.watch(fail), backend.watch(lambda keys, revision: told.append((keys, revision)))
    await bad.add(["a"])
    await good.add(["a"])
    version = await write(backend, a=b"1")
    assert told == [(frozenset({"a"}), version)]
    bad.close()
    good.close()


@clause
async def the_clock_is_in_microseconds_and_never_goes_back(backend: Backend) -> None:
    times = []
    for _ in range(20):
        times.append((await backend.read()).time)
        result = await backend.commit(Preconditions(), {"a": b"1"})
        assert isinstance(result, Committed)
        times.append(result.time)
    assert times == sorted(times)
    assert abs(times[-1] - time.time() * 1e6) < 60e6


@clause
async def a_closed_store_says_that_it_is_away(backend: Backend) -> None:
    await write(backend, a=b"1")
    await backend.close()
    with pytest.raises(StoreUnavailableError):
        await backend.read(["a"])
    with pytest.raises(StoreUnavailableError):
        await backend.commit(Preconditions(), {"a": b"2"})
    await backend.open()
    assert await value(backend, "a") == b"1"


@clause
async def watchers_read_again_after_the_store_was_away(backend: Backend) -> None:
    told: Told = []
    watcher = backend.watch(lambda keys, revision: told.append((keys, revision)))
    await watcher.add(["a"])
    await backend.close()
    await backend.open()
    assert [keys for keys, _ in told] == [None]
    version = await write(backend, a=b"1")
    assert told[1:] == [(frozenset({"a"}), version)]
    watcher.close()


@clause
async def what_is_no_key_is_refused_by_name(backend: Backend) -> None:
    for key in ("", "d/", "a\ud800b"):
        with pytest.raises(ValueError, match="is not a key"):
            await backend.commit(Preconditions(), {"good": b"1", key: b"1"})
    assert await value(backend, "good") is None


@clause
async def a_commit_beyond_the_limit_is_refused(backend: Backend) -> None:
    with pytest.raises(TooLargeError, match=r"limit is \d+"):
        await backend.commit(Preconditions(), {f"k{n}": bytes(16 << 20) for n in range(5)})
    assert await value(backend, "k0") is None


@clause
async def statistics_count_what_happened(backend: Backend) -> None:
    await write(backend, a=b"1", d__x=b"1")
    await backend.commit(Preconditions({"a": None}), {"a": b"2"})
    statistics = backend.statistics()
    assert (statistics["keys"], statistics["commits"], statistics["conflicts"]) == (2, 1, 1)
