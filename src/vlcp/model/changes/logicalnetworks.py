"""Creating, changing and deleting logical networks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

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
from vlcp.model.kinds import Kinds, kind_of
from vlcp.model.objects import Listed, LogicalNetwork, PhysicalNetwork
from vlcp.model.params import Placed
from vlcp.model.patches import Patch

NUMBERS = 0x1FFFFFF
"""A network's number is one of 1 .. NUMBERS: 25 bits, since each network owns 64 group numbers on a switch."""


def create_logical_networks(view: View, new: WithKinds[LogicalNetwork]) -> Outcome:
    """Create all of them or none, each with a number of its own.

    `MissingError` for an unknown physical network, `InUseError` for an id that is taken, `InvalidError` for what the
    kind of the physical network does not allow.
    """
    numbers = [first_number(network.id) for _, network in new.objects]
    known = fetch(view, [*_keys_read(new.objects), *map(keys.network_number, numbers)])
    for placed in new.objects:
        _check(placed, known, new.kinds)
    claimed = _claim_numbers(view, numbers)
    writes: dict[str, Any] = {}
    created = []
    for (_, network), number in zip(new.objects, claimed, strict=True):
        numbered = msgspec.structs.replace(network, number=number)
        created.append(numbered)
        writes[keys.logical_network(network.id)] = numbered
        writes[keys.member(keys.logical_networks_of(network.physicalnetwork), network.id)] = Listed()
        writes[keys.network_number(number)] = network.id
    return Outcome(writes, answer=created)


def _keys_read(networks: Sequence[Placed[LogicalNetwork]]) -> list[str]:
    return [
        key
        for _, network in networks
        for key in (
            keys.physical_network(network.physicalnetwork),
            keys.logical_network(network.id),
            keys.member(keys.logical_networks_of(network.physicalnetwork), network.id),
        )
    ]


def _check(placed: Placed[LogicalNetwork], known: dict[str, Any], kinds: Kinds) -> None:
    network = placed.value
    carrier: PhysicalNetwork = must_exist(
        known[keys.physical_network(network.physicalnetwork)],
        placed.at("physicalnetwork"),
        "physical network",
        network.physicalnetwork,
    )
    must_not_exist(known[keys.logical_network(network.id)], placed.at("id"), "logical network", network.id)
    _check_kind(placed, carrier, kinds, f"{placed.at('physicalnetwork')}the")


def _check_kind(placed: Placed[LogicalNetwork], carrier: PhysicalNetwork, kinds: Kinds, the: str) -> None:
    """Whether the kind of the physical network that carries it allows the network."""
    kind = kind_of(carrier, kinds, f"{the} type of physical network {carrier.id!r}")
    try:
        kind.check_logical_network(placed.value)
    except NotAllowedError as error:
        raise error.at(placed.place) from None


def first_number(network: str) -> int:
    """The number that a logical network has unless another network has it: a hash of the id, the same everywhere."""
    digest = hashlib.blake2b(network.encode(), digest_size=4).digest()
    return int.from_bytes(digest) & NUMBERS or 1


def _claim_numbers(view: View, wanted: Sequence[int]) -> list[int]:
    """A free number for each wanted one: itself, or the next that is free. One more round of reads a collision."""
    numbers: list[int | None] = [None] * len(wanted)
    taken: set[int] = set()
    candidates = list(wanted)
    while None in numbers:
        open_places = [place for place, number in enumerate(numbers) if number is None]
        for place in open_places:
            while candidates[place] in taken:
                candidates[place] = candidates[place] % NUMBERS + 1
            taken.add(candidates[place])
        owners = view.many([keys.network_number(candidates[place]) for place in open_places])
        for place, owner in zip(open_places, owners, strict=True):
            numbers[place] = candidates[place] if owner is None else None
    return [number for number in numbers if number is not None]


def update_logical_networks(view: View, patches: WithKinds[Patch[str]]) -> Outcome:
    """Change all of them or none.

    `MissingError`, or `InvalidError` for what the kind of the physical network does not allow.
    """
    ids = [Placed(place, patch.id) for place, patch in patches.objects]
    stored: list[LogicalNetwork] = stored_objects(view, ids, keys.logical_network, "logical network")
    carriers = fetch(view, (keys.physical_network(network.physicalnetwork) for network in stored))
    updated = []
    for (place, patch), network in zip(patches.objects, stored, strict=True):
        patched = Placed(place, patch.applied(network))
        carrier = carriers[keys.physical_network(network.physicalnetwork)]
        _check_kind(patched, carrier, patches.kinds, f"{patched.at('id')}the")
        updated.append(patched.value)
    return Outcome({keys.logical_network(network.id): network for network in updated}, answer=updated)


def delete_logical_networks(view: View, ids: Sequence[Placed[str]]) -> Outcome:
    """Delete all of them or none. `MissingError`, or `InUseError` while one has logical ports or subnets."""
    objects = [keys.logical_network(each) for _, each in ids]
    users = [of(each) for _, each in ids for of in (keys.ports_of, keys.subnets_of)]
    known, members = fetch_with_members(view, objects, users)
    gone = []
    for key, placed in zip(objects, ids, strict=True):
        network: LogicalNetwork = must_exist(known[key], placed.at("id"), "logical network", placed.value)
        what = f"logical network {network.id!r}"
        must_be_unused(members[keys.ports_of(network.id)], placed.at("id"), what, "the logical port")
        must_be_unused(members[keys.subnets_of(network.id)], placed.at("id"), what, "the subnet")
        gone += [
            key,
            keys.member(keys.logical_networks_of(network.physicalnetwork), network.id),
            keys.network_number(network.number),
        ]
    return deletion(view, gone, users)
