"""HTTP listeners for the modules that answer requests."""

from __future__ import annotations

import asyncio
import importlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlcp.link.address import own_name, peer_name
from vlcp.link.endpoint import Acceptor, Endpoint, Listening
from vlcp.server.config import ConfigError, Limit
from vlcp.server.server import Server
from vlcp.service.connection.connectionserver import ConnectionServer
from vlcp.service.connection.places import Level, Place, ServerSettings
from vlcp.service.connection.protocols import Http, Protocol, overridden
from vlcp.web.host import VirtualHost
from vlcp.web.limits import Limits

if TYPE_CHECKING:
    from vlcp.web.connection import Connection

_SHUTDOWN = 2.0
"""Seconds that requests under way get to finish when the module is unloaded."""
_LAST_ANSWER = 60.0
"""Seconds that a request has which unloads or reloads this very module."""
_LIBRARY = "vlcp.web.connection"
"""What answers, on aiohttp."""
_PATIENCE = 1.0
"""Seconds that its import waits, at most, for the event loop to have nothing else to do."""


class HttpServer(ConnectionServer):
    """Serves HTTP at the configured URLs. Other modules add their routes to `host(name)`."""

    class Settings(ServerSettings, frozen=True, kw_only=True):
        """The keys of `module.httpserver.*`."""

        bodylimit: Limit = 16 * 1024 * 1024
        """Bytes that the body of a request may have."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        self._hosts: dict[str, VirtualHost] = {}
        super().__init__(server)

    def protocol_of(self, settings: Any) -> type[Protocol]:
        """`protocol.http`."""
        return Http

    def extra(self, level: Level[Any]) -> Limits:
        """The keys of `protocol.http` that are about requests. Raises `ConfigError`."""
        if level.settings.client:
            key, origin = level.key_of("client")
            raise ConfigError(f"{origin}: {key} = True: HTTP servers only listen")
        return overridden(level.config, Limits, level.nodes, ("http",))

    def host(self, name: str) -> VirtualHost:
        """The virtual host of this name; one without URLs is never reached."""
        if name not in self._hosts:
            level = next((level for level in self._levels if level.vhost == name), self._levels[0])
            self._hosts[name] = VirtualHost(name, level.settings.bodylimit, self.extra(level))
        return self._hosts[name]

    def ports(self, vhost: str) -> list[Endpoint]:
        """Where this virtual host is served."""
        return [endpoint for place, endpoint in self._opened if place.vhost == vhost]

    def endpoint(self, place: Place[Any]) -> Endpoint:
        """What keeps a place open."""
        host = self.host(place.vhost)
        host.limits, host.bodylimit = place.extra, place.settings.bodylimit
        host.names.add(place.address.host)

        def protocol() -> asyncio.Protocol:
            return host.protocol(acceptor)

        acceptor = Acceptor(place.address, protocol, self.manner(place), self.spawn, self.logger)
        return acceptor

    def moved(self) -> None:
        """Only names in the present URLs are ours."""
        for vhost, host in self._hosts.items():
            host.names = {endpoint.address.host for endpoint in self.ports(vhost)}

    def manner(self, place: Place[Any]) -> Listening:
        """How to listen: clients may connect at once, and are answered when the library is imported.

        The import would hold up the flows of a process that starts: even in a thread it takes turns with what settles
        them.
        """
        return replace(super().manner(place), prepare=_library, make_directory=True)

    async def unload(self) -> None:
        """Stop listening, let the requests under way finish, close the connections."""
        await super().unload()
        for asker in await asyncio.gather(*(host.shutdown(_SHUTDOWN) for host in self._hosts.values())):
            if asker is not None:
                self.server.finish(asker.shutdown(_LAST_ANSWER), name="answer to who unloads httpserver")

    def connections(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The open connections of an endpoint."""
        return [_status(connection) for connection in self._accepted(endpoint)]

    def close(self, endpoint: Endpoint) -> None:
        """Close the connections of an endpoint: idle ones now, busy ones after their answer."""
        for connection in self._accepted(endpoint):
            self.spawn(connection.shutdown(_SHUTDOWN), name="close a connection")

    def _accepted(self, endpoint: Endpoint) -> list[Connection]:
        return [c for host in self._hosts.values() for c in host.connections() if c.endpoint is endpoint]

    def statistics(self) -> dict[str, Any]:
        """Figures of every virtual host."""
        hosts = {host.name: host.statistics() for host in self._hosts.values()}
        return {**super().statistics(), "hosts": hosts}


def _status(connection: Connection) -> dict[str, Any]:
    transport, requests = connection.transport, connection.requests
    if transport is None:
        return {"local": None, "peer": None, "requests": requests}
    return {"local": own_name(transport), "peer": peer_name(transport), "requests": requests}


async def _library() -> None:
    if _LIBRARY not in sys.modules:
        await _quiet(_PATIENCE)
        await asyncio.to_thread(importlib.import_module, _LIBRARY)


async def _quiet(limit: float) -> None:
    """Wait until five short sleeps in a row have ended in time, but at most `limit` seconds."""
    loop = asyncio.get_running_loop()
    end, in_time = loop.time() + limit, 0
    while in_time < 5 and (now := loop.time()) < end:
        await asyncio.sleep(0.005)
        in_time = in_time + 1 if loop.time() - now < 0.007 else 0
