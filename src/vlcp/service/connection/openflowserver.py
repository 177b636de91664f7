"""OpenFlow connections: switches dial in (`ovs-vsctl set-controller`), or we dial their management sockets."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from vlcp.link import openflow
from vlcp.link.address import Address, Listener
from vlcp.link.openflow import OpenFlowConnection
from vlcp.service.connection.connectionserver import ConnectionServer


class OpenflowServer(ConnectionServer[OpenFlowConnection]):
    """Keeps the OpenFlow connections of switches."""

    protocol = "OpenFlow"
    default_port = 6653

    async def dial(self, address: Address) -> OpenFlowConnection:
        """Connect to a switch, such as unix:///run/openvswitch/br0.mgmt."""
        return await openflow.connect(address)

    async def listen(self, address: Address, accept: Callable[[OpenFlowConnection], None]) -> Listener:
        """Accept switches."""
        return await openflow.serve(address, accept)

    def is_named_by(self, target: str) -> bool:
        """Whether a bridge's controller target, such as `tcp:127.0.0.1` or `unix:/path`, means us.

        Of TCP targets only loopback addresses and the very host that we listen at are recognised.
        """
        if self._listener is None:
            return False
        here = self._listener.address
        kind, _, rest = target.partition(":")
        if here.unix or kind == "unix":
            return here.unix and kind == "unix" and rest == here.path
        try:
            there = urlsplit(f"//{rest}")
            port = there.port or self.default_port
        except ValueError:
            return False
        same_host = there.hostname in ("127.0.0.1", "::1", "localhost", here.host)
        return (kind == "ssl") == here.tls and kind in ("tcp", "ssl") and same_host and port == here.port
