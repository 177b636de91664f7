"""Switching by MAC address, with every local address known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlcp.derive.plan import Each
from vlcp.derive.view import View
from vlcp.flow import facts
from vlcp.flow.places import Place, place_of
from vlcp.flow.registers import OUT_NETWORK, OUT_PORT
from vlcp.flow.rules import Feature, Flow
from vlcp.flow.tables import PRIORITY, Table, after
from vlcp.model.addresses import mac_number
from vlcp.wire.openflow import ApplyActions, GotoTable, Match, SetField

FEATURE = Feature("l2switch", 2)

MULTICAST = (0x010000000000, 0x010000000000)
"""Ethernet address and mask: group addresses (IEEE 802-2014, 8.2.2)."""

BRIDGE_RESERVED = (0x0180C2000000, 0xFFFFFFFFFFF0)
"""Addresses that no bridge forwards (IEEE 802.1D-2004, 7.12.6)."""


@FEATURE.root
def frames(view: View) -> Iterator[Any]:
    """Frames from a group address or to a reserved one are dropped; frames to a group go to all of the network."""
    yield Flow(Table.L2INPUT, PRIORITY, Match(eth_src=MULTICAST), ())
    yield Flow(Table.L2INPUT, PRIORITY, Match(eth_dst=BRIDGE_RESERVED), ())
    to_all = GotoTable(after(Table.L2OUTPUT))
    yield Flow(Table.L2OUTPUT, PRIORITY + 10, Match(eth_dst=MULTICAST), (to_all,))
    yield Each(facts.INTERFACES, known_address)


@FEATURE.rule
def known_address(view: View, iface_id: str) -> Iterator[Any]:
    """A frame to the address of a machine on this switch leaves by that machine's port."""
    place: Place | None = view.call(place_of, iface_id)
    if place is None:
        return
    match = Match(**{OUT_NETWORK: place.network.number}, eth_dst=mac_number(place.port.mac_address))
    decide = ApplyActions((SetField(OUT_PORT, place.ofport),))
    yield Flow(Table.L2OUTPUT, PRIORITY + 2, match, (decide, GotoTable(after(Table.L2OUTPUT))))
