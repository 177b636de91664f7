"""Where everything is kept: the key table.

Objects keep the names that users of the object database know (`viperflow.logicalport.<id>`). What belongs
to an object lies in directories below its key, one key a member: `viperflow.logicnetwork.<id>/ports/<port>`.
Ids are escaped, so that every text is a legal id and no key can be read in two ways.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_UNESCAPED = {"+_": "+", "++": ".", "+-": "/"}
_ESCAPED = re.compile(r"\+[_+-]")

PHYSICAL_NETWORKS = "viperflow/physicalnetworks/"
"""Directory of all physical networks."""

NETWORK_NUMBERS = "viperflow/number/"
"""Directory of the numbers of logical networks: member <number> -> id of the logical network."""


class PortName(NamedTuple):
    """What names a physical port: `%` stands for every system id, bridge ..., the empty vhost for the default one."""

    name: str
    vhost: str = ""
    systemid: str = "%"
    bridge: str = "%"

    def __str__(self) -> str:
        """The last part of its key."""
        return ".".join(map(escape, (self.vhost, self.systemid, self.bridge, self.name)))

    @classmethod
    def parse(cls, text: str) -> PortName:
        """The name that `str` gave the text of."""
        vhost, systemid, bridge, name = map(unescape, text.split("."))
        return cls(name, vhost, systemid, bridge)


@lru_cache(maxsize=4096)
def escape(text: str) -> str:
    """An id as a part of a key: `+` becomes `+_`, `.` becomes `++`, `/` becomes `+-`."""
    return text.replace("+", "+_").replace(".", "++").replace("/", "+-")


def unescape(text: str) -> str:
    """The id that `escape` was given."""
    return _ESCAPED.sub(lambda found: _UNESCAPED[found[0]], text)


def physical_network(network: str) -> str:
    """A `PhysicalNetwork`."""
    return f"viperflow.physicalnetwork.{escape(network)}"


def physical_port(port: PortName) -> str:
    """A `PhysicalPort`."""
    return f"viperflow.physicalport.{port}"


def logical_network(network: str) -> str:
    """A `LogicalNetwork`. The prefix is historic: `logicnetwork`."""
    return f"viperflow.logicnetwork.{escape(network)}"


def subnet(subnet_id: str) -> str:
    """A `Subnet`."""
    return f"viperflow.subnet.{escape(subnet_id)}"


def logical_port(port: str) -> str:
    """A `LogicalPort`."""
    return f"viperflow.logicalport.{escape(port)}"


def logical_networks_of(physical_network_id: str) -> str:
    """Directory of the logical networks of a physical network."""
    return f"{physical_network(physical_network_id)}/logicalnetworks/"


def physical_ports_of(physical_network_id: str) -> str:
    """Directory of the physical ports of a physical network: member <text of its `PortName`>."""
    return f"{physical_network(physical_network_id)}/ports/"


def ports_of(logical_network_id: str) -> str:
    """Directory of the logical ports of a logical network: member <port id> -> `NetworkPort`."""
    return f"{logical_network(logical_network_id)}/ports/"


def subnets_of(logical_network_id: str) -> str:
    """Directory of the subnets of a logical network."""
    return f"{logical_network(logical_network_id)}/subnets/"


def macs_of(logical_network_id: str) -> str:
    """Directory of the MAC addresses taken in a logical network: member <mac> -> id of the logical port."""
    return f"{logical_network(logical_network_id)}/mac/"


def addresses_of(subnet_id: str) -> str:
    """Directory of the IPv4 addresses that are taken in a subnet: member <address> -> id of the owner."""
    return f"{subnet(subnet_id)}/ip/"


def member(directory: str, name: str) -> str:
    """The key of a member; `name` is an id or an address, not yet escaped."""
    return directory + escape(name)


def network_number(number: int) -> str:
    """The claim on one number of a logical network."""
    return f"{NETWORK_NUMBERS}{number}"
