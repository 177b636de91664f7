"""What the modules have in common that listen or dial at configured URLs, in virtual hosts."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

from vlcp.link.endpoint import Acceptor, Client, Endpoint, Listening
from vlcp.link.tls import server_context
from vlcp.server.api import ConflictError, NotFoundError
from vlcp.server.config import Config, ConfigError
from vlcp.server.module import Module, ModuleError, api
from vlcp.server.server import Server
from vlcp.service.connection.places import Level, Place, ServerSettings, levels
from vlcp.service.connection.protocols import Protocol


class Opened(NamedTuple):
    """A place and what keeps it open."""

    place: Place[Any]
    endpoint: Endpoint


class ConnectionServer(Module):
    """Keeps the places of all virtual hosts open, and follows the configuration."""

    service: ClassVar[bool] = True
    Settings = ServerSettings
    settings: ServerSettings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._changing = asyncio.Lock()
        self._levels = self._read(server.config)
        self._opened = [Opened(place, self.endpoint(place)) for place in self._places(self._levels)]

    # What the single modules say

    @abstractmethod
    def protocol_of(self, settings: Any) -> type[Protocol]:
        """The protocol that is spoken at a level with these settings."""

    @abstractmethod
    def endpoint(self, place: Place[Any]) -> Endpoint:
        """What keeps a place open."""

    @abstractmethod
    def connections(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The open connections of an endpoint: `local`, `peer` and their figures."""

    @abstractmethod
    def close(self, endpoint: Endpoint) -> None:
        """Close the connections of an endpoint."""

    def extra(self, level: Level[Any]) -> Any:
        """Further settings whose change makes it necessary to open the places of a level anew."""
        return None

    def moved(self) -> None:
        """Called when the places are others than before."""

    def manner(self, place: Place[Any]) -> Listening:
        """How to listen at a place."""
        p = place.protocol
        return Listening(
            tls=(lambda: server_context(place.files)) if place.address.tls else None,
            backlog=p.backlogsize,
            reuseport=p.reuseport,
            retry=p.retrylisten_interval if p.listen_persist else None,
            mode=place.settings.mode,
        )

    # Opening and closing

    def _read(self, config: Config) -> list[Level[Any]]:
        return list(levels(config, self.name, type(self).Settings, self.protocol_of))

    def _places(self, levels: Iterable[Level[Any]]) -> list[Place[Any]]:
        """The places, checked. Raises `ConfigError`."""
        places = [place for level in levels for place in level.places(self.extra(level))]
        for place in places:
            place.check()
        return places

    async def load(self) -> None:
        """Open every place. One that another process has is tried again; another failure makes the module fail."""
        for opened in self._opened:
            await self._start(opened)

    async def _start(self, opened: Opened) -> bool:
        try:
            return await opened.endpoint.start()
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ModuleError(f"{opened.place.name}: {text}") from None

    async def unload(self) -> None:
        """Listen and dial no more."""
        for _, endpoint in self._opened:
            endpoint.stop()

    @property
    def working(self) -> bool:
        """It listens, dials or is connected."""
        ends = [endpoint for _, endpoint in self._opened]
        return super().working or any(end.listener is not None or self.connections(end) for end in ends)

    def problem(self) -> str | None:
        """What cannot be opened at present."""
        wrong = [f"{place.key} = '{place.address}': {e.error}" for place, e in self._opened if e.error]
        return "; ".join(wrong) or None

    # What users call

    def vhosts(self) -> set[str]:
        """The names of the virtual hosts; '' is the module itself."""
        return {level.vhost for level in self._levels}

    def chosen(self, vhost: str | None) -> Iterator[Opened]:
        """The places of a virtual host, of all with None. Raises `NotFoundError`."""
        known = self.vhosts()
        if vhost is not None and vhost not in known:
            there = ", ".join(map(repr, sorted(known)))
            raise NotFoundError(f"vhost: {self.name} has no virtual host {vhost!r}; it has {there}")
        return (opened for opened in self._opened if vhost in (None, opened.place.vhost))

    @api
    def getservers(self, vhost: str | None = None) -> list[dict[str, Any]]:
        """Return what is listened at or dialled.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return [self._status(opened) for opened in self.chosen(vhost)]

    @api
    def stoplisten(self, vhost: str | None = None) -> int:
        """Stop listening and dialling; open connections stay. Returns the number of those that did before.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return sum(opened.endpoint.stop() for opened in self.chosen(vhost))

    @api
    async def startlisten(self, vhost: str | None = None) -> int:
        """Listen and dial again. Returns the number of those that did not before.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        async with self._changing:
            try:
                return sum([await self._start(opened) for opened in self.chosen(vhost)])
            except ModuleError as error:
                raise ConflictError(str(error)) from None

    @api
    async def updateconfig(self) -> dict[str, list[str]]:
        """Read the configuration again: close what it does not name any more, open what is new, leave the rest.

        Returns the URLs that were removed and added, and those that are unchanged.
        """
        async with self._changing:
            config = self.server.config
            try:
                new = config.again() if config.path is not None else config
                levels = self._read(new)
                places = self._places(levels)
            except ConfigError as error:
                raise ConflictError(f"nothing is changed: {error}") from None
            if new is not config:
                config.take(new)
            self._levels = levels
            return await self._follow(places)

    @api
    def getconnections(self, vhost: str | None = None) -> list[dict[str, Any]]:
        """Return the open connections.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return [
            {"vhost": place.vhost, "url": _url(endpoint), **connection}
            for place, endpoint in self.chosen(vhost)
            for connection in self.connections(endpoint)
        ]

    async def _follow(self, places: list[Place[Any]]) -> dict[str, list[str]]:
        before = self._opened
        gone = [opened for opened in before if opened.place not in places]
        for _, endpoint in gone:
            endpoint.stop()
            self.close(endpoint)
        kept = {id(place): old for place in places for old in before if old.place == place}
        self._opened = [kept.get(id(place)) or Opened(place, self.endpoint(place)) for place in places]
        self.moved()
        added = [opened for opened in self._opened if opened not in before]
        await asyncio.sleep(0)  # sockets are closed in the next turn of some event loops
        failures = [str(e) for e in await asyncio.gather(*map(self._started, added)) if e is not None]
        if failures:
            raise ConflictError(f"the rest is changed, but not: {'; '.join(failures)}")
        return {
            "removed": [str(place.address) for place, _ in gone],
            "added": [str(place.address) for place, _ in added],
            "unchanged": [
                str(place.address) for place, _ in self._opened if place not in (o.place for o in added)
            ],
        }

    async def _started(self, opened: Opened) -> ModuleError | None:
        try:
            await self._start(opened)
        except ModuleError as error:
            opened.endpoint.error = str(error)
            return error
        return None

    def _status(self, opened: Opened) -> dict[str, Any]:
        place, endpoint = opened
        client = endpoint if isinstance(endpoint, Client) else None
        connections = self.connections(endpoint)
        return {
            "vhost": place.vhost,
            "url": _url(endpoint),
            "client": client is not None,
            "listening": endpoint.listener is not None,
            "connected": client is not None and client.connection is not None,
            "local": connections[0]["local"] if client and connections else None,
            "peer": connections[0]["peer"] if client and connections else None,
            "connections": len(connections),
            "accepted": endpoint.accepted if isinstance(endpoint, Acceptor) else 0,
            "failures": client.failures if client else 0,
            "error": endpoint.error,
        }

    def statistics(self) -> dict[str, Any]:
        """Figures of every connection."""
        connections = [c for opened in self._opened for c in self.connections(opened.endpoint)]
        return {**super().statistics(), "connections": connections}


def _url(endpoint: Endpoint) -> str:
    return str(endpoint.listener.address if endpoint.listener else endpoint.address)
