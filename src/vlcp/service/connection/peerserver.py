"""What the modules have in common that keep connections to switches and databases: peers dial in, or we dial them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from vlcp.link.address import Address, connect
from vlcp.link.endpoint import Acceptor, Client, Endpoint, PassiveClient
from vlcp.link.sessions import Connection, Sessions
from vlcp.link.tls import client_context
from vlcp.server.module import Module
from vlcp.server.server import Server
from vlcp.service.connection.connectionserver import ConnectionServer
from vlcp.service.connection.places import Place

C = TypeVar("C", bound=Connection)
K = TypeVar("K")


class BoundSettings(Module.Settings, frozen=True, kw_only=True):
    """The keys of a module that uses connections."""

    vhostbind: str | tuple[str, ...] | None = None
    """The virtual hosts whose connections are used: a name, or several; None for all."""

    def vhosts(self) -> tuple[str, ...] | None:
        """As a tuple of names."""
        return (self.vhostbind,) if isinstance(self.vhostbind, str) else self.vhostbind


class PeerServer(ConnectionServer, Generic[C]):
    """Keeps connections and gives each to the handlers that want it."""

    kind: ClassVar[str]
    """What the peers speak, for logs."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.sessions: Sessions[C] = Sessions(self.spawn, self.logger)
        self._reached = set[Address]()

    @abstractmethod
    def make(self, place: Place[Any], peer: str, on_connection: Callable[[C], None] | None) -> Any:
        """The protocol of one connection. `peer` is its name if we dial; `on_connection` is told when it is made."""

    def handle(
        self, kind: type[K], handler: Callable[[K], Awaitable[None]], vhosts: Collection[str] | None = None
    ) -> None:
        """Give a handler every connection of a class, of these virtual hosts (None: of all), until it is released.

        It uses the connection until that ends. What it raises ends the connection, unless others use it as well.
        """
        self.sessions.handle(kind, handler, vhosts)

    def release(self, handler: Callable[[Any], Awaitable[None]]) -> None:
        """Cancel the handler on every connection; they stay open for the next one."""
        self.sessions.release(handler)

    def endpoint(self, place: Place[Any]) -> Endpoint:
        """What keeps a place open: the URL and `client` say how."""
        address, name = place.address, f"{self.kind} {place.address}"
        if not place.settings.client or (address.listens and not address.passive):
            return self._acceptor(place)
        client: Client[C]
        if address.passive:
            client = PassiveClient(
                address,
                lambda take: self.make(place, "", take),
                self.manner(place),
                lambda connection: self.sessions.serve(connection, place.vhost, client),
                self.spawn,
                self.logger,
                name=name,
                persist=place.protocol.persist,
            )
        else:
            client = Client(
                address,
                partial(self.dial, place),
                lambda connection: self.sessions.serve(connection, place.vhost, client),
                self.spawn,
                self.logger,
                name=name,
                persist=place.protocol.persist,
            )
        return client

    def _acceptor(self, place: Place[Any]) -> Endpoint:
        def accept(connection: C) -> None:
            self.sessions.accept(connection, place.vhost, acceptor)

        acceptor = Acceptor(
            place.address,
            lambda: self.make(place, "", accept),
            self.manner(place),
            self.spawn,
            self.logger,
        )
        return acceptor

    async def dial(self, place: Place[Any]) -> C:
        """Connect to the peer of a place and wait until it is ready. Raises `OSError`."""
        tls = client_context(place.files) if place.address.tls else None
        connection: C
        _, connection = await connect(
            place.address,
            lambda: self.make(place, str(place.address), None),
            tls,
            place.protocol.connect_timeout,
            place.bind,
        )
        try:
            await connection.ready()
        except BaseException:
            connection.close()
            raise
        return connection

    def reach(self, address: Address, vhost: str = "") -> None:
        """Dial a peer once, besides the configured ones; if it cannot be reached, nothing happens.

        Nor does it while a connection that was dialled so is open, or is on its way.
        """
        if address in self._reached:
            return
        self._reached.add(address)
        level = next(level for level in self._levels if level.vhost == vhost)
        place = Place(vhost, address, level.settings, level.protocol, (), None, level.nodes[0], level)
        self.spawn(self._reach(place), name=f"{self.kind} {address}")

    async def _reach(self, place: Place[Any]) -> None:
        try:
            connection = await self.dial(place)
        except OSError as error:
            self.logger.debug("%s cannot be reached: %s", place.address, error)
        else:
            await self.sessions.attend(connection, place.vhost, None)
        finally:
            self._reached.discard(place.address)

    async def unload(self) -> None:
        """Open nothing more, and close the connections; the peers go on as they are."""
        await super().unload()
        self.sessions.close()

    def connections(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The open connections of an endpoint."""
        return [session.status() for session in self.sessions.all() if session.endpoint is endpoint]

    def close(self, endpoint: Endpoint) -> None:
        """Close the connections of an endpoint."""
        self.sessions.close(endpoint)

    def statistics(self) -> dict[str, Any]:
        """Figures of every connection, those that no endpoint made included."""
        return {**super().statistics(), "connections": [session.status() for session in self.sessions.all()]}
