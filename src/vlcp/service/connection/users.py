"""What the modules have in common that use the connections of a server module, and are asked for them."""

# ruff: noqa: ASYNC109 - the name of the parameter is a promise to callers

from __future__ import annotations

import asyncio
import re
import socket
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec

from vlcp.link.identity import Identified
from vlcp.link.registry import Registry
from vlcp.server.api import BadParameterError, CallTimeoutError, NotFoundError
from vlcp.server.module import Module, api
from vlcp.server.server import Server
from vlcp.server.waiting import Timeout, Waiting
from vlcp.service.connection.peerserver import BoundSettings, PeerServer

C = TypeVar("C", bound=Identified)
T = TypeVar("T")
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
"""A parameter: the number of an OpenFlow port. OVSDB has 16 bits of it."""


class ConnectionUser(Module, Generic[C]):
    """The connections in use, and the calls about them. `connection` in a call is what a call answered: the live
    object in the process, its `id` or the whole object over HTTP."""

    source: ClassVar[type[PeerServer[Any]]]
    """The module that keeps the connections."""

    class Settings(BoundSettings, frozen=True, kw_only=True):
        """Those of `BoundSettings`."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.connections: Registry[C] = Registry()
        self.changes = Waiting()
        """Told of everything that the calls of this module, and of the module for its ports, can wait for."""

    async def unload(self) -> None:
        """Nobody waits any more."""
        self.changes.close(f"module {self.name!r} is being unloaded")

    @abstractmethod
    def datapaths(self, vhost: str | None) -> list[tuple[str, int]]:
        """Pairs of a virtual host and the id of a datapath that is connected."""

    def check_vhost(self, vhost: str | None) -> None:
        """Raise `NotFoundError` unless this is a virtual host whose connections are used, or None for all."""
        there, bound = self.dependency(self.source).vhosts(), self.settings.vhosts()
        used = there if bound is None else there.intersection(bound)
        if vhost is not None and vhost not in used:
            names = ", ".join(map(repr, sorted(used))) or "none"
            raise NotFoundError(f"vhost: {self.name} uses no virtual host {vhost!r}; it uses {names}")

    def given(self, connection: Any) -> C:
        """The open connection that a parameter means. Raises `BadParameterError` and `NotFoundError`."""
        id = connection.get("id") if isinstance(connection, Mapping) else connection
        if isinstance(id, Identified):
            id = id.id
        if not isinstance(id, str):
            expected = "the `id` of a connection as getallconnections tells it, or the connection itself"
            raise BadParameterError(f"connection: expected {expected}, got {connection!r:.100}")
        if (found := self.connections.get(id)) is None:
            raise NotFoundError(f"connection: there is no open connection {id!r}; see getallconnections")
        return found

    async def wait(self, find: Callable[[], T | None], seconds: float, vhost: str | None, missing: str) -> T:
        """What `find` finds, as soon as it is not None. Raises `CallTimeoutError`, and what `find` raises."""
        self.check_vhost(vhost)
        where = f" (virtual host {vhost!r})" if vhost else ""
        return await self.changes.until(find, seconds, f"{missing}{where}")

    @api
    def getdatapathids(self, vhost: str = "") -> list[int]:
        """Return the ids of the datapaths that are connected.

        :param vhost: the virtual host of their connections
        """
        self.check_vhost(vhost)
        return [datapath_id for _, datapath_id in self.datapaths(vhost)]

    @api
    def getalldatapathids(self) -> list[tuple[str, int]]:
        """Return pairs of a virtual host and the id of a datapath that is connected there."""
        return self.datapaths(None)

    @api
    def getallconnections(self, vhost: str | None = "") -> Sequence[Identified]:
        """Return the connections in use, the oldest first.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        self.check_vhost(vhost)
        return self.connections.all(vhost)

    @api
    def getconnectionsbyendpoint(self, endpoint: str, vhost: str = "") -> Sequence[Identified]:
        """Return the connections with a peer.

        :param endpoint: its IP address without port, or the path of the Unix socket; '' for all Unix sockets
        """
        self.check_vhost(vhost)
        try:
            return self.connections.at(endpoint, vhost)
        except ValueError:
            allowed = "an IP address without port, or the absolute path of a Unix socket"
            raise BadParameterError(f"endpoint: expected {allowed}, got {endpoint!r}") from None

    @api
    async def getconnectionsbyendpointname(
        self, name: str, vhost: str = "", timeout: Timeout = 30
    ) -> Sequence[Identified]:
        """Return the connections with a peer.

        :param name: its domain name, or what getconnectionsbyendpoint takes
        :param timeout: seconds for finding the addresses of the name
        """
        self.check_vhost(vhost)
        if name[:1] in ("", "/"):
            return self.connections.at(name, vhost)
        found = [self.connections.at(address, vhost) for address in await _addresses(name, timeout)]
        return [connection for each in found for connection in each]

    @api
    def getendpoints(self, vhost: str = "") -> list[str]:
        """Return where the peers are: IP addresses without ports, and paths of Unix sockets."""
        self.check_vhost(vhost)
        return [endpoint for _, endpoint in self.connections.endpoints(vhost)]

    @api
    def getallendpoints(self) -> list[tuple[str, str]]:
        """Return pairs of a virtual host and what getendpoints tells of it."""
        return self.connections.endpoints()


async def _addresses(name: str, seconds: float) -> list[str]:
    """The IP addresses of a name."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise CallTimeoutError(
            f"name: the addresses of {name!r} were not found within {seconds:g} s"
        ) from None
    except (OSError, UnicodeError) as error:
        raise NotFoundError(f"name: {name!r} has no address: {error}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def datapath_number(given: int | str) -> int:
    """The parameter `datapathid`: a number, its decimal digits, 0x and hexadecimal digits, or the sixteen hexadecimal
    digits that Open vSwitch shows. Raises `BadParameterError`."""
    try:
        if isinstance(given, str):
            given = int(given, 16 if re.fullmatch("[0-9a-fA-F]{16}", given) else 0)
        if not 0 <= given < 1 << 64:
            raise ValueError
    except ValueError:
        allowed = "a number of 64 bits, or sixteen hexadecimal digits"
        raise BadParameterError(f"datapathid: expected {allowed}, got {given!r:.100}") from None
    return given
