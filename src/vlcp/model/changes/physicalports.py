"""Creating, changing and deleting physical ports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vlcp.derive.view import View
from vlcp.model import keys
from vlcp.model.changes.outcome import Outcome, WithKinds, deletion, fetch, must_exist
from vlcp.model.errors import InUseError, MissingError
from vlcp.model.fields import NotAllowedError
from vlcp.model.keys import PortName
from vlcp.model.kinds import Kinds, kind_of
from vlcp.model.objects import Listed, PhysicalNetwork, PhysicalPort
from vlcp.model.params import Placed
from vlcp.model.patches import Patch


def create_physical_ports(view: View, ports: WithKinds[PhysicalPort]) -> Outcome:
    """Create all of them or none.

    `MissingError` for an unknown physical network, `InUseError` for a name that is taken on the same vhost, system id
    and bridge, `InvalidError` for what the kind of the physical network does not allow.
    """
    known = fetch(view, (key for _, port in ports.objects for key in (_carrier_of(port), *_keys_of(port))))
    writes: dict[str, Any] = {}
    for placed in ports.objects:
        port = placed.value
        key, membership = _keys_of(port)
        _check_kind(placed, known[_carrier_of(port)], ports.kinds)
        if known[key] is not None:
            raise InUseError(f"{placed.at('name')}there already is a {_described(port.port_name)}")
        writes |= {key: port, membership: Listed()}
    return Outcome(writes, answer=[port for _, port in ports.objects])


def _carrier_of(port: PhysicalPort) -> str:
    return keys.physical_network(port.physicalnetwork)


def _keys_of(port: PhysicalPort) -> Iterator[str]:
    """The keys that a port is written to: the object, and the list of its physical network."""
    yield keys.physical_port(port.port_name)
    yield keys.member(keys.physical_ports_of(port.physicalnetwork), str(port.port_name))


def _check_kind(placed: Placed[PhysicalPort], carrier: PhysicalNetwork | None, kinds: Kinds) -> None:
    """Whether the physical network is there and its kind allows the port."""
    name = placed.value.physicalnetwork
    at = placed.at("physicalnetwork")
    network = must_exist(carrier, at, "physical network", name)
    try:
        kind_of(network, kinds, f"{at}the type of physical network {name!r}").check_physical_port(
            placed.value
        )
    except NotAllowedError as error:
        raise error.at(placed.place) from None


def _described(name: PortName) -> str:
    return f"physical port {name.name!r} (vhost {name.vhost!r}, systemid {name.systemid!r}, bridge {name.bridge!r})"


def update_physical_ports(view: View, patches: WithKinds[Patch[PortName]]) -> Outcome:
    """Change all of them or none. `MissingError`, or `InvalidError` for what the kind does not allow."""
    stored = _stored(view, [Placed(place, patch.id) for place, patch in patches.objects])
    carriers = fetch(view, map(_carrier_of, stored))
    updated = []
    for (place, patch), port in zip(patches.objects, stored, strict=True):
        patched = Placed(place, patch.applied(port))
        _check_kind(patched, carriers[_carrier_of(port)], patches.kinds)
        updated.append(patched.value)
    return Outcome({keys.physical_port(port.port_name): port for port in updated}, answer=updated)


def delete_physical_ports(view: View, names: Sequence[Placed[PortName]]) -> Outcome:
    """Delete all of them or none. `MissingError` for one that does not exist."""
    return deletion(view, (key for port in _stored(view, names) for key in _keys_of(port)))


def _stored(view: View, names: Sequence[Placed[PortName]]) -> list[PhysicalPort]:
    known = fetch(view, (keys.physical_port(name) for _, name in names))
    ports = []
    for placed in names:
        port: PhysicalPort | None = known[keys.physical_port(placed.value)]
        if port is None:
            raise MissingError(f"{placed.at('name')}there is no {_described(placed.value)}")
        ports.append(port)
    return ports
