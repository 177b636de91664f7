"""HTTP listeners for the modules that answer requests."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from vlcp.link.address import Address, AddressError, Listener, listen, parse, tls_context
from vlcp.server.config import ConfigError, Limit
from vlcp.server.module import Module, ModuleError, api
from vlcp.server.server import Server
from vlcp.web.host import Limits, VirtualHost

_SHUTDOWN = 2.0
"""Seconds that requests under way get to finish when the module is unloaded."""
_LIBRARY = "vlcp.web.connection"
"""What answers, on aiohttp."""
_PATIENCE = 1.0
"""Seconds that its import waits, at most, for the event loop to have nothing else to do."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One level of the configuration: its URLs, TLS files and the virtual hosts below it."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    key: str | None = None
    certificate: str | None = None
    ca_certs: str | None = None
    vhost: dict[str, Any] = msgspec.field(default_factory=dict)


class Port:
    """One configured URL of a virtual host, and the sockets that listen there."""

    def __init__(self, host: VirtualHost, address: Address, origin: str, node: Node) -> None:
        self.host = host
        self.address = address
        self.origin = origin
        """The place and key of the URL in the configuration."""
        self.node = node
        self.listener: Listener | None = None

    async def open(self) -> bool:
        """Listen, but accept nothing yet; False when it does already. Raises `ModuleError` that names the key."""
        if self.listener is not None:
            return False
        try:
            node = self.node
            if self.address.unix:  # such as the directory where Docker looks for plugins
                Path(self.address.path).parent.mkdir(parents=True, exist_ok=True)
            tls = tls_context(self.address, node.key, node.certificate, node.ca_certs, server=True)
            self.listener = await listen(self.address, self.host.protocol, tls, accept=False)
        except (OSError, AddressError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ModuleError(f"{self.origin} = '{self.address}': {text}") from None
        return True

    def close(self) -> bool:
        """Stop listening; False when it did not listen."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.close()
        return listener is not None

    def status(self) -> dict[str, Any]:
        """What `getservers` shows."""
        url = self.listener.address if self.listener else self.address
        return {"vhost": self.host.name, "url": str(url), "listening": self.listener is not None}


class HttpServer(Module):
    """Serves HTTP at the configured URLs. Other modules add their routes to `host(name)`."""

    service: ClassVar[bool] = True
    ignored = frozenset({"bindaddress", "client", "connmanage", "protocol"})

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.httpserver.*`; a virtual host has its own in `vhost.<name>.*`."""

        url: str | None = "tcp:///"
        """Where to listen; None for nowhere. Port 80 unless the URL has one."""
        urls: tuple[str, ...] = ()
        """More of them."""
        key: str | None = None
        """PEM file of the private key, for URLs with ssl://."""
        certificate: str | None = None
        """PEM file of the certificate."""
        ca_certs: str | None = None
        """PEM file of authorities; if set, clients must show a certificate that one of them signed."""
        vhost: dict[str, Any] = msgspec.field(default_factory=dict)
        """Virtual hosts by name, each with url, urls, key, certificate, ca_certs and vhost."""
        bodylimit: Limit = 16 * 1024 * 1024
        """Bytes that the body of a request may have."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._limits = server.config.settings(Limits, "protocol.http", "protocol.default")
        self._hosts: dict[str, VirtualHost] = {}
        s = self.settings
        root = Node(
            url=s.url, urls=s.urls, key=s.key, certificate=s.certificate, ca_certs=s.ca_certs, vhost=s.vhost
        )
        self._ports = list(self._ports_of("", root, "module.httpserver"))

    def _ports_of(self, name: str, node: Node, key: str) -> Iterator[Port]:
        urls = [(f"{key}.url", node.url)] if node.url else []
        for url_key, url in [*urls, *((f"{key}.urls", url) for url in node.urls)]:
            origin = f"{self.server.config.origin(url_key)}: {url_key}"
            try:
                address = parse(url, 80, 443)
            except AddressError as error:
                raise ConfigError(f"{origin}: {error}") from None
            host = self.host(name)
            host.names.add(address.host)
            yield Port(host, address, origin, node)
        for below in node.vhost:
            yield from self._ports_of(
                below, self._inner(node, f"{key}.vhost.{below}"), f"{key}.vhost.{below}"
            )

    def _inner(self, outer: Node, key: str) -> Node:
        """A virtual host's own level; TLS files come from the level around it unless it has its own."""
        node = self.server.config.settings(Node, key)
        files = {
            name: getattr(node, name) or getattr(outer, name) for name in ("key", "certificate", "ca_certs")
        }
        return msgspec.structs.replace(node, **files)

    def host(self, name: str) -> VirtualHost:
        """The virtual host of this name; one without URLs is never reached."""
        if name not in self._hosts:
            self._hosts[name] = VirtualHost(name, self.settings.bodylimit, self._limits)
        return self._hosts[name]

    def ports(self, vhost: str | None = None) -> list[Port]:
        """The configured URLs of one virtual host ('' is the default one), or of all."""
        return [port for port in self._ports if vhost is None or port.host.name == vhost]

    async def load(self) -> None:
        """Open every URL; one that cannot be opened makes the module fail.

        Clients may connect from now on. They are answered when the library is imported, which would hold up the flows
        of a process that starts: even in a thread it takes turns with what settles them.
        """
        for port in self._ports:
            await port.open()
            self.logger.info("serving %r at %s", port.host.name, port.status()["url"])
        self.spawn(self._accept(), name="accept")

    async def _accept(self) -> None:
        if _LIBRARY not in sys.modules:
            await _quiet(_PATIENCE)
            await asyncio.to_thread(importlib.import_module, _LIBRARY)
        for port in self._ports:
            if port.listener is not None:
                await port.listener.accept()

    async def unload(self) -> None:
        """Stop listening, let the requests under way finish, close the connections."""
        for port in self._ports:
            port.close()
        await asyncio.gather(*(host.shutdown(_SHUTDOWN) for host in self._hosts.values()))

    @api
    def getservers(self, vhost: str | None = None) -> list[dict[str, Any]]:
        """Return the listeners with their URLs.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return [port.status() for port in self.ports(vhost)]

    @api
    def stoplisten(self, vhost: str | None = None) -> int:
        """Stop listening; open connections stay. Returns the number of listeners that were closed.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return sum(port.close() for port in self.ports(vhost))

    @api
    async def startlisten(self, vhost: str | None = None) -> int:
        """Listen again. Returns the number of listeners that were opened.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        opened = sum([await port.open() for port in self.ports(vhost)])
        await self._accept()
        return opened

    @api
    def getconnections(self, vhost: str | None = None) -> list[dict[str, Any]]:
        """Return the accepted connections that are open.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        return [
            {"vhost": host.name, "local": connection.sockname, "peer": connection.peername}
            for host in self._hosts.values()
            if vhost is None or host.name == vhost
            for connection in host.connections()
        ]

    def statistics(self) -> dict[str, Any]:
        """Figures of every virtual host."""
        hosts = {host.name: host.statistics() for host in self._hosts.values()}
        return {**super().statistics(), "hosts": hosts}


async def _quiet(limit: float) -> None:
    """Wait until five short sleeps in a row have ended in time, but at most `limit` seconds."""
    loop = asyncio.get_running_loop()
    end, in_time = loop.time() + limit, 0
    while in_time < 5 and (now := loop.time()) < end:
        await asyncio.sleep(0.005)
        in_time = in_time + 1 if loop.time() - now < 0.007 else 0
