"""Stores in other processes: one of the processes that share a file, driven from a test.

The process runs `serve` on one end of a socket, the test has a `Remote` at the other. Frames are pickles with their
length before them; every request is answered once, in any order.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from vlcp.store.contract import Backend, Committed, Conflict, Preconditions
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.log import Commit, Transaction

_LENGTH = struct.Struct("!Q")


async def receive(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def frame(message: Any) -> bytes:
    data = pickle.dumps(message)
    return _LENGTH.pack(len(data)) + data


async def increment(backend: Backend, key: str, times: int) -> None:
    """Count a key up, and begin again after every conflict."""
    done = 0
    while done < times:
        entry = (await backend.read([key])).entries[key]
        condition = Preconditions({key: entry.version if entry else None})
        following = str(int(entry.value if entry else b"0") + 1).encode()
        done += isinstance(await backend.commit(condition, {key: following}), Committed)


class Careless(EmbeddedBackend):
    """Believes its own memory: it does not check against the file."""

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        keys, directories = self._table.failing(preconditions)
        if keys or directories:
            return Conflict(await self.read(keys, directories))
        return await super().commit(Preconditions(), writes)


class Server:
    """What the process does: the methods are the requests."""

    def __init__(self) -> None:
        self._backend: EmbeddedBackend | None = None

    @property
    def backend(self) -> EmbeddedBackend:
        assert self._backend is not None
        return self._backend

    async def open(self, path: str, careless: bool = False) -> None:
        self._backend = (Careless if careless else EmbeddedBackend)(path)
        await self._backend.open()

    async def close(self) -> None:
        await self.backend.close()

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> tuple[Committed | Conflict, int]:
        """The result, and the time of the answer in nanoseconds."""
        result = await self.backend.commit(preconditions, writes)
        return result, time.time_ns()

    async def value(self, key: str) -> bytes | None:
        entry = (await self.backend.read([key])).entries[key]
        return entry.value if entry is not None else None

    async def statistics(self) -> Mapping[str, int | float | str]:
        return self.backend.statistics()

    async def increment(self, key: str, times: int) -> None:
        await increment(self.backend, key, times)

    async def write_often(self, directory: str, count: int, seed: int) -> None:
        """Write members of a directory at random times."""
        chance = random.Random(seed)
        for number in range(count):
            await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.002)))
            await self.backend.commit(Preconditions(), {f"{directory}{number}": b"1"})

    async def die_writing(self) -> None:
        """End as by `kill -9` in the middle of a transaction: rows are written, and it is not committed."""
        write = Transaction.write

        def write_and_die(self: Transaction, commits: Sequence[Commit]) -> None:
            write(self, commits)
            _die()

        Transaction.write = write_and_die  # type: ignore[method-assign]  # the moment before the commit
        await self.backend.commit(Preconditions(), {"half": b"written", "d/half": bytes(8 << 20)})

    async def die_silently(self, key: str) -> None:
        """Commit, and end as by `kill -9` before anybody is woken."""
        self.backend._wakeups.send = _die  # type: ignore[method-assign]  # the moment between the two
        await self.backend.commit(Preconditions(), {key: b"1"})


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    server = Server()

    async def answer(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        try:
            result: Any = (True, await getattr(server, name)(*arguments))
        except Exception as error:
            result = (False, error)
        writer.write(frame((number, *result)))

    async with asyncio.TaskGroup() as group:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                number, name, arguments = await receive(reader)
                group.create_task(answer(number, name, arguments))
    writer.close()


class Process:
    """A running process. It serves one test after the other."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def end(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


class Remote:
    """The requests to a process, in the event loop of one test."""

    def __init__(self, process: Process) -> None:
        self.process = process.process
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, name: str, *arguments: Any) -> Any:
        """The result of a request; what it raised is raised here. `EOFError`: the process ended."""
        assert self._writer is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._writer.write(frame((number, name, arguments)))
        return await answer

    @contextlib.asynccontextmanager
    async def connected(self, process: Process) -> AsyncIterator[Remote]:
        reader, self._writer = await asyncio.open_connection(sock=process.socket.dup())
        task = asyncio.create_task(self._receive(reader))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, good, result = await receive(reader)
                answer = self._answers.pop(number)
                if answer.done():
                    continue
                if good:
                    answer.set_result(result)
                else:
                    answer.set_exception(result)
        except (asyncio.IncompleteReadError, ConnectionError):
            for answer in self._answers.values():
                answer.set_exception(EOFError("the process ended"))


@contextlib.asynccontextmanager
async def opened(process: Process, path: str, careless: bool = False) -> AsyncIterator[Remote]:
    """A process that has the store open."""
    async with Remote(process).connected(process) as remote:
        await remote.call("open", path, careless)
        try:
            yield remote
        finally:
            if process.process.poll() is None:
                await remote.call("close")


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
