"""Creating, changing and deleting subnets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.addresses import format_address, parse_address, parse_prefix
from vlcp.model.changes.outcome import (
    Outcome,
    deletion,
    fetch,
    fetch_with_members,
    members_of,
    must_be_unused,
    must_exist,
    must_not_exist,
    stored_objects,
    together,
)
from vlcp.model.errors import InUseError, InvalidError
from vlcp.model.objects import Listed, Subnet
from vlcp.model.params import Placed
from vlcp.model.patches import Patch, patched_subnet

MOST_READ = 1 << 16
"""Addresses that one call reads one by one; of larger ranges it lists those that are taken."""


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


class _Changed(NamedTuple):
    """A subnet before and after a change."""

    place: str
    before: Subnet
    after: Subnet

    @property
    def moved(self) -> bool:
        """Whether it has another prefix."""
        return self.after.cidr != self.before.cidr

    @property
    def directory(self) -> str:
        """The directory of its addresses that are taken."""
        return keys.addresses_of(self.before.id)


def update_subnets(view: View, patches: Sequence[Placed[Patch[str]]]) -> Outcome:
    """Change all of them or none.

    `MissingError`; `InvalidError` for attributes that do not go together; `InUseError` for what contradicts attributes
    that stay, for an address that is taken and could not be any more, and for a prefix that overlaps another.
    """
    ids = [Placed(place, patch.id) for place, patch in patches]
    stored: list[Subnet] = stored_objects(view, ids, keys.subnet, "subnet")
    changed = [
        _Changed(placed.place, subnet, patched_subnet(placed, subnet))
        for placed, subnet in zip(patches, stored, strict=True)
    ]
    checks = (partial(_check_addresses, view, changed), partial(_check_prefixes, view, changed))
    _, touched = together(*checks)
    writes = {keys.subnet(each.after.id): each.after for each in changed}
    return Outcome({**touched, **writes}, answer=[each.after for each in changed])


def _check_prefixes(view: View, changed: Sequence[_Changed]) -> dict[str, Any]:
    """Whether prefixes that are new overlap others; what is to be written so that nobody adds one at the same time."""
    moved = [each for each in changed if each.moved]
    _, members = fetch_with_members(view, (), {keys.subnets_of(each.after.logicalnetwork) for each in moved})
    present = fetch(view, (keys.subnet(each) for ids in members.values() for each in ids))
    for each in changed:
        present[keys.subnet(each.after.id)] = None if each.moved else each.after
    new = [Placed(each.place, each.after) for each in moved]
    _check_overlaps(new, (subnet for subnet in present.values() if subnet is not None))
    return _touched(members)


def _check_addresses(view: View, changed: Sequence[_Changed]) -> dict[str, Any]:
    """Whether every address that is taken can stay so; there is nothing to be written. At most two rounds of reads."""
    budget = MOST_READ
    reads = []
    for each in changed:
        ranges = _left_out(each.before, each.after)
        own = [
            address for address in _own_addresses(each.after) if address not in _own_addresses(each.before)
        ]
        budget -= sum(map(len, ranges))
        reads.append(partial(_taken, view, each.directory, ranges, own, listed=budget < 0))
    for each, taken in zip(changed, together(*reads), strict=True):
        for address, owner in taken:
            _refuse_address(each, address, owner)
    return {}


def _own_addresses(subnet: Subnet) -> list[str]:
    """The addresses that no port may have, because the subnet itself has them."""
    return [address for address in (subnet.gateway, subnet.dhcp_server) if address is not None]


def _left_out(before: Subnet, after: Subnet) -> list[range]:
    """The addresses that were handed out and are no longer."""
    first, last = parse_address(before.allocated_start), parse_address(before.allocated_end)
    start, end = parse_address(after.allocated_start), parse_address(after.allocated_end)
    ranges = (range(first, min(last + 1, start)), range(max(first, end + 1), last + 1))
    return [each for each in ranges if each]


def _taken(
    view: View, directory: str, ranges: Sequence[range], own: Sequence[str], *, listed: bool
) -> list[tuple[str, Any]]:
    """Which of the addresses are taken, with their owners.

    Reading each is exact even if a port is created at the same time: one of the two runs again. A range that is too
    large for that is listed; then a port that is created in this moment may keep an address that is left out.
    """
    if listed:
        names = members_of(view, [directory])
        left_out = [name for name in names if any(parse_address(name) in each for each in ranges)]
    else:
        left_out = [format_address(address) for each in ranges for address in each]
    asked = [*left_out, *own]
    owners = view.many([keys.member(directory, address) for address in asked])
    return [(address, owner) for address, owner in zip(asked, owners, strict=True) if owner is not None]


def _refuse_address(changed: _Changed, address: str, owner: Any) -> None:
    after = changed.after
    for attribute in ("gateway", "dhcp_server"):
        if getattr(after, attribute) == address:
            raise InUseError(
                f"{changed.place}{attribute} is {address}, which {owner!r} has in subnet {after.id!r}"
            )
    raise InUseError(
        f"{changed.place}id: {owner!r} has the address {address} in subnet {after.id!r}, which would"
        f" then hand out {after.allocated_start} to {after.allocated_end} only"
    )


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
