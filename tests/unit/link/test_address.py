"""Addresses: what is accepted, what is refused, and that connecting and listening do what the URL says."""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.link.address import SCHEMES, Address, AddressError, connect, listen, parse


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="adr", dir="/tmp") as path:  # short: a Unix path has 107 bytes
        yield Path(path)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("tcp://localhost:8081", Address("tcp", "localhost", 8081)),
        ("tcp://localhost:8081/", Address("tcp", "localhost", 8081)),
        ("ptcp://:6640", Address("ptcp", "", 6640)),
        ("tcp:///", Address("tcp", "", 6653)),
        ("ssl://192.0.2.1", Address("ssl", "192.0.2.1", 6653)),
        ("tcp://[2001:db8::1]:6653/", Address("tcp", "2001:db8::1", 6653)),
        ("unix:///run/openvswitch/db.sock", Address("unix", path="/run/openvswitch/db.sock")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert parse(url, default_port=6653) == address
    assert parse(str(address)) == address


def test_a_tls_address_has_a_default_port_of_its_own() -> None:
    assert parse("ssl://h", 80, 443).port == 443
    assert parse("tcp://h", 80, 443).port == 80
    assert parse("ssl://h:8443", 80, 443).port == 8443


def test_schemes_say_what_they_mean() -> None:
    addresses = {s: parse(f"{s}:///run/x" if "unix" in s else f"{s}://h:1") for s in SCHEMES}
    assert {s for s, a in addresses.items() if a.passive} == {"ptcp", "pssl", "punix"}
    listening = {"ltcp", "ptcp", "lssl", "pssl", "lunix", "punix"}
    assert {s for s, a in addresses.items() if a.listens} == listening
    assert {s for s, a in addresses.items() if a.tls} == {"ssl", "lssl", "pssl"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:8081", "the scheme one of tcp, ltcp, ptcp, ssl"),
        ("http://localhost:80", "the scheme one of tcp"),
        ("tcp:127.0.0.1:6640", "must be scheme://"),
        ("tcp://h", "the port is missing, tcp://host:port"),
        ("tcp://h:70000", "0-65535"),
        ("tcp://h:x", "not an address"),
        ("tcp://h:1/path", "nothing may follow"),
        ("tcp://me@h:1", "no user"),
        ("tcp://h:1?x=1", "no user, query"),
        ("tcp://[::1", "not an address"),
        ("unix://", "unix:///absolute/path"),
        ("unix://run/db.sock", "unix:///absolute/path"),
        ("unix:///" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_a_refused_url_is_named_with_what_is_allowed(url: str, problem: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse(url)
    assert repr(url) in str(caught.value)
    assert problem in str(caught.value)


@given(st.text() | st.builds(lambda s, t: f"{s}://{t}", st.sampled_from(SCHEMES), st.text()))
def test_any_text_is_an_address_or_an_address_error(url: str) -> None:
    try:
        address = parse(url, 1)
    except AddressError:
        return
    assert parse(str(address)) == address


class Peer(asyncio.Protocol):
    """One end of a connection."""

    made: "asyncio.Queue[Peer]"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self.made.put_nowait(self)

    def data_received(self, data: bytes) -> None:
        if not self.received.done():
            self.received.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.fixture
def peers() -> type[Peer]:
    class Accepted(Peer):
        made: "asyncio.Queue[Peer]" = asyncio.Queue()

    return Accepted


async def both(peers: type[Peer]) -> list[Peer]:
    """The two ends of the one connection, once both are made."""
    return [await peers.made.get(), await peers.made.get()]


async def close(*peers: Peer) -> None:
    for peer in peers:
        peer.transport.abort()
        await peer.lost


async def test_tcp_without_delay_on_both_sides(peers: type[Peer]) -> None:
    listener = await listen(parse("tcp://127.0.0.1:0"), peers)
    assert listener.address.port > 0
    transport, client = await connect(listener.address, peers)
    transport.write(b"hello")
    server = next(p for p in await both(peers) if p is not client)
    assert await server.received == b"hello"
    for peer in (client, server):
        assert peer.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    listener.close()
    await listener.wait_closed()
    server.transport.write(b"still here")
    assert await client.received == b"still here"
    with pytest.raises(ConnectionRefusedError):
        await connect(listener.address, peers)
    await close(client, server)


async def test_without_host_all_addresses_are_listened_on_with_one_port(peers: type[Peer]) -> None:
    listener = await listen(parse("ptcp://:0"), peers)
    families = {one.family for one in listener.sockets}
    assert socket.AF_INET in families
    assert {one.getsockname()[1] for one in listener.sockets} == {listener.address.port}
    await connect(Address("tcp", "127.0.0.1", listener.address.port), peers)
    await close(*await both(peers))
    listener.close()


async def test_localhost_means_ipv4(peers: type[Peer]) -> None:
    listener = await listen(parse("tcp://localhost:0"), peers)
    assert [one.getsockname()[0] for one in listener.sockets] == ["127.0.0.1"]
    listener.close()


async def test_a_port_in_use_is_named(peers: type[Peer]) -> None:
    listener = await listen(parse("tcp://127.0.0.1:0"), peers)
    with pytest.raises(OSError, match=rf"cannot listen on tcp://127.0.0.1:{listener.address.port}: .*in use"):
        await listen(listener.address, peers)
    shared = await listen(parse("tcp://127.0.0.1:0"), peers, reuseport=True)
    again = await listen(shared.address, peers, reuseport=True)
    for one in (listener, shared, again):
        one.close()


async def test_no_answer_within_the_timeout(peers: type[Peer]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        where = Address("tcp", "127.0.0.1", full.getsockname()[1])
        with socket.create_connection(("127.0.0.1", where.port)):  # the backlog is full from now on
            with pytest.raises(TimeoutError, match=rf"no connection to {where} within 0.05 s"):
                await connect(where, peers, timeout=0.05)


async def test_connecting_needs_a_host(peers: type[Peer]) -> None:
    with pytest.raises(AddressError, match="the host is missing"):
        await connect(parse("tcp://:80"), peers)


async def test_unix_socket_file_lives_as_long_as_the_listener(directory: Path, peers: type[Peer]) -> None:
    address = parse(f"punix://{directory}/s")
    listener = await listen(address, peers, mode=0o600)
    assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o600
    await connect(parse(f"unix://{directory}/s"), peers)
    ends = await both(peers)
    with pytest.raises(OSError, match="in use"):
        await listen(address, peers)
    listener.close()
    listener.close()
    assert sorted(os.listdir(directory)) == []
    await close(*ends)


async def test_a_stale_socket_file_is_replaced(directory: Path, peers: type[Peer]) -> None:
    address = parse(f"unix://{directory}/s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
    listener = await listen(address, peers)
    await connect(address, peers)
    await close(*await both(peers))
    listener.close()


async def test_a_file_that_is_no_socket_stays(directory: Path, peers: type[Peer]) -> None:
    (directory / "s").write_text("precious")
    with pytest.raises(OSError, match=rf"cannot listen on unix://{directory}/s"):
        await listen(parse(f"unix://{directory}/s"), peers)
    assert (directory / "s").read_text() == "precious"


async def test_a_successors_socket_file_is_not_removed(directory: Path, peers: type[Peer]) -> None:
    address = parse(f"unix://{directory}/s")
    first = await listen(address, peers)
    os.unlink(address.path)
    second = await listen(address, peers)
    first.close()
    assert sorted(os.listdir(directory)) == ["s"]
    second.close()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "tcp://:0", "unix:///"])
async def test_whoever_is_cancelled_while_listening_begins_leaves_nothing(
    url: str, directory: Path, peers: type[Peer]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(12):
        begin = asyncio.create_task(listen(parse(f"{url}{directory}/s" if "unix" in url else url), peers))
        for _ in range(turns):
            await asyncio.sleep(0)
        begin.cancel()
        for outcome in await asyncio.gather(begin, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                outcome.close()
        assert len(os.listdir("/proc/self/fd")) <= before, f"after {turns} turns"
        assert os.listdir(directory) == []
