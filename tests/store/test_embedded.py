"""What is particular to the store in a file: it survives, and a bad disk changes nothing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import effort
from store import writer
from store.conformance import value, write
from store.host import until
from vlcp.store.contract import Committed, Conflict, Preconditions, StoreUnavailableError
from vlcp.store.database import StoreFileError
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.log import LOG_LENGTH
from vlcp.store.table import directory_of

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: not key.endswith("/"))


@settings(derandomize=True, max_examples=40)
@given(contents=st.dictionaries(KEYS, st.binary(max_size=64), min_size=1))
def test_any_text_is_a_key_and_any_bytes_a_value(contents: dict[str, bytes]) -> None:
    async def round_trip(path: str) -> None:
        first = EmbeddedBackend(path)
        await first.open()
        written = await first.commit(Preconditions(), contents)
        await first.close()
        assert isinstance(written, Committed)
        second = EmbeddedBackend(path)
        await second.open()
        directories = {directory for key in contents if (directory := directory_of(key))}
        snapshot = await second.read(list(contents), list(directories))
        await second.close()
        expected = {key: (content, written.version) for key, content in contents.items()}
        assert snapshot.entries == expected
        assert {key for listing in snapshot.listings.values() for key in listing} == {
            key for key in expected if directory_of(key)
        }

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        asyncio.run(round_trip(f"{directory}/store.db"))


@pytest.mark.parametrize("acknowledged", [1, 50, 400, 1500, 3000])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(path: str, acknowledged: int) -> None:
    _check_pairs(path, _run_and_kill(path, acknowledged))


@pytest.mark.parametrize("seed", range(effort(2)))
def test_several_killed_writers_of_one_file_lose_nothing(path: str, seed: int) -> None:
    """Each is killed at its own time, and another one begins while the rest goes on."""
    chance = random.Random(seed)
    moments = [chance.randint(1, 1000) for _ in range(6)]
    with ThreadPoolExecutor(3) as threads:
        runs = threads.map(
            lambda run: _run_and_kill(path, run[1], run[0] * writer.WRITERS), enumerate(moments)
        )
    _check_pairs(path, {number: count for run in runs for number, count in run.items()})


def _run_and_kill(path: str, acknowledged: int, first: int = 0) -> dict[int, int]:
    """The last count that each writer was told to be written."""
    last = dict.fromkeys(range(first, first + writer.WRITERS), 0)
    command = [sys.executable, writer.__file__, path, str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for lines, line in enumerate(process.stdout, 1):
            number, count = line.split()
            last[int(number)] = int(count)
            if lines == acknowledged:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    return last


def _check_pairs(path: str, last: dict[int, int]) -> None:
    for number, (left, right) in asyncio.run(_pairs(path, last)).items():
        assert left == right
        # One more may be in the file than was said: the kill fell between the commit and the word of it.
        assert left in (last[number], last[number] + 1)


async def _pairs(path: str, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
    backend = EmbeddedBackend(path)
    await backend.open()
    pairs = {}
    for number in numbers:
        left, right = await value(backend, f"left/{number}"), await value(backend, f"right/{number}")
        pairs[number] = int(left or b"0"), int(right or b"0")
    await backend.close()
    return pairs


async def test_a_program_that_wants_the_file_alone_is_named(path: str) -> None:
    backend = EmbeddedBackend(path)
    with open(f"{path}.lock", "w") as lock:  # noqa: ASYNC230 (an empty file)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            StoreFileError, match=f"{path} is in use by another process that does not share it"
        ):
            await backend.open()
    await backend.open()
    with open(f"{path}.lock", "w") as lock:  # noqa: ASYNC230 (an empty file)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await backend.close()


async def test_commits_that_arrive_together_share_a_transaction(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    results = await asyncio.gather(
        *(
            backend.commit(Preconditions({f"k{n}": None}), {f"k{n}": b"1", "last": str(n).encode()})
            for n in range(200)
        )
    )
    statistics = backend.statistics()
    await backend.close()
    await backend.open()
    assert (await value(backend, "k0"), await value(backend, "last")) == (b"1", b"199")
    await backend.close()
    assert all(isinstance(result, Committed) for result in results)
    assert statistics["commits"] == 200
    assert int(statistics["transactions"]) <= 3


async def test_nobody_sees_a_commit_before_it_is_in_the_file(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    seen: list[bytes | None] = []

    def in_file() -> bytes | None:
        connection = sqlite3.connect(path)
        row = connection.execute("SELECT value FROM entries WHERE key = 'a'").fetchone()
        connection.close()
        return row and row[0]

    watcher = backend.watch(lambda keys, revision: seen.append(in_file()))
    await watcher.add(["a"])
    committing = asyncio.create_task(backend.commit(Preconditions({"a": None}), {"a": b"1"}))
    refused = asyncio.create_task(backend.commit(Preconditions({"a": None}), {"a": b"2"}))
    await asyncio.sleep(0)
    assert await value(backend, "a") is None
    assert isinstance(await refused, Conflict)
    assert in_file() == b"1", "the refusal was answered before what it rests on was in the file"
    await committing
    assert seen == [b"1"]
    await backend.close()


async def test_the_log_names_the_last_commits_and_is_bounded(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    await asyncio.gather(*(write(backend, a=b"1") for _ in range(LOG_LENGTH + 499)))
    assert backend.statistics()["log_rows"] == LOG_LENGTH + 499
    await asyncio.gather(*(write(backend, a=b"1") for _ in range(1000)))
    last = await write(backend, b=b"1", c=b"1")
    named = backend.statistics()["log_rows"]
    await backend.close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT number, revision, keys FROM log ORDER BY number").fetchall()
    connection.close()
    assert LOG_LENGTH <= len(rows) < LOG_LENGTH + 600
    assert len(rows) == named
    assert rows[-1] == (LOG_LENGTH + 1500, last, '["b","c"]')


async def test_a_cancelled_commit_leaves_the_store_in_order(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    cancelled = asyncio.create_task(backend.commit(Preconditions(), {"a": b"1"}))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await write(backend, b=b"1")
    assert await value(backend, "b") == b"1"
    await backend.close()


async def test_close_writes_what_is_queued(path: str) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    commits = [asyncio.create_task(write(backend, **{f"k{n}": b"1"})) for n in range(20)]
    await asyncio.sleep(0)
    await backend.close()
    await asyncio.gather(*commits)
    await backend.open()
    assert [await value(backend, f"k{n}") for n in range(20)] == [b"1"] * 20
    await backend.close()


def _no_database(path: Path) -> None:
    path.write_bytes(b"this is no database " * 100)


def _other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE somebody(elses)")
    connection.close()


def _newer_schema(path: Path) -> None:
    async def create() -> None:
        backend = EmbeddedBackend(str(path))
        await backend.open()
        await backend.close()

    asyncio.run(create())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (_no_database, "cannot use .*: file is not a database"),
        (_other_database, "is a database of another program"),
        (_newer_schema, "has schema 99; this program knows only 1"),
        (Path.mkdir, "cannot use .*: Is a directory|Errno 21"),
    ],
)
def test_a_file_that_is_no_store_is_refused(
    tmp_path: Path, prepare: Callable[[Path], None], complaint: str
) -> None:
    path = tmp_path / "store.db"
    prepare(path)

    async def open_twice() -> None:
        backend = EmbeddedBackend(str(path))
        for _ in range(2):
            with pytest.raises(StoreFileError, match=complaint) as raised:
                await backend.open()
            assert str(path) in str(raised.value)

    asyncio.run(open_twice())


def test_an_unknown_level_of_safety_is_refused() -> None:
    with pytest.raises(ValueError, match="synchronous is 'sometimes'; allowed are OFF, NORMAL, FULL, EXTRA"):
        EmbeddedBackend("/nowhere", synchronous="sometimes")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_a_full_disk_refuses_and_changes_nothing(small_disk: Path) -> None:
    backend = EmbeddedBackend(str(small_disk / "store.db"))
    await backend.open()
    ballast = small_disk / "ballast"
    version = await write(backend, a=b"1")
    other = EmbeddedBackend(str(small_disk / "store.db"))
    await other.open()
    ballast.write_bytes(bytes(200 << 10))
    told: list[frozenset[str] | None] = []
    watcher = backend.watch(lambda keys, revision: told.append(keys))
    await watcher.add(["a", "big", "small"])
    results = await asyncio.gather(
        backend.commit(Preconditions({"a": version}), {"a": b"2", "big": bytes(2 << 20)}),
        backend.commit(Preconditions(), {"small": b"1"}),
        backend.commit(Preconditions({"a": version}), {"a": b"3"}),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StoreUnavailableError] * 3
    assert "full" in str(results[0])
    assert (await backend.read(["a", "big", "small"])).entries == {
        "a": (b"1", version),
        "big": None,
        "small": None,
    }
    assert backend.statistics()["state"] == "failing"
    assert told == []
    assert other.keys() == ["a"]
    ballast.unlink()
    unchanged = Preconditions({"a": version, "small": None})
    assert isinstance(await backend.commit(unchanged, {"a": b"4"}), Committed)
    assert backend.statistics()["state"] == "open"
    assert told == [frozenset({"a"})]
    await until(lambda: int(other.statistics()["foreign_commits"]) == 1)
    assert await value(other, "a") == b"4"
    await other.close()
    await backend.close()
    await backend.open()
    assert await value(backend, "a") == b"4"
    assert await value(backend, "small") is None
    await backend.close()


_WITHOUT_RIGHTS = """
import asyncio, concurrent.futures.thread, os, sys
from vlcp.store.database import StoreFileError
from vlcp.store.embedded import EmbeddedBackend
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
try:
    asyncio.run(EmbeddedBackend(sys.argv[1]).open())
except StoreFileError as error:
    print(error)
"""


@pytest.mark.parametrize("rights", [0o444, 0o000], ids=["read only", "no rights"])
def test_a_file_that_may_not_be_written_is_refused(rights: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o777)
        path = Path(f"{directory}/store.db")
        path.touch()
        path.chmod(rights)
        told = subprocess.run(
            [sys.executable, "-c", _WITHOUT_RIGHTS, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert told.stdout == f"cannot use {path} as a store: this process may not write it\n"
        assert path.stat().st_size == 0


async def test_a_disk_that_may_not_be_written_is_refused(small_disk: Path) -> None:
    backend = EmbeddedBackend(str(small_disk / "store.db"))
    await backend.open()
    await backend.close()
    remount = await asyncio.create_subprocess_exec("mount", "-o", "remount,ro", str(small_disk))
    assert await remount.wait() == 0
    with pytest.raises(StoreFileError, match=r"cannot use .* as a store: .*Read-only file system"):
        await backend.open()
