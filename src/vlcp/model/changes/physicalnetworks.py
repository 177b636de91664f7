"""Creating, changing and deleting physical networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.changes.outcome import (
    Outcome,
    WithKinds,
    deletion,
    fetch,
    fetch_with_members,
    must_be_unused,
    must_exist,
    must_not_exist,
    stored_objects,
)
from vlcp.model.fields import NotAllowedError
from vlcp.model.keys import PortName
from vlcp.model.kinds import kind_of
from vlcp.model.objects import Listed, PhysicalNetwork
from vlcp.model.params import Placed
from vlcp.model.patches import Patch


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


def update_physical_networks(view: View, patches: WithKinds[Patch[str]]) -> Outcome:
    """Change all of them or none. `MissingError`, or `InvalidError` for what their kind does not allow."""
    ids = [Placed(place, patch.id) for place, patch in patches.objects]
    stored: list[PhysicalNetwork] = stored_objects(view, ids, keys.physical_network, "physical network")
    updated = []
    for placed, network in zip(patches.objects, stored, strict=True):
        patched = placed.value.applied(network)
        the_type = f"{placed.at('id')}the type of physical network {network.id!r}"
        try:
            kind_of(network, patches.kinds, the_type).check_physical_network(patched)
        except NotAllowedError as error:
            raise error.at(placed.place) from None
        updated.append(patched)
    return Outcome({keys.physical_network(network.id): network for network in updated}, answer=updated)


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
        ports = [PortName.parse(each).name for each in members[keys.physical_ports_of(network)]]
        must_be_unused(ports, placed.at("id"), what, "the physical port")
    return deletion(view, gone, users)
