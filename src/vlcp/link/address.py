"""Where to connect to or to listen: URLs such as `tcp://host:6653`, `ssl://host`, `unix:///run/db.sock`.

The schemes and their listening forms (`ptcp`, `pssl`, `punix`) are those of Open vSwitch, ovs-vsctl(8), written
as URLs; `ltcp`, `lssl` and `lunix` are other names of the listening forms.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from vlcp.link.tls import TlsFiles, client_context

P = TypeVar("P", bound=asyncio.BaseProtocol)

_TCP = frozenset({"tcp", "ltcp", "ptcp"})
_TLS = frozenset({"ssl", "lssl", "pssl"})
_UNIX = frozenset({"unix", "lunix", "punix"})
_PASSIVE = frozenset({"ptcp", "pssl", "punix"})
_LISTENING = _PASSIVE | {"ltcp", "lssl", "lunix"}
SCHEMES = ("tcp", "ltcp", "ptcp", "ssl", "lssl", "pssl", "unix", "lunix", "punix")

# The path of a Unix socket address holds 108 bytes with its end mark, unix(7).
_LONGEST_UNIX_PATH = 107

# Seconds that a client has for its side of the TLS handshake.
_HANDSHAKE = 10.0


class AddressError(ValueError):
    """An address that cannot be used. The text names the URL and what is allowed."""


@dataclass(frozen=True, slots=True)
class Address:
    """One parsed URL.

    `host`: name or IP address without brackets, empty when the URL has none. `port`: 0 to 65535, 0 for Unix
    sockets. `path`: absolute path of a Unix socket, otherwise empty.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def listens(self) -> bool:
        """The scheme says "listen", whatever the program would do with an address otherwise."""
        return self.scheme in _LISTENING

    @property
    def passive(self) -> bool:
        """Whoever would dial waits for its one peer here instead."""
        return self.scheme in _PASSIVE

    @property
    def tls(self) -> bool:
        return self.scheme in _TLS

    @property
    def unix(self) -> bool:
        return self.scheme in _UNIX

    def __str__(self) -> str:
        if self.unix:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(url: str, default_port: int | None = None, tls_default_port: int | None = None) -> Address:
    """The address that a URL names; `AddressError` when it names none.

    A URL without port gets `default_port`; with TLS it gets `tls_default_port` if there is one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{url!r} is not an address: {error}") from None
    if parts.scheme not in SCHEMES or "://" not in url:
        allowed = ", ".join(SCHEMES)
        raise AddressError(
            f"{url!r} is not an address: it must be scheme://..., and the scheme one of {allowed}"
        )
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise AddressError(f"{url!r} is not an address: no user, query (?) or fragment (#) is allowed")
    if parts.scheme in _UNIX:
        return _parse_unix(url, parts)
    if parts.scheme in _TLS and tls_default_port is not None:
        default_port = tls_default_port
    return _parse_tcp(url, parts, default_port if port is None else port)


def _parse_unix(url: str, parts: SplitResult) -> Address:
    if parts.netloc or not parts.path.strip("/"):
        raise AddressError(f"{url!r} is not an address: a Unix socket is {parts.scheme}:///absolute/path")
    if len(os.fsencode(parts.path)) > _LONGEST_UNIX_PATH:
        raise AddressError(f"{url!r} is not an address: the path may have at most {_LONGEST_UNIX_PATH} bytes")
    return Address(parts.scheme, path=parts.path)


def _parse_tcp(url: str, parts: SplitResult, port: int | None) -> Address:
    if parts.path not in ("", "/"):
        raise AddressError(f"{url!r} is not an address: nothing may follow {parts.scheme}://host:port/")
    if port is None:
        raise AddressError(f"{url!r} is not an address: the port is missing, {parts.scheme}://host:port")
    return Address(parts.scheme, host=parts.hostname or "", port=port)


def peer_name(transport: asyncio.BaseTransport) -> str:
    """The remote address of a connection, such as 192.0.2.1:6653; a peer that came by a Unix socket has none and shows
    as `unix:` with the path of that socket."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return _end_name(name)
    return f"unix:{name or transport.get_extra_info('sockname') or ''}"


