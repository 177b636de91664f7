"""OpenFlow connections: switches dial in (`ovs-vsctl set-controller`), or we dial their management sockets."""

from __future__ import annotations

from collections.abc import Callable

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
