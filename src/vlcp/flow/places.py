"""Where a machine is plugged in: the join of the switch's ports and the network's."""

from __future__ import annotations

from typing import NamedTuple

from vlcp.derive.graph import DerivedSet
from vlcp.derive.view import View
from vlcp.flow import facts
from vlcp.model import keys
from vlcp.model.objects import LogicalNetwork, LogicalPort

LOCAL_NETWORKS = DerivedSet("local networks")
"""The ids of the logical networks that have a port on this switch."""


class Place(NamedTuple):
    """A logical port that is plugged into this switch."""

    ofport: int
    port: LogicalPort
    network: LogicalNetwork


def place_of(view: View, iface_id: str) -> Place | None:
    """The place of an interface; None unless OVSDB, OpenFlow and the store all know the port.

    The store is read first: that can begin before the switch is connected.
    """
    port: LogicalPort | None = view.get(keys.logical_port(iface_id))
    if port is None:
        return None
    network: LogicalNetwork | None = view.get(keys.logical_network(port.logicalnetwork))
    ofport = view.call(ofport_of, iface_id)
    return None if network is None or ofport is None else Place(ofport, port, network)


def ofport_of(view: View, iface_id: str) -> int | None:
    """The OpenFlow port of an interface; None while OVSDB and OpenFlow do not agree on it.

    Until the switch tells its ports, OVSDB is believed: nothing is sent before, and nearly always it is right.
    """
    interface: facts.Interface | None = view.get(facts.interface(iface_id))
    if interface is None or interface.ofport is None:
        return None
    port: facts.Port | None = view.get(facts.port(interface.ofport))
    agreed = port.name == interface.name if port is not None else not view.get(facts.DESCRIBED)
    return interface.ofport if agreed else None
