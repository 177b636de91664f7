"""What update calls change: from what a caller gave to checked values, to be put over the object that is stored.

None takes an attribute away, so that it is as if it had never been given; for DHCP attributes it says "do not send
this". What an object must have cannot be taken away, and what the rest of the network is built on cannot be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from vlcp.model import params
from vlcp.model.addresses import format_address, parse_prefix
from vlcp.model.fields import Field, NotAllowedError
from vlcp.model.keys import PortName
from vlcp.model.objects import LogicalNetwork, LogicalPort, PhysicalNetwork, PhysicalPort, Stored, Subnet
from vlcp.model.params import Item, Placed

Name = TypeVar("Name")
AnyStored = TypeVar("AnyStored", PhysicalNetwork, PhysicalPort, LogicalNetwork, Subnet, LogicalPort)


class Patch(NamedTuple, Generic[Name]):
    """The changes of one object. `id` names it."""

    id: Name
    values: Mapping[str, Any]
    """Attribute -> its new value."""
    extra: Mapping[str, Any]
    """Attribute that nobody here interprets -> its new value; None: it goes."""

    def applied(self, stored: AnyStored) -> AnyStored:
        """The object as it is afterwards."""
        extra = {
            name: value
            for name, value in {**stored.extra, **self.extra}.items()
            if value is not None or name not in self.extra
        }
        return msgspec.structs.replace(stored, **self.values, extra=extra)


class _Shape(NamedTuple):
    """What a kind of object has."""

    defaults: Mapping[str, Any]
    """Attribute -> its value when it is not given, for those that may be taken away."""
    known: Mapping[str, Field[Any]]
    """Its parameters."""
    names: frozenset[str]
    """Those that name the object."""
    fixed: Mapping[str, str]
    """Parameter that cannot be changed -> what is allowed."""


def _fixed(**whats: str) -> Mapping[str, str]:
    return {name: f"absent: {what} cannot be changed" for name, what in whats.items()}


def _defaults(stored: type[Stored]) -> dict[str, Any]:
    return {
        field.name: field.default
        for field in msgspec.structs.fields(stored)
        if field.default is not msgspec.NODEFAULT and field.name not in params.NULLABLE
    }


_ENDS = ("allocated_start", "allocated_end")
"""The ends of the range that a subnet hands out. Without them it is all of its prefix, which the stored one knows."""

_ID = frozenset({"id"})
_PHYSICAL_NETWORK = _Shape(
    _defaults(PhysicalNetwork), params.PHYSICAL_NETWORK, _ID, _fixed(type="the type of a physical network")
)
_PHYSICAL_PORT = _Shape(
    _defaults(PhysicalPort),
    params.PHYSICAL_PORT,
    frozenset(PortName._fields),
    _fixed(physicalnetwork="the physical network of a physical port"),
)
_LOGICAL_NETWORK = _Shape(
    _defaults(LogicalNetwork),
    params.LOGICAL_NETWORK,
    _ID,
    _fixed(physicalnetwork="the physical network of a logical network"),
)
_SUBNET = _Shape(
    _defaults(Subnet) | dict.fromkeys(_ENDS),
    params.SUBNET,
    _ID,
    _fixed(
        logicalnetwork="the logical network of a subnet",
        isexternal="whether a subnet is external",
    ),
)
_LOGICAL_PORT = _Shape(
    # A port in a subnet always has an address.
    {name: value for name, value in _defaults(LogicalPort).items() if name != "ip_address"},
    params.LOGICAL_PORT,
    _ID,
    _fixed(
        logicalnetwork="the logical network of a logical port",
        network="the logical network of a logical port",
        subnet="the subnet of a logical port",
    ),
)


def physical_networks(items: Iterable[Item]) -> list[Placed[Patch[str]]]:
    """The changes of physical networks."""
    return _patches(items, _PHYSICAL_NETWORK)


def logical_networks(items: Iterable[Item]) -> list[Placed[Patch[str]]]:
    """The changes of logical networks."""
    return _patches(items, _LOGICAL_NETWORK)


def subnets(items: Iterable[Item]) -> list[Placed[Patch[str]]]:
    """The changes of subnets, for `patched_subnet`: a None in `allocated_start` or `allocated_end` remains."""
    return _patches(items, _SUBNET)


def logical_ports(items: Iterable[Item]) -> list[Placed[Patch[str]]]:
    """The changes of logical ports."""
    return _patches(items, _LOGICAL_PORT)


def physical_ports(items: Iterable[Item]) -> list[Placed[Patch[PortName]]]:
    """The changes of physical ports."""
    placed = [Placed(item.place, _patch(item, _PHYSICAL_PORT, params.port_name(item))) for item in items]
    params.distinct(placed, "name", lambda patch: patch.id[::-1])
    return placed


def _patches(items: Iterable[Item], shape: _Shape) -> list[Placed[Patch[str]]]:
    placed = [
        Placed(item.place, _patch(item, shape, params.required_value(item, "id", shape.known["id"])))
        for item in items
    ]
    params.distinct(placed, "id", lambda patch: patch.id)
    return placed


def _patch(item: Item, shape: _Shape, named: Name) -> Patch[Name]:
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in item.value.items():
        refused = shape.fixed.get(name) or params.REFUSED.get(name)
        if refused is not None:
            raise NotAllowedError(value, refused, name).at(item.place)
        if name not in shape.known:
            extra[name] = value
        elif name not in shape.names:
            values[name] = _value(item, shape, name, value)
    return Patch(named, values, params.extra_values(extra, item.place))


def _value(item: Item, shape: _Shape, name: str, value: Any) -> Any:
    """The new value of a known attribute; for None the one that it has when it is not given."""
    if value is None and name in shape.defaults:
        return shape.defaults[name]
    return params.field_value(shape.known[name], name, value, item.place)


def patched_subnet(placed: Placed[Patch[str]], stored: Subnet) -> Subnet:
    """A subnet as it is afterwards; an end of the range that was the end of the prefix moves with the prefix."""
    patch = placed.value
    cidr = patch.values.get("cidr", stored.cidr)
    values = dict(patch.values)
    hosts_before, hosts_now = parse_prefix(stored.cidr).hosts, parse_prefix(cidr).hosts
    for attribute, before, now in zip(_ENDS, hosts_before, hosts_now, strict=True):
        own = values.get(attribute, getattr(stored, attribute))
        follows = attribute not in values and own == format_address(before)
        values[attribute] = format_address(now) if own is None or follows else own
    subnet = patch._replace(values=values).applied(stored)
    params.check_subnet(placed.place, subnet, patch.values)
    return subnet
