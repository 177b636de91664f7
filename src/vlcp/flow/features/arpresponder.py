"""ARP requests are answered in the switch, for every port of the network wherever it is (RFC 826)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlcp.derive.plan import Each
from vlcp.derive.view import View
from vlcp.flow import facts
from vlcp.flow.features.l2switch import MULTICAST
from vlcp.flow.places import LOCAL_NETWORKS, Place, place_of
from vlcp.flow.registers import FLAGS, FROM_LOGICAL, HAIRPIN_BIT, IN_NETWORK, OUT_PORT
from vlcp.flow.rules import Feature, Flow
from vlcp.flow.tables import PRIORITY, Table
from vlcp.model import keys
from vlcp.model.addresses import address_number, mac_number
from vlcp.model.objects import LogicalNetwork, NetworkPort
from vlcp.wire.openflow import ApplyActions, GotoTable, Match, RegLoad, RegMove, SetField

FEATURE = Feature("arpresponder", 3)

_ARP = {"eth_type": 0x0806, "arp_op": 1}
_LOGICAL = {FLAGS: (FROM_LOGICAL, FROM_LOGICAL)}


@FEATURE.root
def answers(view: View) -> Iterator[Any]:
    """Every network that has a port here answers for all of its ports."""
    yield Each(LOCAL_NETWORKS, network_answers)
    yield Each(facts.INTERFACES, own_address)


@FEATURE.rule
def network_answers(view: View, network_id: str) -> Iterator[Any]:
    """A network answers for each of its ports."""
    yield Each(keys.ports_of(network_id), port_answer, (network_id,))


@FEATURE.rule
def port_answer(view: View, network_id: str, name: str) -> Iterator[Any]:
    """A machine that asks all of its network for the address of another port is told its MAC address at once."""
    port: NetworkPort | None = view.get(keys.ports_of(network_id) + name)
    network: LogicalNetwork | None = view.get(keys.logical_network(network_id))
    if port is None or network is None or port.ip is None:
        return
    asked = request(network.number, port.ip, eth_dst=MULTICAST)
    yield Flow(Table.ARP, PRIORITY, asked, reply(port.ip, port.mac))


@FEATURE.rule
def own_address(view: View, iface_id: str) -> Iterator[Any]:
    """A machine that asks whether somebody else has its own address gets no answer from us."""
    place: Place | None = view.call(place_of, iface_id)
    if place is None or place.port.ip_address is None:
        return
    match = request(
        place.network.number, place.port.ip_address, eth_dst=MULTICAST, in_port=place.ofport, logical=False
    )
    yield Flow(Table.ARP, PRIORITY + 10, match, ())


def request(network_number: int, address: str, *, logical: bool = True, **more: Any) -> Match:
    """The match of an ARP request for an address, from logical ports only if `logical`."""
    flags = _LOGICAL if logical else {}
    return Match(**{IN_NETWORK: network_number}, **flags, **_ARP, arp_tpa=address_number(address), **more)


def reply(address: str, mac: str) -> tuple[Any, ...]:
    """The instructions that turn a request into the answer and send it back where it came from."""
    return (
        ApplyActions(
            (
                RegMove("arp_spa", "arp_tpa", 32),
                RegMove("arp_sha", "arp_tha", 48),
                RegMove("eth_src", "eth_dst", 48),
                SetField("arp_spa", address_number(address)),
                SetField("arp_sha", mac_number(mac)),
                SetField("eth_src", mac_number(mac)),
                SetField("arp_op", 2),
                RegLoad(FLAGS, 1, HAIRPIN_BIT, 1),
                SetField(OUT_PORT, 0),  # a move of the port writes the lower half only
                RegMove("in_port", OUT_PORT, 16),
            )
        ),
        GotoTable(Table.EGRESS),
    )
