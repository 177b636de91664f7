"""What the modules have in common that keep connections to switches and databases: peers dial in, or we dial them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from vlcp.link.address import Address, AddressError, Listener, parse
from vlcp.link.reconnect import keep_connected
from vlcp.server.config import ConfigError
from vlcp.server.module import Module, ModuleError
from vlcp.server.server import Server


class Connection(Protocol):
    """One established connection."""

    @property
    def peer(self) -> str: ...

    def close(self) -> None: ...

    def statistics(self) -> Mapping[str, Any]: ...


C = TypeVar("C", bound=Connection)


class ConnectionServer(Module, Generic[C]):
    """Keeps connections and gives each to the handler, which uses it until it ends."""

    service: ClassVar[bool] = True
    ignored = frozenset({"bindaddress", "connmanage", "protocol", "key", "certificate", "ca_certs", "vhost"})
    protocol: ClassVar[str]
    """Name of the protocol, for logs."""
    default_port: ClassVar[int]
    """Port of a URL without one."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of the module."""

        url: str | None = "tcp:///"
        """Where the peers dial in; with `client`, the peer to dial. None for neither."""
        client: bool = False
        """Dial instead of listening."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._key = f"module.{self.name}.url"
        try:
            self._address = parse(self.settings.url, self.default_port) if self.settings.url else None
        except AddressError as error:
            raise ConfigError(f"{server.config.origin(self._key)}: {self._key}: {error}") from None
        self._handler: Callable[[C], Awaitable[None]] | None = None
        self._listener: Listener | None = None
        self._connections: set[C] = set()

    async def dial(self, address: Address) -> C:
        """Connect to a peer."""
        raise NotImplementedError

    async def listen(self, address: Address, accept: Callable[[C], None]) -> Listener:
        """Accept peers."""
        raise NotImplementedError

    def handle(self, handler: Callable[[C], Awaitable[None]] | None) -> None:
        """Give every connection that comes from now on to this handler; None: close them."""
        self._handler = handler

    async def load(self) -> None:
        """Listen, or begin to dial."""
        address = self._address
        if address is None:
            return
        if self.settings.client:
            self.spawn(self._keep(address), name=f"{self.protocol} {address}")
            return
        try:
            self._listener = await self.listen(address, self._accept)
        except OSError as error:
            where = self.server.config.origin(self._key)
            raise ModuleError(f"{where}: {self._key} = '{address}': {error.strerror or error}") from None
        self.logger.info("waiting for %s peers at %s", self.protocol, self._listener.address)

    def reach(self, address: Address) -> None:
        """Dial a peer once, besides the configured one; if it cannot be reached, nothing happens."""
        self.spawn(self._reach(address), name=f"{self.protocol} {address}")

    async def unload(self) -> None:
        """Stop listening and close the connections; the peers go on as they are."""
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close()

    async def _keep(self, address: Address) -> None:
        name = f"{self.protocol} {address}"
        await keep_connected(lambda: self.dial(address), self._serve, name=name, logger=self.logger)

    async def _reach(self, address: Address) -> None:
        try:
            connection = await self.dial(address)
        except OSError as error:
            self.logger.debug("%s cannot be reached: %s", address, error)
            return
        await self._serve(connection)

    def _accept(self, connection: C) -> None:
        self.spawn(self._serve(connection), name=f"{self.protocol} {connection.peer}")

    async def _serve(self, connection: C) -> None:
        self._connections.add(connection)
        try:
            if self._handler is not None:
                await self._handler(connection)
        except ConnectionError as error:
            self.logger.info("%s: %s", connection.peer, error)
        finally:
            self._connections.discard(connection)
            connection.close()

    def statistics(self) -> dict[str, Any]:
        """Figures of every connection."""
        connections = {connection.peer: dict(connection.statistics()) for connection in self._connections}
        return {**super().statistics(), "connections": connections}
