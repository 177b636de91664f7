"""Whatever happens to one process, to the file or to what lies beside it, the others go on and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from effort import effort
from store.conformance import value, write
from store.faults import BadLine
from store.host import count, decode, encode, following, until
from store.remote import Process, Remote, increment, opened
from vlcp.store import log
from vlcp.store.contract import Committed, Conflict, Preconditions, StoreUnavailableError
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.filelock import open_lock
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Outcome, TransactionView, Transactor


async def test_a_process_killed_in_a_transaction_leaves_nothing_of_it(
    local: EmbeddedBackend, mortal: Remote
) -> None:
    await write(local, a=b"1")
    with pytest.raises(EOFError):
        await mortal.call("die_writing")
    mortal.process.wait()
    version = await write(local, a=b"2")
    assert (await local.read(["a", "half"], ["d/"])).entries == {"a": (b"2", version), "half": None}
    assert local.keys() == ["a"]
    await until(lambda: count(local, "peers") == 0)
    assert local.statistics()["state"] == "open"


async def test_a_commit_whose_wake_up_never_came_is_seen_soon(local: EmbeddedBackend, mortal: Remote) -> None:
    async with following(local) as told:
        begin = time.monotonic()
        with pytest.raises(EOFError):
            await mortal.call("die_silently", "d/last")
        await until(lambda: bool(told))
        assert time.monotonic() - begin < 2
    assert told[0][0] == frozenset({"d/last"})


def _sockets(path: str) -> set[str]:
    return {name for name in os.listdir(f"{path}.peers") if name.endswith(".sock")}


async def test_a_socket_that_was_removed_is_made_again(
    local: EmbeddedBackend, remote: Remote, path: str
) -> None:
    before = _sockets(path)
    assert len(before) == 2
    for name in before:
        os.unlink(f"{path}.peers/{name}")
    await remote.call("commit", Preconditions(), {"d/unheard": b"1"})
    async with following(local) as told:
        await until(lambda: local.keys() == ["d/unheard"])
        await until(lambda: len(_sockets(path)) == 2 and count(local, "peers") == 1)
        assert not before & _sockets(path)
        received = count(local, "wakeups_received")
        await remote.call("commit", Preconditions(), {"d/heard": b"1"})
        await until(lambda: frozenset({"d/heard"}) in [keys for keys, _ in told])
        assert count(local, "wakeups_received") > received


async def test_sockets_of_the_dead_are_removed_and_rights_are_narrow(
    local: EmbeddedBackend, mortal: Remote, path: str
) -> None:
    assert [os.stat(each).st_mode & 0o777 for each in (path, f"{path}.peers", f"{path}.lock")] == [
        0o600,
        0o700,
        0o600,
    ]
    await until(lambda: count(local, "peers") == 1)
    mortal.process.kill()
    mortal.process.wait()
    assert len(_sockets(path)) == 2
    await write(local, a=b"1")
    await until(lambda: len(_sockets(path)) == 1)
    await local.close()
    assert _sockets(path) == set()


async def test_without_sockets_changes_are_seen_all_the_same(
    path: str, processes: list[Process], caplog: pytest.LogCaptureFixture
) -> None:
    backend = EmbeddedBackend(path)
    backend._wakeups._directory = Path("/proc/nowhere")
    await backend.open()
    async with opened(processes[0], path) as remote, following(backend) as told:
        await remote.call("commit", Preconditions(), {"d/x": b"1"})
        await until(lambda: [keys for keys, _ in told] == [frozenset({"d/x"})])
    await backend.close()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "other processes cannot wake this one, it looks now and then"
    ]


async def test_a_stopped_process_holds_nobody_up_and_catches_up(
    local: EmbeddedBackend, mortal: Remote
) -> None:
    await mortal.call("commit", Preconditions(), {"a": b"0"})
    mortal.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        for number in range(200):
            await write(local, a=str(number).encode())
        assert time.monotonic() - begin < 10
    finally:
        mortal.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(5):
        while await mortal.call("value", "a") != b"199":  # noqa: ASYNC110 (it happens elsewhere)
            await asyncio.sleep(0.005)
    assert (await mortal.call("statistics"))["reloads"] == 0


@pytest.mark.parametrize("seed", range(effort(2)))
async def test_a_process_that_is_stopped_while_it_writes_loses_nothing(
    local: EmbeddedBackend, mortal: Remote, seed: int
) -> None:
    """Wherever it stops: waiting, in a transaction, or between two."""
    chance = random.Random(seed)
    theirs = asyncio.create_task(mortal.call("increment", "n", 1000))
    ours = asyncio.create_task(increment(local, "n", 300))
    while not (ours.done() and theirs.done()):
        await asyncio.sleep(chance.uniform(0.01, 0.2))
        mortal.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(chance.uniform(0.01, 0.2))
        mortal.process.send_signal(signal.SIGCONT)
    await asyncio.gather(ours, theirs)
    await until(lambda: int(local.statistics()["foreign_commits"]) == 1000)
    assert await value(local, "n") == b"1300"


async def test_who_is_further_behind_than_the_log_reads_everything(
    local: EmbeddedBackend, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LOG_LENGTH", 20)
    monkeypatch.setattr(log, "_PRUNED_AT_ONCE", 1)
    late = EmbeddedBackend(path)
    await late.open()
    await write(local, a=b"1", d__x=b"1", d__gone=b"1")
    await until(lambda: len(late.keys()) == 3)
    async with following(late) as told:
        with _held_up(late):
            for number in range(30):
                await write(local, a=str(number).encode())
            await write(local, d__gone=None, d__new=b"1")
        await until(lambda: bool(told))
        assert told[0] == (None, (await late.read()).revision)
        assert late.keys() == ["a", "d/new", "d/x"]
        assert (await late.read(["a"], ["d/"])).entries == (await local.read(["a"], ["d/"])).entries
        version = await write(local, a=b"after")
        await until(lambda: len(told) == 2)
        assert told[1] == (frozenset({"a"}), version)
    assert count(late, "reloads") == 1
    assert count(local, "log_rows") == 20
    await late.close()


def add_one(view: TransactionView, key: str) -> Outcome:
    return Outcome({key: view.get(key) + 1})


@contextlib.contextmanager
def _held_up(backend: EmbeddedBackend) -> Iterator[None]:
    """The thread of a store is busy."""
    executor = backend._executor
    assert executor is not None
    release = _lock()
    blocked = executor.submit(release.acquire)
    try:
        yield
    finally:
        release.release()
        blocked.result(5)
        release.release()


def _lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


async def test_a_commit_that_is_late_is_not_made_twice(local: EmbeddedBackend) -> None:
    """Nobody can know whether it will happen, so it is an error, and no reason to begin again."""
    await write(local, n=b"1")
    line = BadLine(local)
    transactor = Transactor(line, Mirror(line, decode), encode, patience=0.1)
    with _held_up(local):
        running = asyncio.create_task(transactor.run(add_one, "n"))
        await until(lambda: running.done() or len(line.commits) == 2)
    with pytest.raises(StoreUnavailableError, match="did not answer"):
        await running
    await write(local, other=b"1")
    assert await value(local, "n") == b"2"


async def test_a_commit_that_nobody_waits_for_any_more_is_not_begun(local: EmbeddedBackend) -> None:
    with _held_up(local):
        begun = asyncio.create_task(local.commit(Preconditions(), {"a": b"1"}))
        await until(lambda: count(local, "queued") == 1)
        await asyncio.sleep(0)
        given_up = asyncio.create_task(local.commit(Preconditions(), {"b": b"1"}))
        await until(lambda: count(local, "queued") == 2)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert count(local, "queued") == 1
    await begun
    await write(local, c=b"1")
    assert local.keys() == ["a", "c"]


async def test_a_close_that_was_given_up_goes_on(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    with _held_up(backend):
        queued = asyncio.create_task(write(backend, a=b"1"))
        await until(lambda: count(backend, "queued") == 1)
        closing = asyncio.create_task(backend.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
    async with asyncio.timeout(5):
        await queued
        await asyncio.gather(backend.close(), backend.close())
    assert backend.statistics()["state"] == "closed"
    with _opened(f"{path}.lock") as lock:
        assert _locked(lock)
    await backend.open()
    assert await value(backend, "a") == b"1"
    await backend.close()


async def test_an_open_that_was_given_up_leaves_the_file_free(path: str) -> None:
    (Path(path).parent / f"{Path(path).name}.peers").mkdir(parents=True)
    with _opened(f"{path}.peers/turn") as turn, _opened(f"{path}.lock") as lock:
        fcntl.flock(turn, fcntl.LOCK_EX)
        backend = EmbeddedBackend(path)
        opening = asyncio.create_task(backend.open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        again = asyncio.create_task(backend.open())
        fcntl.flock(turn, fcntl.LOCK_UN)
        await again
        await write(backend, a=b"1")
        assert not _locked(lock)
        await backend.close()
        await until(lambda: _locked(lock))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    lock = open_lock(Path(path))
    yield lock
    os.close(lock)


def _locked(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


async def test_changes_by_hand_are_noticed(local: EmbeddedBackend, path: str) -> None:
    await write(local, a=b"1")
    async with following(local) as told:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE entries SET value = x'32', version = 'by hand' WHERE key = 'a'")
        connection.commit()
        connection.close()
        await until(lambda: bool(told))
    assert [keys for keys, _ in told] == [None]
    assert (await local.read(["a"])).entries["a"] == (b"2", "by hand")


async def test_a_commit_is_decided_by_the_file_also_when_it_was_emptied_by_hand(
    local: EmbeddedBackend, path: str
) -> None:
    version = await write(local, a=b"1")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM entries")
    connection.close()
    refused = await local.commit(Preconditions({"a": version}), {"a": b"2"})
    assert isinstance(refused, Conflict)
    assert refused.fresh.entries == {"a": None}
    assert isinstance(await local.commit(Preconditions({"a": None}), {"a": b"3"}), Committed)


async def test_a_program_that_locks_the_file_delays_commits(local: EmbeddedBackend, path: str) -> None:
    await write(local, a=b"1")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    committing = asyncio.create_task(write(local, a=b"2"))
    begin = time.monotonic()
    while time.monotonic() - begin < 3:
        assert await value(local, "a") == b"1"
        await asyncio.sleep(0.1)
    connection.execute("ROLLBACK")
    connection.close()
    await committing
    assert await value(local, "a") == b"2"
    assert count(local, "failures") == 0


async def test_a_program_that_keeps_the_file_locked_is_an_error(
    local: EmbeddedBackend, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlcp.store.database.PATIENCE", 0.2)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match=f"{path}: database is locked"):
        await write(local, a=b"1")
    connection.execute("ROLLBACK")
    connection.close()
    await write(local, a=b"2")
    assert local.statistics()["state"] == "open"


async def test_a_file_that_is_removed_is_an_error_until_it_is_back(
    local: EmbeddedBackend, path: str, tmp_path: Path
) -> None:
    await write(local, a=b"1")
    kept = tmp_path / "kept"
    os.rename(path, kept)
    with pytest.raises(StoreUnavailableError, match=f"{path} was removed or replaced while it was in use"):
        await write(local, a=b"2")
    assert local.statistics()["state"] == "failing"
    assert await value(local, "a") == b"1"
    os.rename(kept, path)
    await write(local, a=b"3")
    assert await value(local, "a") == b"3"
    assert local.statistics()["state"] == "open"


async def test_the_end_of_a_file_is_noticed_without_a_commit(local: EmbeddedBackend, path: str) -> None:
    os.unlink(path)
    await until(lambda: local.statistics()["state"] == "failing")


async def test_a_file_in_the_place_of_ours_is_not_touched(
    local: EmbeddedBackend, path: str, tmp_path: Path
) -> None:
    await write(local, a=b"old")
    spare = EmbeddedBackend(str(tmp_path / "spare.db"))
    await spare.open()
    await write(spare, a=b"new")
    await spare.close()
    os.rename(tmp_path / "spare.db", path)
    before = Path(path).read_bytes()  # noqa: ASYNC240 (a few pages)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            await write(local, a=b"2")
    assert await value(local, "a") == b"old"
    await local.close()
    assert Path(path).read_bytes() == before  # noqa: ASYNC240 (a few pages)
    os.unlink(f"{path}-wal")
    await local.open()
    assert await value(local, "a") == b"new"


async def test_a_file_without_a_log_gets_one(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    version = await write(backend, a=b"1")
    await backend.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE log")
    connection.commit()
    connection.close()
    other = EmbeddedBackend(path)
    await asyncio.gather(backend.open(), other.open())
    assert (await backend.read(["a"])).entries["a"] == (b"1", version)
    async with following(backend) as told:
        version = await write(other, a=b"2")
        await until(lambda: told == [(frozenset({"a"}), version)])
    await backend.close()
    await other.close()
