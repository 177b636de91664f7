"""The objects of the network, as they are stored and as the data plane reads them. All are immutable.

`created` is the store's time of creation in microseconds since 1970. `extra` holds attributes that callers
added and that nobody here interprets. A DHCP attribute that is UNSET says nothing; None says "do not send it",
even if the network does. Addresses are canonical text: dotted IPv4, `a.b.c.d/p` with host bits cleared,
lower-case MAC with colons.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vlcp.model.keys import PortName

Range = tuple[int, int]
"""First and last number, both included."""


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base of everything that is stored under a key."""


class DhcpAttributes(Stored, frozen=True, kw_only=True):
    """What a network, subnet or port may tell its machines by DHCP."""

    dns_nameservers: tuple[str, ...] | UnsetType | None = UNSET
    domain_name: str | UnsetType | None = UNSET
    ntp_servers: tuple[str, ...] | UnsetType | None = UNSET
    lease_time: int | str | UnsetType | None = UNSET
    """Seconds, or `infinite`."""
    mtu: int | UnsetType | None = UNSET
    extra_dhcp_options: tuple[tuple[int | str, Any], ...] = ()
    """Pairs of option code or name, and value."""


class PhysicalNetwork(Stored, frozen=True, kw_only=True, tag="physicalnetwork"):
    """A network that carries logical networks. `kind`: local, native, vlan, vxlan or a driver's own."""

    id: str
    kind: str
    created: int = 0
    vlanrange: tuple[Range, ...] | None = None
    vnirange: tuple[Range, ...] | None = None
    extra: dict[str, Any] = {}


class PhysicalPort(Stored, frozen=True, kw_only=True, tag="physicalport"):
    """A port of switches that a physical network is connected to; see `keys.PortName` for what names it."""

    name: str
    physicalnetwork: str
    vhost: str = ""
    systemid: str = "%"
    bridge: str = "%"
    created: int = 0
    extra: dict[str, Any] = {}

    @property
    def port_name(self) -> PortName:
        """What names it."""
        return PortName(self.name, self.vhost, self.systemid, self.bridge)


class LogicalNetwork(DhcpAttributes, frozen=True, kw_only=True, tag="logicalnetwork"):
    """One broadcast domain. `number` names it in the registers and groups of every switch (1 .. 2**25 - 1, unique)."""

    id: str
    physicalnetwork: str
    number: int
    created: int = 0
    vlanid: int | None = None
    vni: int | None = None
    extra: dict[str, Any] = {}


class Subnet(DhcpAttributes, frozen=True, kw_only=True, tag="subnet"):
    """An IPv4 prefix of a logical network; `allocated_start` .. `allocated_end` are handed out to ports."""

    id: str
    logicalnetwork: str
    cidr: str
    allocated_start: str
    allocated_end: str
    created: int = 0
    gateway: str | None = None
    host_routes: tuple[tuple[str, str], ...] = ()
    """Pairs of destination CIDR and next hop."""
    isexternal: bool = False
    dhcp_enabled: bool = True
    dhcp_server: str | None = None
    """Address that the DHCP server uses in this subnet; None: the module's own."""
    pre_host_config: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = {}


class LogicalPort(DhcpAttributes, frozen=True, kw_only=True, tag="logicalport"):
    """The place of one machine in a logical network. Its id is the `iface-id` of the interface plugged."""

    id: str
    logicalnetwork: str
    mac_address: str
    created: int = 0
    subnet: str | None = None
    ip_address: str | None = None
    hostname: str | None = None
    extra: dict[str, Any] = {}


class NetworkPort(Stored, frozen=True, kw_only=True, tag="networkport"):
    """What every host that has the network knows of one of its ports (member of `keys.ports_of`)."""

    mac: str
    ip: str | None = None
    subnet: str | None = None


class Listed(Stored, frozen=True, kw_only=True, tag="listed"):
    """A member of a directory of objects that says only that the object exists."""


StoredObject = PhysicalNetwork | PhysicalPort | LogicalNetwork | Subnet | LogicalPort | NetworkPort | Listed
