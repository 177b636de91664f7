"""Local physical networks: no wire between hosts. Machines on one host reach each other, nobody else."""

from __future__ import annotations

from vlcp.model.fields import NotAllowedError
from vlcp.model.objects import LogicalNetwork, PhysicalNetwork, PhysicalPort


class LocalKind:
    """A physical network without physical ports; it carries any number of logical networks, without tags."""

    name = "local"

    def check_physical_network(self, network: PhysicalNetwork) -> None:
        """There are no tags to hand out, so a range of them is a mistake."""
        _absent("vlanrange", network.vlanrange)
        _absent("vnirange", network.vnirange)

    def check_physical_port(self, port: PhysicalPort) -> None:
        """There is no wire that a port could be connected to."""
        raise NotAllowedError(
            port.physicalnetwork,
            "a physical network of another type: one of type 'local' has no physical ports",
            "physicalnetwork",
        )

    def check_logical_network(self, network: LogicalNetwork) -> None:
        """Frames never leave the host, so they carry no tag."""
        _absent("vlanid", network.vlanid)
        _absent("vni", network.vni)


def _absent(attribute: str, value: object) -> None:
    if value is not None:
        raise NotAllowedError(value, "absent: a physical network of type 'local' has no tags", attribute)
