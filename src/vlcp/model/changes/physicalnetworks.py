"""Creating and deleting physical networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.changes.outcome import (
    Outcome,
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
    known = fetch(view, (keys.physical_network(network.id) for _, network in networks))
    writes: dict[str, Any] = {}
    for placed in networks:
        network = placed.value
        key = keys.physical_network(network.id)
        must_not_exist(known[key], placed.shown, "physical network", network.id)
        writes[key] = network
        writes[keys.member(keys.PHYSICAL_NETWORKS, network.id)] = Listed()
    return Outcome(writes, answer=[network for _, network in networks])


def delete_physical_networks(view: View, ids: Sequence[Placed[str]]) -> Outcome:
    """Delete all of them or none. `MissingError`, or `InUseError` while one has logical networks or physical ports."""
    users = [(keys.logical_networks_of(each), keys.physical_ports_of(each)) for _, each in ids]
    known, members = fetch_with_members(
        view,
        (keys.physical_network(each) for _, each in ids),
        (directory for both in users for directory in both),
    )
    writes: dict[str, Any] = {}
    for placed, (networks, ports) in zip(ids, users, strict=True):
        key = keys.physical_network(placed.value)
        must_exist(known[key], placed.shown, "physical network", placed.value)
        what = f"physical network {placed.value!r}"
        must_be_unused(members[networks], placed.shown, what, "the logical network")
        must_be_unused(members[ports], placed.shown, what, "the physical port")
        writes[key] = None
        writes[keys.member(keys.PHYSICAL_NETWORKS, placed.value)] = None
    return Outcome(writes, frozenset(directory for both in users for directory in both))
