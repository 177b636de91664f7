"""Creating and deleting physical networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.changes.outcome import (
    Outcome,
    deletion,
    fetch,
    fetch_with_members,
    must_be_unused,
    must_exist,
    must_not_exist,
)
from vlcp.model.objects import Listed, PhysicalNetwork
from vlcp.model.params import Placed


def create_physical_networks(view: View, networks: Sequence[Placed[PhysicalNetwork]]) -> Outcome:
    """Create all of them or none. `InUseError` for an id that is taken."""
    writes: dict[str, Any] = {}
    for _, network in networks:
        writes[keys.physical_network(network.id)] = network
        writes[keys.member(keys.PHYSICAL_NETWORKS, network.id)] = Listed()
    known = fetch(view, writes)
    for placed in networks:
        network_id = placed.value.id
        must_not_exist(
            known[keys.physical_network(network_id)], placed.at("id"), "physical network", network_id
        )
    return Outcome(writes, answer=[network for _, network in networks])


def delete_physical_networks(view: View, ids: Sequence[Placed[str]]) -> Outcome:
    """Delete all of them or none. `MissingError`, or `InUseError` while one has logical networks or physical ports."""
    gone = [keys.physical_network(each) for _, each in ids]
    gone += [keys.member(keys.PHYSICAL_NETWORKS, each) for _, each in ids]
    users = [of(each) for _, each in ids for of in (keys.logical_networks_of, keys.physical_ports_of)]
    known, members = fetch_with_members(view, gone, users)
    for placed in ids:
        network = placed.value
        must_exist(known[keys.physical_network(network)], placed.at("id"), "physical network", network)
        what = f"physical network {network!r}"
        must_be_unused(
            members[keys.logical_networks_of(network)], placed.at("id"), what, "the logical network"
        )
        must_be_unused(members[keys.physical_ports_of(network)], placed.at("id"), what, "the physical port")
    return deletion(view, gone, users)
