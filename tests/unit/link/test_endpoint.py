"""Endpoints: what is tried again, what stops, and that one peer at a time means one."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from vlcp.link.address import Address, connect, parse
from vlcp.link.endpoint import Acceptor, Client, Listening, PassiveClient
from vlcp.link.tls import TlsError

LOGGER = logging.getLogger("test.endpoint")
HERE = parse("tcp://127.0.0.1:0")


class Peer(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, made: Callable[[Peer], None] | None = None) -> None:
        self._made = made
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._made is not None:
            self._made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def close(self) -> None:
        self.transport.close()


class Owner:
    """Whose tasks they are; `used` has every connection that was served."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.used: list[Peer] = []

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine, name=name)
        self.tasks.add(task)
        return task

    async def serve(self, connection: Peer) -> None:
        self.used.append(connection)
        try:
            await connection.closed.wait()
        finally:
            connection.close()

    def client(self, address: Address, persist: bool = True) -> Client[Peer]:
        async def dial() -> Peer:
            return (await connect(address, Peer))[1]

        return Client(address, dial, self.serve, self.spawn, LOGGER, name=f"peer {address}", persist=persist)

    def server(self, address: Address, retry: float | None = 0.02) -> Acceptor:
        return Acceptor(address, Peer, Listening(retry=retry), self.spawn, LOGGER)

    def passive(self, address: Address) -> PassiveClient[Peer]:
        manner = Listening(retry=0.02)
        return PassiveClient(address, Peer, manner, self.serve, self.spawn, LOGGER, name="passive")


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    owner = Owner()
    yield owner
    for task in owner.tasks:
        task.cancel()
    results = await asyncio.gather(*owner.tasks, return_exceptions=True)
    assert [r for r in results if isinstance(r, Exception)] == []
    await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def where(endpoint: Acceptor | PassiveClient[Peer]) -> Address:
    assert endpoint.listener is not None
    return endpoint.listener.address