def endpoint_of(transport: asyncio.BaseTransport) -> str:
    """The IP address of the peer, or the path of the Unix socket between us."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return str(name[0])
    return str(name or transport.get_extra_info("sockname") or "")


def own_name(transport: asyncio.BaseTransport) -> str:
    """Our own address of a connection."""
    name = transport.get_extra_info("sockname")
    return (
        _end_name(name) if isinstance(name, tuple) else f"unix:{name or transport.get_extra_info('peername')}"
    )


def _end_name(name: tuple[str, int]) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{host}:{name[1]}"


# Connecting


async def connect(
    address: Address,
    protocol_factory: Callable[[], P],
    tls: ssl.SSLContext | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - one limit over resolving, connecting and the TLS handshake
    bind: Sequence[tuple[socket.AddressFamily, str, int]] = (),
) -> tuple[asyncio.Transport, P]:
    """Connect within `timeout` seconds; like `loop.create_connection`, with TCP_NODELAY set.

    A TLS address without `tls` is verified by the authorities of the system. `bind`: our own end of a TCP connection
    (family, IP address, port or 0), tried in this order. Raises `AddressError` for an address that cannot be connected
    to, otherwise `OSError` (as `TimeoutError` and `ssl.SSLError` are).
    """
    if not address.unix and not address.host:
        raise AddressError(
            f"{address} cannot be connected to: the host is missing, {address.scheme}://host:port"
        )
    if not address.tls:
        tls = None
    elif tls is None:
        tls = client_context(TlsFiles())
    try:
        async with asyncio.timeout(timeout):
            if address.unix:
                loop = asyncio.get_running_loop()
                return await loop.create_unix_connection(protocol_factory, address.path)
            return await _connect_tcp(address, protocol_factory, tls, bind)
    except TimeoutError:
        raise TimeoutError(f"no connection to {address} within {timeout:g} s") from None


async def _connect_tcp(
    address: Address,
    protocol_factory: Callable[[], P],
    tls: ssl.SSLContext | None,
    bind: Sequence[tuple[socket.AddressFamily, str, int]],
) -> tuple[asyncio.Transport, P]:
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    for family, host, port in bind:
        try:
            return await loop.create_connection(
                protocol_factory, address.host, address.port, ssl=tls, family=family, local_addr=(host, port)
            )
        except OSError as error:
            last = error
    if last is not None:
        raise last
    return await loop.create_connection(protocol_factory, address.host, address.port, ssl=tls)


# Listening


class Listener:
    """Listening sockets. Closing them leaves accepted connections alone."""

    def __init__(
        self, address: Address, servers: Sequence[asyncio.Server], socket_file: os.stat_result | None
    ) -> None:
        self.address = address
        self._servers = servers
        self._socket_file = socket_file
        self._closed = asyncio.Event()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(one for server in self._servers for one in server.sockets)

    async def accept(self) -> None:
        """Begin to accept connections, if `listen` was told not to."""
        for server in self._servers:
            if not self._closed.is_set():
                await server.start_serving()

    def close(self) -> None:
        """Stop listening now; a Unix socket's file is removed if it is still ours."""
        if self._closed.is_set():
            return
        for server in self._servers:
            server.close()
        if self._socket_file is not None:
            _unlink_own(self.address.path, self._socket_file)
        self._closed.set()

    async def wait_closed(self) -> None:
        await self._closed.wait()


async def listen(
    address: Address,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None = None,
    backlog: int = 1024,
    reuseport: bool = False,
    *,
    mode: int | None = None,
    accept: bool = True,
) -> Listener:
    """Listen; the listener's address holds the port that port 0 was replaced by.

    Without host: on all addresses. A name with IPv4 and IPv6 addresses listens on the first IPv4 one.
    `mode`: permissions of a Unix socket's file, such as 0o600. A file that a killed process left behind is
    replaced. Without `accept` clients may connect, but wait until `Listener.accept`.
    Raises `OSError`, and `AddressError` when a TLS address comes without context.
    """
    if address.tls and tls is None:
        raise AddressError(f"{address} cannot listen: TLS needs `certificate` (and `key`), PEM files")
    if address.unix:
        return await _listen_unix(address, protocol_factory, backlog, mode, accept)
    sockets = await _listen_tcp(address, backlog, reuseport)
    context = tls if address.tls else None
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(
            protocol_factory,
            sock=s,
            backlog=backlog,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE if context else None,
            start_serving=False,
        )
        for s in sockets
    ]
    listener = Listener(replace(address, port=sockets[0].getsockname()[1]), servers, None)
    return await _begin(listener, accept)


async def _begin(listener: Listener, accept: bool) -> Listener:
    try:
        if accept:
            await listener.accept()
    except BaseException:
        listener.close()  # whoever is cancelled here could not close it
        raise
    return listener


async def _listen_tcp(address: Address, backlog: int, reuseport: bool) -> list[socket.socket]:
    if address.host:
        family, host = await _resolve(address)
        return [_listen_at(address, family, host, address.port, backlog, reuseport)]
    # Two sockets, not one for both families: peers then show as 192.0.2.1, not as ::ffff:192.0.2.1.
    first = _listen_at(address, socket.AF_INET, "0.0.0.0", address.port, backlog, reuseport)
    try:
        port = first.getsockname()[1]
        return [first, _listen_at(address, socket.AF_INET6, "::", port, backlog, reuseport)]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return [first]
        first.close()
        raise


async def _resolve(address: Address) -> tuple[socket.AddressFamily, str]:
    """The family and IP address of the address's host, IPv4 preferred."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return found[0][0], str(found[0][4][0])


def _listen_at(
    address: Address, family: socket.AddressFamily, host: str, port: int, backlog: int, reuseport: bool
) -> socket.socket:
    # Named IPPROTO_TCP, because asyncio sets TCP_NODELAY only on accepted sockets whose protocol says so.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuseport:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    return listening


async def _listen_unix(
    address: Address,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    backlog: int,
    mode: int | None,
    accept: bool,
) -> Listener:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind_unix(listening, address.path)
        if mode is not None:
            os.chmod(address.path, mode)  # before listen(): nobody can have connected
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    socket_file = os.stat(address.path)
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(
        protocol_factory, sock=listening, backlog=backlog, start_serving=False
    )
    return await _begin(Listener(address, [server], socket_file), accept)


def _bind_unix(listening: socket.socket, path: str) -> None:
    try:
        listening.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(path):
            raise
        os.unlink(path)
        listening.bind(path)


def _is_stale(path: str) -> bool:
    """Whether the path is a socket that nobody listens on: left behind by a process that was killed."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    # A datagram probe: a live stream socket refuses it as of the wrong type and does not see it as a connection.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _unlink_own(path: str, socket_file: os.stat_result) -> None:
    try:
        if os.path.samestat(os.stat(path), socket_file):
            os.unlink(path)
    except FileNotFoundError:
        pass  # somebody cleaned up before us
