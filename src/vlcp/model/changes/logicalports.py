"""Creating, changing and deleting logical ports, and giving them addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.addresses import format_address, parse_address
from vlcp.model.changes.outcome import (
    ChangeView,
    Outcome,
    deletion,
    fetch,
    must_exist,
    must_not_exist,
    stored_objects,
    together,
)
from vlcp.model.errors import InUseError, InvalidError
from vlcp.model.objects import LogicalPort, NetworkPort, Subnet
from vlcp.model.params import Placed
from vlcp.model.patches import Patch


def create_logical_ports(view: ChangeView, ports: Sequence[Placed[LogicalPort]]) -> Outcome:
    """Create all of them or none; a port in a subnet gets the lowest free address unless it asks for one.

    `MissingError` for an unknown network or subnet, `InUseError` for an id, a MAC address or an IP address that is
    taken and for a subnet without free addresses, `InvalidError` for an address that the subnet does not hand out.
    """
    known = fetch(view, (key for _, port in ports for key in _keys_read(port)))
    for placed in ports:
        _check(placed, known)
    allocated = _allocate(view, ports, known)
    created = [
        msgspec.structs.replace(port, ip_address=format_address(allocated[port.id]))
        if port.id in allocated
        else port
        for _, port in ports
    ]
    writes: dict[str, Any] = {}
    for port in created:
        writes.update(_written(port))
    return Outcome(writes, answer=created)


def _keys_read(port: LogicalPort) -> Iterator[str]:
    yield keys.logical_network(port.logicalnetwork)
    if port.subnet is not None:
        yield keys.subnet(port.subnet)
    yield from (key for key, _ in _written(port))


def _mac_claim(port: LogicalPort) -> str:
    return keys.member(keys.macs_of(port.logicalnetwork), port.mac_address)


def _address_claim(subnet: str, address: str) -> str:
    return keys.member(keys.addresses_of(subnet), address)


def _written(port: LogicalPort) -> Iterator[tuple[str, Any]]:
    """The keys of a port with their values: the object, its summary for the network, and what it claims."""
    summary = NetworkPort(mac=port.mac_address, ip=port.ip_address, subnet=port.subnet)
    yield keys.logical_port(port.id), port
    yield keys.member(keys.ports_of(port.logicalnetwork), port.id), summary
    yield _mac_claim(port), port.id
    if port.subnet is not None and port.ip_address is not None:
        yield _address_claim(port.subnet, port.ip_address), port.id


def _check(placed: Placed[LogicalPort], known: Mapping[str, Any]) -> None:
    port = placed.value
    network = port.logicalnetwork
    must_exist(known[keys.logical_network(network)], placed.at("logicalnetwork"), "logical network", network)
    must_not_exist(known[keys.logical_port(port.id)], placed.at("id"), "logical port", port.id)
    if (owner := known[_mac_claim(port)]) is not None:
        raise InUseError(
            f"{placed.place}mac_address is {port.mac_address}, which logical port {owner!r} has"
            f" in logical network {network!r}"
        )
    if port.subnet is not None:
        subnet = must_exist(known[keys.subnet(port.subnet)], placed.at("subnet"), "subnet", port.subnet)
        _check_subnet(placed, subnet)
        if port.ip_address is not None:
            _check_address(placed, port.ip_address, subnet)
            _check_unclaimed(placed, port.ip_address, subnet, known)


def _check_subnet(placed: Placed[LogicalPort], subnet: Subnet) -> None:
    if subnet.logicalnetwork != placed.value.logicalnetwork:
        raise InvalidError(
            f"{placed.place}subnet is {subnet.id!r}, which is a subnet of logical network"
            f" {subnet.logicalnetwork!r}, not of {placed.value.logicalnetwork!r}"
        )


def _check_address(placed: Placed[LogicalPort], address: str, subnet: Subnet) -> None:
    """Whether the subnet hands out the address."""
    text = f"{placed.place}ip_address is {address}"
    first, last = _allocated(subnet)
    if not first <= parse_address(address) <= last:
        raise InvalidError(
            f"{text}, but must be from {subnet.allocated_start} to {subnet.allocated_end} in subnet {subnet.id!r}"
        )
    if address == subnet.gateway:
        raise InvalidError(f"{text}, which is the gateway of subnet {subnet.id!r}")
    if address == subnet.dhcp_server:
        raise InvalidError(f"{text}, which is the DHCP server of subnet {subnet.id!r}")


def _check_unclaimed(
    placed: Placed[LogicalPort], address: str, subnet: Subnet, known: Mapping[str, Any]
) -> None:
    owner = known[_address_claim(subnet.id, address)]
    if owner is not None:
        raise InUseError(
            f"{placed.place}ip_address is {address}, which {owner!r} has in subnet {subnet.id!r}"
        )


def _allocated(subnet: Subnet) -> tuple[int, int]:
    return parse_address(subnet.allocated_start), parse_address(subnet.allocated_end)


def _allocate(
    view: ChangeView, ports: Sequence[Placed[LogicalPort]], known: Mapping[str, Any]
) -> dict[str, int]:
    """Port id -> address, for the ports that are in a subnet and ask for no address."""
    waiting: defaultdict[str, list[Placed[LogicalPort]]] = defaultdict(list)
    reserved: defaultdict[str, set[int]] = defaultdict(set)
    for placed in ports:
        port = placed.value
        if port.subnet is not None and port.ip_address is None:
            waiting[port.subnet].append(placed)
        elif port.subnet is not None and port.ip_address is not None:
            reserved[port.subnet].add(parse_address(port.ip_address))
    picks = together(
        *(
            partial(_pick, view, known[keys.subnet(subnet)], placed, reserved[subnet])
            for subnet, placed in waiting.items()
        )
    )
    return {port: address for picked in picks for port, address in picked.items()}


def _pick(
    view: ChangeView, subnet: Subnet, waiting: Sequence[Placed[LogicalPort]], reserved: set[int]
) -> dict[str, int]:
    """A free address of the subnet for each port. Two rounds of reads, and one more if the free ones were not."""
    own = {parse_address(address) for address in (subnet.gateway, subnet.dhcp_server) if address is not None}
    candidates = _candidates(view, subnet, reserved | own)
    chosen: list[int] = []
    while len(chosen) < len(waiting):
        addresses = list(islice(candidates, len(waiting) - len(chosen)))
        if not addresses:
            raise InUseError(
                f"{waiting[len(chosen)].at('subnet')}no address is free in subnet {subnet.id!r}"
                f" ({subnet.allocated_start} to {subnet.allocated_end})"
            )
        owners = view.many([_address_claim(subnet.id, format_address(address)) for address in addresses])
        chosen += [address for address, owner in zip(addresses, owners, strict=True) if owner is None]
    return {placed.value.id: address for placed, address in zip(waiting, chosen, strict=True)}


def _candidates(view: ChangeView, subnet: Subnet, excluded: set[int]) -> Iterator[int]:
    """The addresses that seem free, the best first, each once."""
    directory, (first, last) = keys.addresses_of(subnet.id), _allocated(subnet)
    offered = view.free(directory, first, last, address_name)
    for address in chain(offered, _unlisted(view, directory, first, last)):
        if address not in excluded:
            excluded.add(address)
            yield address


def _unlisted(view: ChangeView, directory: str, first: int, last: int) -> Iterator[int]:
    """What is offered may be behind the store; only when a listing agrees is nothing free."""
    taken = set(view.members(directory))
    yield from (address for address in range(first, last + 1) if address_name(address) not in taken)


def address_name(address: int) -> str:
    """The name of an address in the directory of those that are taken."""
    return keys.escape(format_address(address))


class _Changed(NamedTuple):
    """A logical port before and after a change."""

    place: str
    before: LogicalPort
    after: LogicalPort


def update_logical_ports(view: View, patches: Sequence[Placed[Patch[str]]]) -> Outcome:
    """Change all of them or none. Ports of one call may take over each other's addresses.

    `MissingError`, `InUseError` for a MAC address or an IP address that is taken, `InvalidError` for an address that
    the subnet does not hand out and for one that two ports want.
    """
    ids = [Placed(place, patch.id) for place, patch in patches]
    stored: list[LogicalPort] = stored_objects(view, ids, keys.logical_port, "logical port")
    changed = [
        _Changed(place, port, patch.applied(port))
        for (place, patch), port in zip(patches, stored, strict=True)
    ]
    before = {key: value for each in changed for key, value in _written(each.before)}
    after = {key: value for each in changed for key, value in _written(each.after)}
    different = [key for key in before | after if before.get(key) != after.get(key)]
    moved = [each for each in changed if each.after.ip_address != each.before.ip_address]
    known = fetch(view, [*different, *(keys.subnet(_subnet_of(each)) for each in moved)])
    for each in moved:
        if each.after.ip_address is not None:
            subnet = known[keys.subnet(_subnet_of(each))]
            _check_address(Placed(each.place, each.after), each.after.ip_address, subnet)
    _check_claims(changed, known)
    writes: dict[str, Any] = {keys.logical_port(each.after.id): each.after for each in changed}
    writes |= {key: after.get(key) for key in different}
    return Outcome(writes, answer=[each.after for each in changed])


def _subnet_of(changed: _Changed) -> str:
    """The subnet of a port that has an address now."""
    port = changed.after
    if port.subnet is None:
        raise InvalidError(
            f"{changed.place}ip_address is {port.ip_address}, but logical port {port.id!r} is in no subnet"
        )
    return port.subnet


def _claims(port: LogicalPort) -> dict[str, str]:
    """Attribute -> the key that claims its value."""
    claims = {"mac_address": _mac_claim(port)}
    if port.subnet is not None and port.ip_address is not None:
        claims["ip_address"] = _address_claim(port.subnet, port.ip_address)
    return claims


def _check_claims(changed: Sequence[_Changed], known: Mapping[str, Any]) -> None:
    """Whether each new address is free or given up in the same call, and wanted only once."""
    kept: dict[str, str] = {}
    given_up: set[str] = set()
    for each in changed:
        after = _claims(each.after)
        for attribute, claim in _claims(each.before).items():
            if after[attribute] == claim:
                kept[claim] = each.after.id
            else:
                given_up.add(claim)
    wanted: dict[str, str] = {}
    for each in changed:
        for attribute, claim in _claims(each.after).items():
            if kept.get(claim) == each.after.id:
                continue
            text = f"{each.place}{attribute} is {getattr(each.after, attribute)}, which "
            if claim in wanted:
                raise InvalidError(f"{text}{wanted[claim]}{attribute} is already")
            wanted[claim] = each.place
            owner = kept.get(claim) or (None if claim in given_up else known[claim])
            if owner is not None:
                raise InUseError(f"{text}{owner!r} has in logical network {each.after.logicalnetwork!r}")


def delete_logical_ports(view: View, ids: Sequence[Placed[str]]) -> Outcome:
    """Delete all of them or none, and free their addresses. `MissingError` for an id that does not exist."""
    ports: list[LogicalPort] = stored_objects(view, ids, keys.logical_port, "logical port")
    return deletion(view, (key for port in ports for key, _ in _written(port)))
