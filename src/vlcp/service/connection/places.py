"""What the configuration of a server module says: its virtual hosts, and the places where each is found."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from vlcp.link.address import Address, AddressError, parse
from vlcp.link.tls import TlsError, TlsFiles, client_context, server_context
from vlcp.server.config import Config, ConfigError
from vlcp.server.module import Module
from vlcp.service.connection import protocols
from vlcp.service.connection.protocols import Protocol

Bind = tuple[tuple[socket.AddressFamily, str, int], ...]


class ServerSettings(Module.Settings, frozen=True, kw_only=True):
    """The keys of a server module. `vhost.<name>` has the same; what it does not say comes from the level around it,
    except for its URLs."""

    url: str | None = "tcp:///"
    """Where to listen, or with `client` whom to dial; None for neither. Below `vhost` None unless it is set."""
    urls: tuple[str, ...] = ()
    """More of them."""
    client: bool = False
    """Dial instead of listening."""
    key: str | None = None
    """PEM file of the private key, for URLs with TLS."""
    certificate: str | None = None
    """PEM file of the certificate."""
    ca_certs: str | None = None
    """PEM file of authorities: of clients, which must show a certificate then; or of the server that is dialled."""
    verifyhost: bool = True
    """A server that is dialled must have a certificate for the name or address in the URL."""
    bindaddress: Any = None
    """Our own end of the connections that we make: an IP address, or a list of them, also as (family, address)."""
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777)] | None = None
    """Permissions of the files of Unix sockets that are listened on, such as 0o600."""
    protocol: dict[str, Any] = msgspec.field(default_factory=dict)
    """Keys of `protocol.<name>` that are others here, such as protocol.backlogsize or protocol.http.idletimeout."""
    vhost: dict[str, Any] = msgspec.field(default_factory=dict)
    """Virtual hosts by name."""


class _Urls(msgspec.Struct, frozen=True, kw_only=True):
    """What a virtual host does not inherit."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    vhost: dict[str, Any] = msgspec.field(default_factory=dict)


S = TypeVar("S", bound=ServerSettings)


@dataclass(frozen=True)
class Level(Generic[S]):
    """One virtual host, '' for the module itself, with what it inherits.

    `nodes`: its key, then those of the levels around it, such as module.httpserver.vhost.api, module.httpserver.
    """

    config: Config
    vhost: str
    nodes: tuple[str, ...]
    settings: S
    protocol: Protocol
    urls: tuple[tuple[str, str], ...]
    """Pairs of a key and a URL."""

    def places(self, extra: Any = None) -> Iterator[Place[S]]:
        """Its places, each once. Raises `ConfigError`."""
        bind, seen = self.bind(), set[Address]()
        settings = msgspec.structs.replace(self.settings, url=None, urls=(), vhost={}, protocol={})
        for key, url in self.urls:
            address = self._address(key, url)
            if address not in seen:
                yield Place(self.vhost, address, settings, self.protocol, bind, extra, key, self)
            seen.add(address)

    def _address(self, key: str, url: str) -> Address:
        p = self.protocol
        try:
            address = parse(url, p.defaultport, p.ssldefaultport)
        except AddressError as error:
            raise ConfigError(f"{self.config.origin(key)}: {key}: {error}") from None
        if self.settings.client and not (address.listens or address.unix or address.host):
            what = f"a client needs a host, {address.scheme}://host:port"
            raise ConfigError(f"{self.config.origin(key)}: {key} = {url!r}: {what}")
        return address

    def bind(self) -> Bind:
        """What `bindaddress` says. Raises `ConfigError`."""
        value = self.settings.bindaddress
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        try:
            return tuple(_end(item) for item in items)
        except (ValueError, TypeError):
            key, origin = self.key_of("bindaddress")
            allowed = "an IP address, or a list of them, also as (family, address)"
            raise ConfigError(f"{origin}: {key} = {value!r}: expected {allowed}") from None

    def key_of(self, name: str) -> tuple[str, str]:
        """The full key where a setting of this level was assigned, and its place in the file."""
        node = next((node for node in self.nodes if name in self.config.subtree(node)), self.nodes[0])
        return f"{node}.{name}", self.config.origin(f"{node}.{name}")


def _end(item: Any) -> tuple[socket.AddressFamily, str, int]:
    port = 0
    if not isinstance(item, str):
        _, item = item
    if not isinstance(item, str):
        item, port = item
    ip = ipaddress.ip_address(item)
    if not 0 <= int(port) <= 65535:
        raise ValueError
    return socket.AF_INET if ip.version == 4 else socket.AF_INET6, str(ip), int(port)


@dataclass(frozen=True)
class Place(Generic[S]):
    """One URL of a virtual host, with all that it takes to open it. Equal ones need no reopening."""

    vhost: str
    address: Address
    settings: S
    protocol: Protocol
    bind: Bind
    extra: Any
    key: str = field(compare=False)
    level: Level[S] = field(compare=False)

    @property
    def name(self) -> str:
        """The key and the URL with their place in the file, for messages."""
        return f"{self.level.config.origin(self.key)}: {self.key} = '{self.address}'"

    @property
    def dialled(self) -> bool:
        """We dial; otherwise we listen, if only for one peer."""
        return self.settings.client and not self.address.listens

    @property
    def files(self) -> TlsFiles:
        """The files for TLS."""
        s = self.settings
        return TlsFiles(s.key, s.certificate, s.ca_certs, s.verifyhost)

    def check(self) -> None:
        """Raise `ConfigError` when the files for TLS cannot be used."""
        if not self.address.tls:
            return
        try:
            (client_context if self.dialled else server_context)(self.files)
        except TlsError as error:
            if error.file is None:
                raise ConfigError(f"{self.name}: {error}") from None
            key, origin = self.level.key_of(error.field)
            raise ConfigError(f"{origin}: {key} = {error.file!r}: {error.what}") from None


def levels(
    config: Config, module: str, cls: type[S], protocol: Callable[[S], type[Protocol]]
) -> Iterator[Level[S]]:
    """The module itself, then its virtual hosts. Raises `ConfigError`."""
    root = f"module.{module}"
    settings = config.settings(cls, root, "module.default")
    yield from _levels(config, "", (root,), settings, protocol)


def _levels(
    config: Config, vhost: str, nodes: tuple[str, ...], own: S, protocol: Callable[[S], type[Protocol]]
) -> Iterator[Level[S]]:
    urls = [(f"{nodes[0]}.url", own.url)] if own.url else []
    urls += [(f"{nodes[0]}.urls", url) for url in own.urls]
    spoken = protocols.settings(config, protocol(own), nodes)
    yield Level(config, vhost, nodes, own, spoken, tuple(urls))
    for name in own.vhost:
        inner = (f"{nodes[0]}.vhost.{name}", *nodes)
        below = config.settings(type(own), *inner, "module.default", derived=len(nodes))
        not_inherited = msgspec.structs.asdict(config.settings(_Urls, inner[0]))
        yield from _levels(config, name, inner, msgspec.structs.replace(below, **not_inherited), protocol)
