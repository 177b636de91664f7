"""Creating and deleting subnets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.addresses import parse_prefix
from vlcp.model.changes.outcome import (
    Outcome,
    deletion,
    fetch,
    fetch_with_members,
    must_be_unused,
    must_exist,
    must_not_exist,
)
from vlcp.model.errors import InUseError, InvalidError
from vlcp.model.objects import Listed, Subnet
from vlcp.model.params import Placed


def create_subnets(view: View, subnets: Sequence[Placed[Subnet]]) -> Outcome:
    """Create all of them or none.

    `MissingError` for an unknown logical network, `InUseError` for an id that is taken or a prefix that overlaps that
    of another subnet of the network, `InvalidError` if two of the request overlap.
    """
    known, members = fetch_with_members(
        view,
        (
            key
            for _, subnet in subnets
            for key in (
                keys.logical_network(subnet.logicalnetwork),
                keys.subnet(subnet.id),
                _membership(subnet),
            )
        ),
        (keys.subnets_of(subnet.logicalnetwork) for _, subnet in subnets),
    )
    for placed in subnets:
        _check(placed, known)
    present = fetch(view, (keys.subnet(each) for ids in members.values() for each in ids))
    _check_overlaps(subnets, (subnet for subnet in present.values() if subnet is not None))
    writes: dict[str, Any] = _touched(members)
    for _, subnet in subnets:
        writes[keys.subnet(subnet.id)] = subnet
        writes[_membership(subnet)] = Listed()
    return Outcome(writes, answer=[subnet for _, subnet in subnets])


def _membership(subnet: Subnet) -> str:
    return keys.member(keys.subnets_of(subnet.logicalnetwork), subnet.id)


def _touched(members: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """One present member of each directory, written again as it is.

    Who lists a directory depends on every member that it saw, but would miss one that joins meanwhile. This write makes
    two that add subnets to a network at once conflict, so that one of them sees the other's.
    """
    return {keys.member(directory, ids[0]): Listed() for directory, ids in members.items() if ids}


def _check(placed: Placed[Subnet], known: Mapping[str, Any]) -> None:
    subnet = placed.value
    network = subnet.logicalnetwork
    must_exist(known[keys.logical_network(network)], placed.at("logicalnetwork"), "logical network", network)
    must_not_exist(known[keys.subnet(subnet.id)], placed.at("id"), "subnet", subnet.id)


class _Range(NamedTuple):
    """The addresses of a subnet, and its place in the request; None for one that is already there."""

    first: int
    last: int
    subnet: Subnet
    place: str | None
    order: int


def _range(subnet: Subnet, place: str | None = None, order: int = -1) -> _Range:
    prefix = parse_prefix(subnet.cidr)
    return _Range(prefix.network, prefix.last, subnet, place, order)


def _check_overlaps(new: Sequence[Placed[Subnet]], present: Iterable[Subnet]) -> None:
    networks: defaultdict[str, list[_Range]] = defaultdict(list)
    requested = (_range(subnet, place, order) for order, (place, subnet) in enumerate(new))
    for each in chain(map(_range, present), requested):
        networks[each.subnet.logicalnetwork].append(each)
    for ranges in networks.values():
        ranges.sort(key=lambda each: each.first)
        widest = ranges[0]
        for each in ranges[1:]:
            if each.first <= widest.last:
                _refuse_overlap(*sorted((widest, each), key=lambda either: either.order))
            widest = max(widest, each, key=lambda either: either.last)


def _refuse_overlap(earlier: _Range, later: _Range) -> None:
    if later.place is None:
        return
    text = f"{later.place}cidr is {later.subnet.cidr}, which overlaps {earlier.subnet.cidr}"
    if earlier.place is not None:
        raise InvalidError(f"{text}, that of {earlier.place}cidr")
    network = later.subnet.logicalnetwork
    raise InUseError(f"{text} of subnet {earlier.subnet.id!r} in logical network {network!r}")


def delete_subnets(view: View, ids: Sequence[Placed[str]]) -> Outcome:
    """Delete all of them or none. `MissingError`, or `InUseError` while one has addresses that are taken."""
    directories = [keys.addresses_of(each) for _, each in ids]
    known, members = fetch_with_members(view, (keys.subnet(each) for _, each in ids), directories)
    gone = []
    for placed, directory in zip(ids, directories, strict=True):
        key = keys.subnet(placed.value)
        subnet: Subnet = must_exist(known[key], placed.at("id"), "subnet", placed.value)
        must_be_unused(members[directory], placed.at("id"), f"subnet {subnet.id!r}", "the address")
        gone += [key, _membership(subnet)]
    return deletion(view, gone, directories)
