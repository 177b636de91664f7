"""The mirror shows what the store holds, tells what changed, and asks no more than it must."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from store.faults import BadLine
from store.host import decode, put, until
from vlcp.derive.view import UNREAD, Source
from vlcp.store.contract import Backend, Preconditions, StoreUnavailableError
from vlcp.store.known import Change, UndecodableError
from vlcp.store.memory import MemoryBackend
from vlcp.store.mirror import Mirror, Reader


async def quiet() -> None:
    """Give the mirror the turns that it needs."""
    for _ in range(40):
        await asyncio.sleep(0)


class Listener:
    """A reader that notes what it is told."""

    def __init__(self, mirror: Mirror) -> None:
        self.changes: list[Change] = []
        self.reader: Reader = mirror.reader(self.changes.append)

    def take(self) -> list[Change]:
        changes, self.changes[:] = self.changes[:], []
        return changes


def change(*keys: str, joined: Any = None, left: Any = None, directories: tuple[str, ...] = ()) -> Change:
    return Change(
        frozenset(keys),
        {name: frozenset(names) for name, names in (joined or {}).items()},
        {name: frozenset(names) for name, names in (left or {}).items()},
        frozenset(directories),
    )


@contextlib.asynccontextmanager
async def mirroring(backend: Backend) -> AsyncIterator[Mirror]:
    mirror = Mirror(backend, decode)
    await mirror.start()
    try:
        yield mirror
    finally:
        await mirror.stop()


@pytest.fixture
async def line() -> AsyncIterator[BadLine]:
    line = BadLine(MemoryBackend())
    await line.open()
    yield line
    await line.close()


@pytest.fixture
async def mirror(line: BadLine) -> AsyncIterator[Mirror]:
    async with mirroring(line) as mirror:
        yield mirror


@pytest.fixture
def listener(mirror: Mirror) -> Listener:
    return Listener(mirror)


async def test_nothing_is_known_before_it_is_read(line: BadLine, listener: Listener) -> None:
    await put(line, a=1, d__x=2)
    source: Source = listener.reader
    assert (source.get("a"), source.members("d/"), source.get("d/x")) == (UNREAD, UNREAD, UNREAD)
    listener.reader.want(["a", "b"], ["d/"])
    assert source.get("a") is UNREAD
    await until(lambda: bool(listener.changes))
    assert listener.take() == [change("a", "b", "d/x", directories=("d/",))]
    assert (source.get("a"), source.get("b"), source.get("d/x"), source.get("d/y")) == (1, None, 2, None)
    assert list(source.members("d/")) == ["x"]  # type: ignore[arg-type]  # it is read


async def test_all_wants_of_one_turn_go_in_one_round(line: BadLine, mirror: Mirror) -> None:
    one, other = Listener(mirror), Listener(mirror)
    await quiet()
    one.reader.want(["a"])
    one.reader.want(["b"], ["d/"])
    other.reader.want(["b", "c"])
    await until(lambda: bool(one.changes and other.changes))
    assert line.reads == [(["a", "b", "c"], ["d/"])]
    assert one.take() == [change("a", "b", directories=("d/",))]
    assert other.take() == [change("b", "c")]


async def test_a_change_is_told_once_with_all_keys_of_its_commit(line: BadLine, listener: Listener) -> None:
    await put(line, a=1, d__x=1)
    await listener.reader.ready(["a", "b"], ["d/"])
    listener.take()
    await put(line, a=2, b=2, d__x=None, d__y=2, elsewhere=1)
    await until(lambda: bool(listener.changes))
    await quiet()
    assert listener.take() == [
        change("a", "b", "d/x", "d/y", joined={"d/": {"y"}}, left={"d/": {"x"}}),
    ]
    assert [listener.reader.get(key) for key in ("a", "b", "d/x", "d/y")] == [2, 2, None, 2]


async def test_a_reader_sees_and_hears_only_what_it_wants(line: BadLine, mirror: Mirror) -> None:
    one, other = Listener(mirror), Listener(mirror)
    await put(line, a=1, b=1)
    await one.reader.ready(["a"])
    await other.reader.ready(["b"])
    assert one.reader.get("b") is UNREAD
    one.take()
    await put(line, b=2)
    await until(lambda: other.reader.get("b") == 2)
    assert one.changes == []


async def test_values_are_decoded_once_and_shared(line: BadLine, mirror: Mirror) -> None:
    await put(line, d__x={"big": "object"})
    one, other = Listener(mirror), Listener(mirror)
    await one.reader.ready(directories=["d/"])
    await other.reader.ready(["d/x"], ["d/"])
    await until(lambda: bool(other.changes))
    assert other.take() == [change("d/x", directories=("d/",))]
    assert one.reader.get("d/x") is other.reader.get("d/x")
    assert mirror.statistics()["decoded"] == 1


async def test_the_version_of_a_key(line: BadLine, listener: Listener) -> None:
    version = await put(line, a=1)
    assert listener.reader.version("a") is UNREAD
    await listener.reader.ready(["a", "b"])
    assert listener.reader.version("a") == version
    assert listener.reader.version("b") is None


async def test_writing_the_same_again_is_no_change_but_a_new_version(
    line: BadLine, listener: Listener
) -> None:
    await put(line, a=1)
    await listener.reader.ready(["a"])
    listener.take()
    version = await put(line, a=1)
    await until(lambda: listener.reader.version("a") == version)
    await put(line, a=True)
    await until(lambda: listener.reader.get("a") is True)
    assert listener.take() == [change("a")]


async def test_released_keys_are_forgotten_and_not_watched(line: BadLine, mirror: Mirror) -> None:
    one, other = Listener(mirror), Listener(mirror)
    await put(line, a=1, d__x=1, d__y=1)
    await one.reader.ready(["a", "d/x"], ["d/"])
    await other.reader.ready(["a"])
    one.reader.release(["a"], ["d/"])
    assert [one.reader.get(key) for key in ("a", "d/x", "d/y")] == [UNREAD, 1, UNREAD]
    assert other.reader.get("a") == 1
    other.reader.close()
    one.reader.close()
    await quiet()
    statistics = mirror.statistics()
    assert (statistics["keys"], statistics["directories"], statistics["watched"]) == (0, 0, 0)
    assert line.statistics()["watched_keys"] == line.statistics()["watched_directories"] == 0
    one.take()
    await put(line, a=2, d__x=2)
    await quiet()
    assert one.changes == []


async def test_a_change_between_two_ways_of_watching_is_not_missed(line: BadLine, mirror: Mirror) -> None:
    """A key was followed as a member of a directory; that ends, and it is followed by its name from now on."""
    one, other = Listener(mirror), Listener(mirror)
    await put(line, d__x=1)
    await one.reader.ready(directories=["d/"])
    line.gate = asyncio.Event()
    other.reader.want(["d/x"])
    one.reader.release(directories=["d/"])
    await quiet()
    await put(line, d__x=2)
    line.gate.set()
    await until(lambda: bool(other.changes))
    assert other.reader.get("d/x") == 2


async def test_wanting_again_after_a_release_reads_again(line: BadLine, listener: Listener) -> None:
    await put(line, a=1)
    await listener.reader.ready(["a"])
    listener.reader.release(["a"])
    await quiet()
    await put(line, a=2)
    await listener.reader.ready(["a"])
    assert listener.reader.get("a") == 2


async def test_an_undecodable_value_harms_only_its_key(
    line: BadLine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    await line.commit(Preconditions(), {"bad": b"{", "good": b"1"})
    with caplog.at_level(logging.WARNING):
        await listener.reader.ready(["bad", "good"])
        with pytest.raises(UndecodableError, match="'bad' cannot be decoded") as raised:
            listener.reader.get("bad")
        assert raised.value.key == "bad"
        assert listener.reader.get("good") == 1
        await line.commit(Preconditions(), {"bad": b"{", "good": b"2"})
        await until(lambda: listener.reader.get("good") == 2)
    assert len([record for record in caplog.records if "bad" in record.getMessage()]) == 1
    await put(line, bad=3)
    await until(lambda: listener.changes[-1] == change("bad"))
    assert listener.reader.get("bad") == 3


async def test_a_failing_reader_does_not_harm_the_others(line: BadLine, mirror: Mirror) -> None:
    def fail(change: Change) -> None:
        raise RuntimeError("a bad reader")

    mirror.reader(fail).want(["a"])
    good = Listener(mirror)
    await good.reader.ready(["a"])
    await put(line, a=1)
    await until(lambda: good.reader.get("a") == 1)


async def test_while_the_store_is_away_the_last_values_stay(line: BadLine, mirror: Mirror) -> None:
    one = Listener(mirror)
    await put(line, a=1, b=1, d__x=1, d__y=1)
    await one.reader.ready(["a", "b"], ["d/"])
    one.take()
    line.away = True
    await line.backend.close()
    with pytest.raises(StoreUnavailableError):
        await one.reader.ready(["c"])
    assert [one.reader.get(key) for key in ("a", "c", "d/x")] == [1, UNREAD, 1]
    assert mirror.statistics()["state"] == "store away"
    line.deaf = True
    await line.backend.open()
    line.away = False
    await put(line, a=2, d__x=None, d__z=2)
    line.deaf = False
    await line.backend.close()
    await line.backend.open()
    await until(lambda: one.reader.get("a") == 2 and one.reader.get("c") is None)
    told = one.take()
    assert frozenset().union(*(each.keys for each in told)) == {"a", "c", "d/x", "d/z"}
    assert [dict(each.joined) for each in told if each.joined] == [{"d/": {"z"}}]
    assert [dict(each.left) for each in told if each.left] == [{"d/": {"x"}}]
    assert not any(each.directories for each in told)


async def test_the_cost_of_one_more_member_does_not_grow(
    line: BadLine, listener: Listener, mirror: Mirror
) -> None:
    members = {f"d/{n}": str(n).encode() for n in range(10_000)}
    await line.commit(Preconditions(), members)
    await listener.reader.ready(directories=["d/"])
    line.reads.clear()
    listener.take()
    decoded = int(mirror.statistics()["decoded"])
    await put(line, d__new=1)
    await until(lambda: bool(listener.changes))
    assert line.reads == [(["d/new"], [])]
    assert listener.take() == [change("d/new", joined={"d/": {"new"}})]
    assert int(mirror.statistics()["decoded"]) == decoded + 1
    assert len(listener.reader.members("d/")) == 10_001  # type: ignore[arg-type]  # it is read


async def test_a_stopped_mirror_leaves_nothing_and_starts_again(line: BadLine) -> None:
    mirror = Mirror(line, decode)
    listener = Listener(mirror)
    await mirror.start()
    await put(line, a=1)
    await listener.reader.ready(["a"])
    await mirror.stop()
    assert line.statistics()["watchers"] == 0
    assert listener.reader.get("a") == 1
    await put(line, a=2)
    with pytest.raises(StoreUnavailableError):
        await listener.reader.ready(["b"])
    await mirror.start()
    await until(lambda: listener.reader.get("a") == 2 and listener.reader.get("b") is None)
    await mirror.stop()


def test_a_key_is_no_directory() -> None:
    reader = Mirror(MemoryBackend(), decode).reader(lambda change: None)
    with pytest.raises(ValueError, match="'d/' is a directory, not a key"):
        reader.want(["d/"])
    with pytest.raises(ValueError, match="'d' is not a directory"):
        reader.want([], ["d"])


NAMES = ("a", "b", "d/1", "d/2", "d/3", "e/1", "e/2")
DIRECTORIES = ("d/", "e/")


class Follower:
    """Keeps a copy by changes alone, and checks that every commit is seen whole: all values of one are one number."""

    def __init__(self, mirror: Mirror) -> None:
        self.values: dict[str, Any] = {}
        self.names: dict[str, set[str]] = {}
        self.reader = mirror.reader(self._on_change)

    def _on_change(self, change: Change) -> None:
        for key in change.keys:
            self.values[key] = self.reader.get(key)
        for directory in change.directories:
            self.names[directory] = set(self.reader.members(directory))  # type: ignore[arg-type]  # it is read
        for directory, names in change.joined.items():
            assert not names & self.names[directory]
            self.names[directory] |= names
        for directory, names in change.left.items():
            assert names <= self.names[directory]
            self.names[directory] -= names
        pair = {
            self.values.get(key) for key in ("pair", "d/pair") if self.values.get(key, UNREAD) is not UNREAD
        }
        assert len(pair) <= 1, "half a commit is visible"

    def known(self) -> dict[str, Any]:
        return {key: value for key, value in self.values.items() if value is not None}


@pytest.mark.parametrize("seed", range(15))
async def test_after_random_commits_the_mirror_equals_the_store(
    backend: Backend, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    line = BadLine(backend, seed)
    async with mirroring(line) as mirror:
        follower, fickle = Follower(mirror), Follower(mirror)
        for step in range(120):
            keys = chance.sample(NAMES, chance.randint(1, 3))
            writes = {key: chance.choice([None, str(step).encode()]) for key in keys}
            pair = dict.fromkeys(("pair", "d/pair"), str(step).encode())
            await backend.commit(Preconditions(), {**writes, **pair})
            if step == 20:
                follower.reader.want([*NAMES, "pair"], DIRECTORIES)
            if chance.random() < 0.2:
                fickle.reader.want(chance.sample(NAMES, 2), chance.sample(DIRECTORIES, 1))
            if chance.random() < 0.2:
                fickle.reader.release(chance.sample(NAMES, 2), chance.sample(DIRECTORIES, 1))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            if chance.random() < 0.05:
                mirror._notified(None, "")
        fickle.reader.want(NAMES, DIRECTORIES)
        await fickle.reader.ready(NAMES, DIRECTORIES)
        await quiet()
        snapshot = await backend.read([*NAMES, "pair"], DIRECTORIES)
        stored = {key: int(entry.value) for key, entry in snapshot.entries.items() if entry}
        stored |= {
            key: int(entry.value) for listing in snapshot.listings.values() for key, entry in listing.items()
        }
        names = {
            directory: {key.removeprefix(directory) for key in listing}
            for directory, listing in snapshot.listings.items()
        }
        assert follower.known() == stored
        assert follower.names == names
        for key in NAMES:
            assert fickle.reader.get(key) == stored.get(key)
        assert {name: set(fickle.reader.members(name)) for name in DIRECTORIES} == names  # type: ignore[arg-type]  # they are read
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
