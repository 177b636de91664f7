"""OpenFlow connections: switches dial in (`ovs-vsctl set-controller`), or we dial their management sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from vlcp.link.address import Address
from vlcp.link.openflow import OpenFlowConnection, Patience
from vlcp.server.config import ConfigError
from vlcp.service.connection.peerserver import PeerServer
from vlcp.service.connection.places import Level, Place
from vlcp.service.connection.protocols import OpenFlow, Protocol, key_of
from vlcp.wire.openflow import VERSION

_PORT = 6653
"""What Open vSwitch means by a target without port."""


class OpenflowServer(PeerServer[OpenFlowConnection]):
    """Keeps the OpenFlow connections of switches."""

    kind = "OpenFlow"

    def protocol_of(self, settings: Any) -> type[Protocol]:
        """`protocol.openflow`."""
        return OpenFlow

    def extra(self, level: Level[Any]) -> None:
        """Nothing further. Raises `ConfigError` when no version is left to speak."""
        versions = level.protocol.allowedversions if isinstance(level.protocol, OpenFlow) else ()
        if VERSION not in versions:
            key = key_of(level.config, OpenFlow, level.nodes, "allowedversions")
            what = f"must hold {VERSION}, which is OpenFlow 1.3: no other version is spoken"
            raise ConfigError(f"{level.config.origin(key)}: {key} = {versions!r}: {what}")

    def make(
        self, place: Place[Any], peer: str, on_connection: Callable[[OpenFlowConnection], None] | None
    ) -> OpenFlowConnection:
        """The protocol of one connection."""
        p = place.protocol
        assert isinstance(p, OpenFlow)
        patience = Patience(p.hellotimeout, p.featurerequesttimeout, p.keepalivetime, p.keepalivetimeout)
        return OpenFlowConnection(on_connection=on_connection, patience=patience)

    def named_by(self, target: str) -> str | None:
        """The virtual host that a bridge's controller target means, such as `tcp:127.0.0.1` or `unix:/path`.

        Of TCP targets only loopback addresses and the very hosts that we listen at are recognised.
        """
        here = ((place.vhost, end.listener.address) for place, end in self._opened if end.listener)
        return next((vhost for vhost, address in here if _means(target, address)), None)


def _means(target: str, here: Address) -> bool:
    kind, _, rest = target.partition(":")
    if here.unix or kind == "unix":
        return here.unix and kind == "unix" and rest == here.path
    try:
        there = urlsplit(f"//{rest}")
        port = there.port or _PORT
    except ValueError:
        return False
    same_host = there.hostname in ("127.0.0.1", "::1", "localhost", here.host)
    return (kind == "ssl") == here.tls and kind in ("tcp", "ssl") and same_host and port == here.port
