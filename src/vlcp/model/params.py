"""The parameters of API calls: from what a caller gave to typed values, with every check that needs no view.

A create call becomes a sequence of `Placed` objects, complete but for what only the store knows (addresses that are
allocated, the number of a network). Attributes that we do not know are kept as `extra`. Every error names the
parameter and its place: `mtu` in a call for one object, `ports[3].mtu` in a call for several.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

from vlcp.model import fields
from vlcp.model.addresses import Prefix, format_address, parse_address, parse_prefix
from vlcp.model.dhcpoptions import options
from vlcp.model.errors import InUseError, InvalidError, ModelError
from vlcp.model.fields import Field, NotAllowedError, shown
from vlcp.model.keys import PortName
from vlcp.model.kinds import Kinds, kind_of
from vlcp.model.objects import LogicalNetwork, LogicalPort, PhysicalNetwork, PhysicalPort, Subnet

T = TypeVar("T")


class Placed(NamedTuple, Generic[T]):
    """One object of a request, and its place in front of a parameter name in messages: nothing, or `ports[3].`."""

    place: str
    value: T

    def at(self, parameter: str) -> str:
        """The beginning of a message about one parameter of the object, such as `ports[3].id: `."""
        return f"{self.place}{parameter}: "


LARGEST_BATCH = 10_000
"""Objects in one call: one transaction, and no other call is served while it is worked out."""

Item = Placed[dict[str, Any]]
"""One object as the caller described it."""


class Query(NamedTuple):
    """Which objects a list call wants. `parent` is the id of the network that holds them."""

    id: str | None
    parent: str | None
    filters: Mapping[str, Any]
    """Attribute -> value it must have; None: the attribute must be absent."""


class PortQuery(NamedTuple):
    """Which physical ports a list call wants: the one with a name, or all that match."""

    name: PortName | None
    parent: str | None
    filters: Mapping[str, Any]
    """As in `Query`."""


_addresses = fields.nullable(fields.array(fields.address, of="IPv4 addresses"))
_tag_range = fields.pair(
    fields.integer(1, (1 << 24) - 1), fields.integer(1, (1 << 24) - 1), of="[first, last], both numbers"
)
_tag_ranges = fields.array(_tag_range, of="[first, last]")
_tag = fields.integer(1, (1 << 24) - 1)
_route = fields.pair(fields.cidr, fields.address, of="[destination CIDR, next hop]")

_DHCP: dict[str, Field[Any]] = {
    "dns_nameservers": _addresses,
    "domain_name": fields.nullable(fields.name),
    "ntp_servers": _addresses,
    "lease_time": fields.nullable(fields.lease_time),
    "mtu": fields.nullable(fields.integer(68, 65535)),
    "extra_dhcp_options": options,
}

NULLABLE = _DHCP.keys() - {"extra_dhcp_options"}
"""Where None says "do not send this"; with any other parameter of a create call it is the same as leaving it out."""

PHYSICAL_NETWORK: Mapping[str, Field[Any]] = {
    "id": fields.identifier,
    "type": fields.identifier,
    "vlanrange": _tag_ranges,
    "vnirange": _tag_ranges,
}
PHYSICAL_PORT: Mapping[str, Field[Any]] = {
    "physicalnetwork": fields.identifier,
    "name": fields.identifier,
    "vhost": fields.identifier_or_empty,
    "systemid": fields.identifier,
    "bridge": fields.identifier,
}
LOGICAL_NETWORK: Mapping[str, Field[Any]] = {
    "id": fields.identifier,
    "physicalnetwork": fields.identifier,
    "vlanid": _tag,
    "vni": _tag,
    **_DHCP,
}


def _host_config(value: Any) -> dict[str, Any]:
    """One entry of `pre_host_config`: what a subnet is on one host."""
    if not isinstance(value, dict):
        raise NotAllowedError(value, "a dictionary")
    entry = {"vhost": "", "systemid": "%", "bridge": "%", **fields.json_value(value)}
    for attribute, parse in _HOST_CONFIG.items():
        if entry.get(attribute) is not None:
            entry[attribute] = fields.within(parse, f".{attribute}", entry[attribute])
    return entry


_HOST_CONFIG: dict[str, Field[Any]] = {
    "cidr": fields.subnet_cidr,
    "gateway": fields.address,
    "local_address": fields.address,
}
SUBNET: Mapping[str, Field[Any]] = {
    "id": fields.identifier,
    "logicalnetwork": fields.identifier,
    "cidr": fields.subnet_cidr,
    "gateway": fields.address,
    "allocated_start": fields.address,
    "allocated_end": fields.address,
    "host_routes": fields.array(_route, of="[destination CIDR, next hop]"),
    "isexternal": fields.boolean,
    "dhcp_enabled": fields.boolean,
    "dhcp_server": fields.address,
    "pre_host_config": fields.array(_host_config, of="dictionaries"),
    **_DHCP,
}
LOGICAL_PORT: Mapping[str, Field[Any]] = {
    "id": fields.identifier,
    "logicalnetwork": fields.identifier,
    "subnet": fields.identifier,
    "mac_address": fields.mac,
    "ip_address": fields.address,
    "hostname": fields.name,
    **_DHCP,
}
"""The parameters of each kind of object, by the names that callers use."""

REFUSED = {
    "created": "absent: the controller sets it",
    "version": "absent: the controller sets it",
    "router": "absent: connect a subnet to a router with vrouterapi/addrouterinterface",
}
"""Names that cannot be extra attributes."""


def batch(name: str, value: Any) -> list[Item]:
    """The objects of a call for several; `name` is the parameter that holds them."""
    if not isinstance(value, list | tuple):
        raise NotAllowedError(value, "a list of dictionaries", name).at("")
    if len(value) > LARGEST_BATCH:
        raise InvalidError(
            f"{name} has {len(value)} items, but must have at most {LARGEST_BATCH} in one call"
        )
    return [_item(f"{name}[{index}]", item) for index, item in enumerate(value)]


def _item(path: str, value: Any) -> Item:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise NotAllowedError(value, "a dictionary of parameters", path).at("")
    return Placed(f"{path}.", dict(value))


def ids(items: Iterable[Item]) -> list[Placed[str]]:
    """The ids of a delete call; further attributes are ignored, so that objects can be given as they were listed."""
    placed = [Placed(item.place, required_value(item, "id", fields.identifier)) for item in items]
    distinct(placed, "id", lambda each: each)
    return placed


def query(known: Mapping[str, Field[Any]], parent: str | None, given: Mapping[str, Any]) -> Query:
    """The parameters of a list call: filters are read as the attribute would be. `parent` is a parameter's name."""
    wanted = {
        name: value if value is None else field_value(known.get(name, fields.json_value), name, value)
        for name, value in given.items()
    }
    above = wanted.pop(parent, None) if parent is not None else None
    return Query(wanted.pop("id", None), above, wanted)


