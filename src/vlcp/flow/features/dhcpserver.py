"""DHCP with fixed addresses: every machine gets what its logical port says (RFC 2131)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlcp.derive.graph import DerivedSet
from vlcp.derive.plan import Each, Member
from vlcp.derive.view import View
from vlcp.flow import facts, leases
from vlcp.flow.dhcpreplies import frame_of, read_request, reply_to
from vlcp.flow.features.arpresponder import reply, request
from vlcp.flow.features.l2switch import MULTICAST
from vlcp.flow.leases import Lease, Settings
from vlcp.flow.places import Place, place_of
from vlcp.flow.registers import FLAGS, FROM_LOGICAL, IN_NETWORK
from vlcp.flow.rules import Feature, Flow, Packet, Send
from vlcp.flow.tables import PRIORITY, Table
from vlcp.model import keys
from vlcp.model.addresses import address_number, mac_number
from vlcp.model.objects import LogicalNetwork, Subnet
from vlcp.wire.openflow import ApplyActions, Match, to_controller

FEATURE = Feature("dhcpserver", 4)

SERVED_NETWORKS = DerivedSet("networks served by DHCP")
"""The ids of the networks that have a port here which gets its address from us."""

_REQUESTS = {"eth_type": 0x0800, "ip_proto": 17, "udp_dst": 67}


def servers_of(network: str) -> DerivedSet:
    """The addresses of the DHCP server in the subnets of a network."""
    return DerivedSet("DHCP servers", (network,))


def lease_at(view: View, iface_id: str) -> Lease | None:
    """The lease of the port that is plugged in with this iface-id; None if it gets none from us."""
    place: Place | None = view.call(place_of, iface_id)
    if place is None or place.port.subnet is None:
        return None
    subnet: Subnet | None = view.get(keys.subnet(place.port.subnet))
    settings: Settings | None = view.get(facts.settings(FEATURE.name))
    if subnet is None or settings is None:
        return None
    return leases.lease_of(settings, place.network, subnet, place.port)


def server_in(view: View, subnet_id: str) -> str | None:
    """The address of the DHCP server in a subnet; None if the subnet is not served."""
    subnet: Subnet | None = view.get(keys.subnet(subnet_id))
    settings: Settings | None = view.get(facts.settings(FEATURE.name))
    if subnet is None or settings is None or not subnet.dhcp_enabled:
        return None
    return leases.server_address(settings, subnet)


@FEATURE.root
def service(view: View) -> Iterator[Any]:
    """Machines are served on every network that has a port with an address here."""
    yield Each(facts.INTERFACES, served_port)
    yield Each(SERVED_NETWORKS, requests)


@FEATURE.rule
def served_port(view: View, iface_id: str) -> Iterator[Any]:
    """A port that has an address makes its network a served one."""
    place: Place | None = view.call(place_of, iface_id)
    if place is None or place.port.subnet is None or place.port.ip_address is None:
        return
    address: str | None = view.call(server_in, place.port.subnet)
    if address is None:
        return
    yield Member(SERVED_NETWORKS, place.network.id)
    yield Member(servers_of(place.network.id), address)


@FEATURE.rule
def requests(view: View, network_id: str) -> Iterator[Any]:
    """DHCP requests of machines that know no server yet go to the controller."""
    network: LogicalNetwork | None = view.get(keys.logical_network(network_id))
    if network is None:
        return
    yield Flow(Table.L3INPUT, PRIORITY, _request(network, eth_dst=MULTICAST), _UP)
    yield Each(servers_of(network_id), server, (network_id,))


@FEATURE.rule
def server(view: View, network_id: str, address: str) -> Iterator[Any]:
    """The DHCP server has an address in the network: it answers ARP, and requests to it go to the controller."""
    network: LogicalNetwork | None = view.get(keys.logical_network(network_id))
    settings: Settings | None = view.get(facts.settings(FEATURE.name))
    if network is None or settings is None:
        return
    yield Flow(Table.ARP, PRIORITY, request(network.number, address), reply(address, settings.servermac))
    match = _request(network, ipv4_dst=address_number(address))
    yield Flow(Table.L3INPUT, PRIORITY, match, _UP)


@FEATURE.answer
def answer(view: View, packet: Packet) -> Iterator[Send]:
    """The reply to a machine's DHCP request leaves by the port that the request came from."""
    asked = read_request(packet.frame)
    iface_id: str | None = view.get(facts.iface_id_at(packet.in_port))
    lease: Lease | None = None if iface_id is None else view.call(lease_at, iface_id)
    if asked is None or lease is None:
        return
    place: Place = view.call(place_of, iface_id)
    replied = reply_to(asked, mac_number(place.port.mac_address), lease)
    if replied is not None:
        settings: Settings = view.get(facts.settings(FEATURE.name))
        frame = frame_of(replied, asked, mac_number(settings.servermac), lease)
        yield Send(packet.in_port, frame)


_UP = (ApplyActions((to_controller(),)),)


def _request(network: LogicalNetwork, **more: Any) -> Match:
    flags = {FLAGS: (FROM_LOGICAL, FROM_LOGICAL)}
    return Match(**{IN_NETWORK: network.number}, **flags, **_REQUESTS, **more)
