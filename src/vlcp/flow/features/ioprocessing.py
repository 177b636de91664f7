"""Where packets come in and where they go out: the frame of the pipeline that the other features fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

from vlcp.derive.graph import DerivedSet
from vlcp.derive.plan import Each, Member
from vlcp.derive.view import View
from vlcp.flow import facts
from vlcp.flow.places import LOCAL_NETWORKS, Place, place_of
from vlcp.flow.registers import FLAGS, FLOOD, FROM_LOGICAL, HAIRPIN, IN_NETWORK, OUT_NETWORK, OUT_PORT
from vlcp.flow.rules import Feature, Flow, GroupEntry
from vlcp.flow.tables import PATH, PRIORITY, Table, after
from vlcp.model import keys
from vlcp.model.objects import LogicalNetwork
from vlcp.wire.openflow import ApplyActions, Bucket, GotoTable, Group, Match, Output, Port, SetField

FEATURE = Feature("ioprocessing", 1)

SHARDS = 32
"""The local ports of a network are spread over this many groups, so that one more port rewrites one small group."""

_GROUPS_PER_NETWORK = 64


def occupied_shards(network: str) -> DerivedSet:
    """The shards of a network that have a local port."""
    return DerivedSet("shards", (network,))


def ports_in_shard(network: str, shard: int) -> DerivedSet:
    """The `iface-id`s of the local ports of a network in one shard."""
    return DerivedSet("shard", (network, shard))


def group_id(network_number: int, shard: int = -1) -> int:
    """The number of a shard's group, or of the group over all shards of a network."""
    return network_number * _GROUPS_PER_NETWORK + shard + 1


@FEATURE.root
def pipeline(view: View) -> Iterator[Any]:
    """A packet that no rule speaks of goes on to the next table, and is dropped at both ends of the pipeline."""
    for table in PATH:
        ends = table in (Table.INGRESS, Table.EGRESS)
        yield Flow(table, 0, Match(), () if ends else (GotoTable(after(table)),))


@FEATURE.root
def machines(view: View) -> Iterator[Any]:
    """Every interface with an iface-id is the place of one logical port."""
    yield Each(facts.INTERFACES, local_port)
    yield Each(LOCAL_NETWORKS, broadcast)


@FEATURE.rule
def local_port(view: View, iface_id: str) -> Iterator[Any]:
    """Frames from a machine enter its logical network, and frames decided for it leave by its port."""
    place: Place | None = view.call(place_of, iface_id)
    if place is None:
        return
    number, port = place.network.number, place.ofport
    shard = crc32(iface_id.encode()) % SHARDS
    yield Member(LOCAL_NETWORKS, place.network.id)
    yield Member(occupied_shards(place.network.id), shard)
    yield Member(ports_in_shard(place.network.id, shard), iface_id)
    yield Flow(Table.INGRESS, PRIORITY, Match(in_port=port), _enter(number))
    yield Flow(Table.EGRESS, PRIORITY, decided(number, port), (ApplyActions((Output(port),)),))
    back = decided(number, port, hairpin=True)
    yield Flow(Table.EGRESS, PRIORITY, back, (ApplyActions((Output(Port.IN_PORT),)),))


@FEATURE.rule
def broadcast(view: View, network_id: str) -> Iterator[Any]:
    """A frame for all of a network is copied to every local port of it but the one it came from."""
    network: LogicalNetwork | None = view.get(keys.logical_network(network_id))
    if network is None:
        return
    shards = view.members(occupied_shards(network_id))
    buckets = tuple(Bucket((Group(group_id(network.number, shard)),)) for shard in shards)
    yield GroupEntry(group_id(network.number), buckets)
    yield Each(occupied_shards(network_id), broadcast_shard, (network_id,))
    to_all = ApplyActions((Group(group_id(network.number)),))
    yield Flow(Table.EGRESS, PRIORITY, decided(network.number, FLOOD), (to_all,))


@FEATURE.rule
def broadcast_shard(view: View, network_id: str, shard: int) -> Iterator[Any]:
    """A frame for all of a network is copied to the local ports of one shard."""
    network: LogicalNetwork | None = view.get(keys.logical_network(network_id))
    if network is None:
        return
    places = (view.call(place_of, iface_id) for iface_id in view.members(ports_in_shard(network_id, shard)))
    ports = sorted(place.ofport for place in places if place is not None)
    buckets = tuple(Bucket((Output(port),)) for port in ports)
    yield GroupEntry(group_id(network.number, shard), buckets)


def decided(network_number: int, port: int, *, hairpin: bool = False) -> Match:
    """The match of a packet that leaves by a port, or, with `hairpin`, by the port it came in by."""
    fields: dict[str, int | tuple[int, int]] = {OUT_NETWORK: network_number, OUT_PORT: port}
    if hairpin:
        fields["in_port"] = port
    return Match(**fields, **{FLAGS: (HAIRPIN if hairpin else 0, HAIRPIN)})


def _enter(number: int) -> tuple[Any, ...]:
    """The registers of a packet that a machine of the network sends."""
    registers = {IN_NETWORK: number, OUT_NETWORK: number, OUT_PORT: FLOOD, FLAGS: FROM_LOGICAL}
    actions = tuple(SetField(register, value) for register, value in registers.items())
    return ApplyActions(actions), GotoTable(after(Table.INGRESS))
