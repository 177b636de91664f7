"""JSON-RPC connections, which is how OVSDB servers are reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlcp.link.jsonrpc import JsonRpcConnection, KeepAlive, Limits
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.service.connection.peerserver import PeerServer
from vlcp.service.connection.places import Place, ServerSettings
from vlcp.service.connection.protocols import JsonRpc, Ovsdb, Protocol


class JsonRPCServer(PeerServer[JsonRpcConnection]):
    """Keeps JSON-RPC connections; with `ovsdb` to OVSDB servers: we dial them, or they dial in
    (`ovs-vsctl set-manager`)."""

    kind = "JSON-RPC"

    class Settings(ServerSettings, frozen=True, kw_only=True):
        """The keys of `module.jsonrpcserver.*`."""

        ovsdb: bool = False
        """The peers speak OVSDB; otherwise they are only answered that a method is not supported."""

    def protocol_of(self, settings: Settings) -> type[Protocol]:
        """`protocol.ovsdb` or `protocol.jsonrpc`."""
        return Ovsdb if settings.ovsdb else JsonRpc

    def make(
        self, place: Place[Any], peer: str, on_connection: Callable[[JsonRpcConnection], None] | None
    ) -> JsonRpcConnection:
        """The protocol of one connection."""
        p = place.protocol
        assert isinstance(p, JsonRpc)
        cls = OvsdbConnection if isinstance(p, Ovsdb) else JsonRpcConnection
        allowed = None if p.allowedrequests is None else frozenset(p.allowedrequests)
        return cls(
            peer,
            KeepAlive(p.keepalivetime, p.keepalivetimeout),
            on_connection,
            Limits(p.messagelimit, p.levellimit, allowed),
        )