def port_query(given: Mapping[str, Any]) -> PortQuery:
    """The parameters of a list call for physical ports.

    `given` has all that names a port. With a name it is one port; without, the rest filters unless it is a default.
    """
    own_id, parent, wanted = query(PHYSICAL_PORT, "physicalnetwork", given)
    named = {name: wanted[name] for name in PortName._fields}
    filters = {name: value for name, value in wanted.items() if name not in named}
    if own_id is not None:
        filters["id"] = own_id  # an attribute like any other
    if named["name"] is not None:
        return PortQuery(PortName(**named), parent, filters)
    defaults = PortName._field_defaults
    return PortQuery(
        None, parent, filters | {name: value for name, value in named.items() if value != defaults.get(name)}
    )


def physical_networks(items: Sequence[Item], kinds: Kinds, now: int) -> list[Placed[PhysicalNetwork]]:
    """The physical networks to be created, each as its kind allows it."""
    placed = [Placed(item.place, _physical_network(item, now)) for item in items]
    distinct(placed, "id", lambda network: network.id)
    for place, network in placed:
        kind = kind_of(network, kinds, f"{place}type")
        try:
            kind.check_physical_network(network)
        except NotAllowedError as error:
            raise error.at(place) from None
    return placed


def _physical_network(item: Item, now: int) -> PhysicalNetwork:
    values = _attributes(item, PHYSICAL_NETWORK, "id", "type")
    return PhysicalNetwork(kind=values.pop("type"), created=now, **values)


def physical_ports(items: Sequence[Item], now: int) -> list[Placed[PhysicalPort]]:
    """The physical ports to be created."""
    placed = [
        Placed(
            item.place,
            PhysicalPort(created=now, **_attributes(item, PHYSICAL_PORT, "physicalnetwork", "name")),
        )
        for item in items
    ]
    distinct(placed, "name", lambda port: port.port_name[::-1])
    return placed


def port_names(items: Iterable[Item]) -> list[Placed[PortName]]:
    """Which physical ports a call means; further attributes are ignored, as in `ids`."""
    placed = [Placed(item.place, port_name(item)) for item in items]
    distinct(placed, "name", lambda name: name[::-1])
    return placed


def port_name(item: Item) -> PortName:
    """What names one physical port."""
    given = {name: value for name in PortName._fields if (value := item.value.get(name)) is not None}
    values = {
        name: field_value(PHYSICAL_PORT[name], name, value, item.place) for name, value in given.items()
    }
    return PortName(**{"name": required_value(item, "name", fields.identifier), **values})


def logical_networks(items: Sequence[Item], now: int) -> list[Placed[LogicalNetwork]]:
    """The logical networks to be created; their number is 0 for now."""
    placed = [
        Placed(
            item.place,
            LogicalNetwork(
                number=0, created=now, **_attributes(item, LOGICAL_NETWORK, "id", "physicalnetwork")
            ),
        )
        for item in items
    ]
    distinct(placed, "id", lambda network: network.id)
    return placed