async def test_a_taken_place_is_tried_again_until_it_is_free(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = Address("tcp", "127.0.0.1", holder.getsockname()[1])
        server = owner.server(address)
        assert await server.start()
        assert not await server.start()
        assert (server.listener, "in use" in str(server.error)) == (None, True)
        await asyncio.sleep(0.1)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert f"cannot listen on {address}" in caplog.text
    await until(lambda: server.listener)
    assert server.error is None
    transport, _ = await connect(address, Peer)
    transport.close()
    server.stop()


async def test_a_taken_place_fails_if_it_is_not_to_be_tried_again(owner: Owner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        server = owner.server(Address("tcp", "127.0.0.1", holder.getsockname()[1]), retry=None)
        with pytest.raises(OSError) as caught:
            await server.start()
    assert caught.value.errno == errno.EADDRINUSE
    assert await server.start()
    server.stop()


async def test_what_does_not_mend_itself_is_not_tried_again(owner: Owner, tmp_path: Path) -> None:
    server = owner.server(parse(f"unix://{tmp_path}/no/directory"))
    with pytest.raises(FileNotFoundError):
        await server.start()
    assert not server.stop()
    assert owner.tasks == set()


async def test_stopping_while_it_is_tried_again(owner: Owner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        server = owner.server(Address("tcp", "127.0.0.1", holder.getsockname()[1]))
        await server.start()
        assert (server.stop(), server.stop()) == (True, False)
        assert server.error is None  # nothing is wrong with what is not wanted
    await asyncio.sleep(0.05)
    assert server.listener is None


async def test_a_client_that_is_stopped_keeps_its_connection_and_makes_no_other(owner: Owner) -> None:
    server = owner.server(HERE)
    await server.start()
    client = owner.client(where(server))
    assert (await client.start(), await client.start()) == (True, False)
    await until(lambda: client.connection)
    assert (client.stop(), client.stop()) == (True, False)
    assert client.connection is owner.used[0]
    client.connection.close()
    await until(lambda: all(task.done() for task in owner.tasks))
    assert server.accepted == 1
    assert await client.start()
    await until(lambda: server.accepted == 2)
    server.stop()


async def test_a_client_connects_again_and_says_so_once(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    server = owner.server(HERE)
    await server.start()
    address = where(server)
    server.stop()
    client = owner.client(address)
    await client.start()
    await until(lambda: client.failures >= 2)
    assert "Connect call failed" in str(client.error)
    again = owner.server(address)
    await again.start()
    await until(lambda: client.connection)
    assert client.error is None
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    client.stop()
    again.stop()


async def test_a_client_that_is_not_persistent_connects_once(owner: Owner) -> None:
    server = owner.server(HERE)
    await server.start()
    client = owner.client(where(server), persist=False)
    await client.start()
    await until(lambda: client.connection)
    owner.used[0].close()
    await until(lambda: all(task.done() for task in owner.tasks))
    assert (server.accepted, client.connection) == (1, None)
    assert await client.start()
    await until(lambda: server.accepted == 2)
    server.stop()


@pytest.mark.parametrize("persist", [True, False])
async def test_a_mistake_of_whoever_uses_a_connection_harms_nobody_else(
    owner: Owner, persist: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = owner.server(HERE)
    await server.start()

    async def fail(connection: Peer) -> None:
        connection.close()
        raise KeyError("mistake")

    client = owner.client(where(server), persist)
    client._use = fail
    await client.start()
    await until(lambda: "mistake" in caplog.text)
    assert "KeyError" in str(caplog.records[-1].exc_info)
    client.stop()
    server.stop()


async def test_files_that_went_missing_are_an_ordinary_failure(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    async def dial() -> Peer:
        raise TlsError("key", "/gone", "No such file or directory")

    client = Client(HERE, dial, owner.serve, owner.spawn, LOGGER, name="peer")
    await client.start()
    await until(lambda: client.failures)
    await until(lambda: caplog.records)
    assert caplog.records[0].getMessage() == "peer: key = '/gone': No such file or directory; trying again"
    assert caplog.records[0].exc_info is None
    client.stop()


async def test_a_passive_client_has_one_peer_at_a_time_at_the_given_host(owner: Owner) -> None:
    client = owner.passive(parse("ptcp://127.0.0.1:0"))
    await client.start()
    await until(lambda: client.listener)
    address = where(client)
    with pytest.raises(ConnectionRefusedError):  # not at all addresses of the machine
        await connect(Address("tcp", "127.0.0.2", address.port), Peer)
    await connect(address, Peer)
    await until(lambda: client.connection)
    with pytest.raises(ConnectionRefusedError):
        await connect(address, Peer)
    owner.used[0].close()
    await until(lambda: client.listener)
    await connect(where(client), Peer)
    await until(lambda: len(owner.used) == 2)
    client.stop()


async def test_of_two_peers_that_come_together_one_is_refused(owner: Owner) -> None:
    client = owner.passive(parse("ptcp://127.0.0.1:0"))
    await client.start()
    await until(lambda: client.listener)
    where_it_waits = ("127.0.0.1", where(client).port)
    with (
        socket.create_connection(where_it_waits) as first,
        socket.create_connection(where_it_waits) as second,
    ):
        await until(lambda: client.connection)
        first.setblocking(False)
        second.setblocking(False)
        ended = [0]

        def one_has_ended() -> bool:
            for one in (first, second):
                try:
                    ended[0] += one.recv(1) == b""
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    ended[0] += 1
            return bool(ended[0])

        await until(one_has_ended)
        assert len(owner.used) == 1
    client.stop()


async def test_our_own_end_of_a_connection_is_bound(owner: Owner) -> None:
    server = owner.server(HERE)
    await server.start()
    bind = [(socket.AF_INET6, "::1", 0), (socket.AF_INET, "127.0.0.2", 0)]
    transport, _ = await connect(where(server), Peer, bind=bind)
    assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
    transport.close()
    with pytest.raises(OSError, match=r"(?i)bind|assign"):
        await connect(where(server), Peer, bind=[(socket.AF_INET, "192.0.2.1", 0)])
    server.stop()


async def test_a_peer_that_comes_while_a_passive_client_is_stopped_is_refused(owner: Owner) -> None:
    came: list[Peer] = []

    def factory(take: Callable[[Peer], None]) -> Peer:
        def made(peer: Peer) -> None:
            take(peer)
            came.append(peer)
            client.stop()

        return Peer(made)

    manner = Listening(retry=0.02)
    client = PassiveClient(HERE, factory, manner, owner.serve, owner.spawn, LOGGER, name="passive")
    await client.start()
    await until(lambda: client.listener)
    _, other = await connect(where(client), Peer)
    await asyncio.wait_for(other.closed.wait(), 5)
    assert (len(came), owner.used) == (1, [])
