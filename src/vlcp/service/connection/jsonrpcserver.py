"""JSON-RPC connections, which is how OVSDB servers are reached."""

from __future__ import annotations

from collections.abc import Callable

from vlcp.link import ovsdb
from vlcp.link.address import Address, Listener
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.service.connection.connectionserver import ConnectionServer


class JsonRPCServer(ConnectionServer[OvsdbConnection]):
    """Keeps the connections to OVSDB servers: we dial them, or they dial in (`ovs-vsctl set-manager`)."""

    protocol = "OVSDB"
    default_port = 6632

    class Settings(ConnectionServer.Settings, frozen=True, kw_only=True):
        """The keys of `module.jsonrpcserver.*`."""

        ovsdb: bool = False
        """The peers speak OVSDB; no other kind of JSON-RPC peer is known."""

    settings: Settings

    async def dial(self, address: Address) -> OvsdbConnection:
        """Connect to an OVSDB server, such as unix:///run/openvswitch/db.sock."""
        return await ovsdb.connect(address)

    async def listen(self, address: Address, accept: Callable[[OvsdbConnection], None]) -> Listener:
        """Accept OVSDB servers."""
        return await ovsdb.serve(address, accept)
