"""A kind of physical network that lets everything pass, and its driver: no driver of ours allows physical ports yet."""

from __future__ import annotations

from vlcp.model.objects import LogicalNetwork, PhysicalNetwork, PhysicalPort
from vlcp.service.sdn.networkdriver import NetworkDriver


class WiredKind:
    """Networks with any attributes, any physical ports and any logical networks."""

    name = "wired"

    def check_physical_network(self, network: PhysicalNetwork) -> None:
        """It may have any attributes."""

    def check_physical_port(self, port: PhysicalPort) -> None:
        """It may have any physical port."""

    def check_logical_network(self, network: LogicalNetwork) -> None:
        """It may carry any logical network."""


class WiredDriver(NetworkDriver):
    """Network driver for networks of type wired."""

    kind = WiredKind()