def subnets(items: Sequence[Item], now: int) -> list[Placed[Subnet]]:
    """The subnets to be created, with the range of addresses that they hand out."""
    placed = [Placed(item.place, _subnet(item, now)) for item in items]
    distinct(placed, "id", lambda subnet: subnet.id)
    return placed


def _subnet(item: Item, now: int) -> Subnet:
    values = _attributes(item, SUBNET, "id", "logicalnetwork", "cidr")
    prefix = parse_prefix(values["cidr"])
    for attribute, default in zip(("allocated_start", "allocated_end"), prefix.hosts, strict=True):
        values.setdefault(attribute, format_address(default))
    subnet = Subnet(created=now, **values)
    check_subnet(item.place, subnet, SUBNET)
    return subnet


def check_subnet(place: str, subnet: Subnet, given: Container[str]) -> None:
    """Whether the attributes of a subnet go together.

    `given` are the attributes that the request has: `InvalidError` for one of them, `InUseError` for one of before.
    """
    prefix = parse_prefix(subnet.cidr)
    for attribute in ("gateway", "allocated_start", "allocated_end"):
        _check_host(_wrong(attribute in given), place + attribute, getattr(subnet, attribute), prefix)
    if parse_address(subnet.allocated_start) > parse_address(subnet.allocated_end):
        raise InvalidError(
            f"{place}allocated_start is {subnet.allocated_start}, but must not be"
            f" above allocated_end, {subnet.allocated_end}"
        )
    error = _wrong("pre_host_config" in given)
    for index, entry in enumerate(subnet.pre_host_config):
        own = parse_prefix(entry.get("cidr") or subnet.cidr)
        for attribute in ("gateway", "local_address"):
            _check_host(error, f"{place}pre_host_config[{index}].{attribute}", entry.get(attribute), own)


def _wrong(given: bool) -> type[ModelError]:
    return InvalidError if given else InUseError


def _check_host(error: type[ModelError], where: str, address: str | None, prefix: Prefix) -> None:
    """Whether a machine in the prefix may have the address."""
    first, last = prefix.hosts
    if address is not None and not first <= parse_address(address) <= last:
        raise error(
            f"{where} is {address}, but must be from {format_address(first)} to {format_address(last)}"
            f" to be a machine's address in {prefix}"
        )


def logical_ports(items: Sequence[Item], now: int) -> list[Placed[LogicalPort]]:
    """The logical ports to be created; those in a subnet may still lack an address."""
    placed = [Placed(item.place, _logical_port(item, now)) for item in items]
    distinct(placed, "id", lambda port: port.id)
    distinct(placed, "mac_address", lambda port: (port.logicalnetwork, port.mac_address))
    distinct(placed, "ip_address", lambda port: port.ip_address and (port.subnet, port.ip_address))
    return placed


def _logical_port(item: Item, now: int) -> LogicalPort:
    port = LogicalPort(created=now, **_attributes(item, LOGICAL_PORT, "id", "logicalnetwork", "mac_address"))
    if port.ip_address is not None and port.subnet is None:
        raise InvalidError(
            f"{item.place}ip_address is {port.ip_address}, but the port is in no subnet; give its subnet too"
        )
    return port


def _attributes(item: Item, known: Mapping[str, Field[Any]], *required: str) -> dict[str, Any]:
    """Known parameters with their values checked, the others under `extra`."""
    values: dict[str, Any] = {name: required_value(item, name, known[name]) for name in required}
    extra: dict[str, Any] = {}
    for name, value in item.value.items():
        if name in known:
            if name not in required and (value is not None or name in NULLABLE):
                values[name] = field_value(known[name], name, value, item.place)
        elif name in REFUSED:
            raise NotAllowedError(value, REFUSED[name], name).at(item.place)
        else:
            extra[name] = value
    return {**values, "extra": extra_values(extra, item.place)}


def extra_values(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Attributes that nobody here interprets, if they can be stored."""
    try:
        return cast(dict[str, Any], fields.json_value(values))
    except NotAllowedError as error:
        raise error.at(place) from None


def required_value(item: Item, name: str, field: Field[T]) -> T:
    """The value of a parameter that must be given."""
    if item.value.get(name) is None:
        raise InvalidError(f"{item.place}{name} is missing")
    return field_value(field, name, item.value[name], item.place)


def field_value(field: Field[T], name: str, value: Any, place: str = "") -> T:
    """The value of one parameter; `InvalidError` names it."""
    try:
        return field(value)
    except NotAllowedError as error:
        raise error.below(name).at(place) from None


def distinct(placed: Sequence[Placed[T]], name: str, key: Callable[[T], Hashable]) -> None:
    """Whether no two objects of the request have the same key; None is no key."""
    seen: dict[Hashable, str] = {}
    for place, value in placed:
        what = key(value)
        if what in seen and what is not None:
            given = shown(what[-1] if isinstance(what, tuple) else what)
            raise InvalidError(f"{place}{name} is {given}, which {seen[what]}{name} is already")
        seen[what] = place
