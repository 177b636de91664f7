"""Scenarios as text: the network and what is plugged in, then every flow and group that the rules make of it.

A file begins with a sentence. Then one object or event a line:

    features NAME ...                   which features are loaded; without this line all of them
    network ID NAME=VALUE ...           a logical network, by the names of `vlcp.model.objects`
    subnet ID NAME=VALUE ...
    port ID NAME=VALUE ...              a logical port
    plug ID PORT                        the interface with this iface-id is at this OpenFlow port
    dhcp PORT KIND MAC [NAME=VALUE ...] a DHCP message comes up from the port; `expect` shows the reply
    delete KIND ID, unplug ID           as it says

What follows `=== expect` is made by `expected`, in the words of ovs-ofctl(8); each flow with the call that wants it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from vlcp.datapath.facts import Facts, SwitchSource
from vlcp.datapath.packets import answer
from vlcp.datapath.tables import Desired
from vlcp.derive.graph import Call
from vlcp.derive.plain import PlainView, recompute
from vlcp.flow import facts
from vlcp.flow.features import arpresponder, dhcpserver, ioprocessing, l2switch
from vlcp.flow.leases import Settings
from vlcp.flow.rules import Feature, cookie_of
from vlcp.flow.tables import Table
from vlcp.model import keys
from vlcp.model.addresses import address_number, format_address, mac_number
from vlcp.model.objects import LogicalNetwork, LogicalPort, NetworkPort, Stored, Subnet
from vlcp.wire import dhcp
from vlcp.wire.ethernet import BROADCAST, IPV4, Frame
from vlcp.wire.ipv4 import Packet
from vlcp.wire.openflow import GroupType, Match, PacketIn, format_flow, format_group
from vlcp.wire.udp import Datagram

FEATURES = {
    feature.name: feature
    for feature in (ioprocessing.FEATURE, l2switch.FEATURE, arpresponder.FEATURE, dhcpserver.FEATURE)
}
EXPECT = "=== expect\n"


class Scenario:
    """The world that the lines of a file make; it is the store as rules read it, too."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, Stored] = {}
        self.facts = Facts(lambda: None)
        self.facts.know(facts.INTERFACES)
        self.features = list(FEATURES.values())
        self.replies: list[str] = []
        self._packets: list[tuple[str, ...]] = []
        title, *lines = text.strip().splitlines()
        self.title = title
        for line in filter(None, lines):
            self._take(line.split())
        for feature in self.features:
            settings = Settings() if feature is dhcpserver.FEATURE else None
            self.facts.set(facts.settings(feature.name), settings)
        self.source = SwitchSource(self.facts, self)

    # What the rules read of the store.

    def get(self, key: Any) -> Any:
        return self.values.get(key)

    def members(self, directory: Any) -> Any:
        return {key[len(directory) :] for key in self.values if key.startswith(directory)}

    # Lines.

    def _take(self, words: list[str]) -> None:
        verb, *arguments = words
        lines: dict[str, Callable[..., None]] = {
            "features": self._load,
            "network": self._network,
            "subnet": self._subnet,
            "port": self._port,
            "plug": self._plug,
            "unplug": self._unplug,
            "delete": self._delete,
            "dhcp": lambda *words: self._packets.append(words),
        }
        lines[verb](*arguments)

    def _load(self, *names: str) -> None:
        self.features = [FEATURES[name] for name in names]

    def _network(self, name: str, *attributes: str) -> None:
        values = _attributes(attributes)
        self.values[keys.logical_network(name)] = LogicalNetwork(id=name, physicalnetwork="p", **values)

    def _subnet(self, name: str, *attributes: str) -> None:
        bounds: dict[str, Any] = {"allocated_start": "0.0.0.0", "allocated_end": "0.0.0.0"}
        self.values[keys.subnet(name)] = Subnet(id=name, **bounds, **_attributes(attributes))

    def _port(self, name: str, *attributes: str) -> None:
        port = LogicalPort(id=name, **_attributes(attributes))
        self.values[keys.logical_port(name)] = port
        summary = NetworkPort(mac=port.mac_address, ip=port.ip_address, subnet=port.subnet)
        self.values[keys.member(keys.ports_of(port.logicalnetwork), name)] = summary

    def _plug(self, iface_id: str, number: str) -> None:
        ofport = int(number)
        self.facts.set(facts.interface(iface_id), facts.Interface(f"tap{ofport}", ofport))
        self.facts.set(facts.iface_id_at(ofport), iface_id)
        self.facts.set(facts.port(ofport), facts.Port(f"tap{ofport}", ofport))
        self.facts.join(facts.INTERFACES, iface_id)

    def _unplug(self, iface_id: str) -> None:
        self.facts.set(facts.interface(iface_id), None)
        self.facts.leave(facts.INTERFACES, iface_id)

    def _delete(self, kind: str, name: str) -> None:
        key_of = {"network": keys.logical_network, "subnet": keys.subnet, "port": keys.logical_port}[kind]
        gone = self.values.pop(key_of(name))
        if isinstance(gone, LogicalPort):
            del self.values[keys.member(keys.ports_of(gone.logicalnetwork), name)]

    # What is expected.

    def desired(self) -> tuple[Desired, dict[int, Call]]:
        """What the switch shall hold, worked out from nothing, and the call behind each cookie."""
        desired = Desired()
        roots = [(root, ()) for feature in self.features for root in feature.roots]
        products = recompute(self.source, roots)
        for call, items in products.items():
            desired.exchange(call, (), items)
        return desired, {cookie_of(call): call for call in products}

    def expected(self) -> str:
        """The expectation as text."""
        desired, calls = self.desired()
        assert not desired.conflicts, desired.conflicts
        return "\n".join([*_flow_lines(desired, calls), *_group_lines(desired), *self._reply_lines()]) + "\n"

    def _reply_lines(self) -> Iterator[str]:
        if self._packets:
            yield "\n# replies"
        for port, kind, mac, *attributes in self._packets:
            frame = _request(kind, mac_number(mac), _attributes(attributes))
            message = PacketIn(
                cookie=dhcpserver.FEATURE.number << 56, match=Match(in_port=int(port)), data=frame
            )
            loaded: dict[int, Feature] = {feature.number: feature for feature in self.features}
            sent = answer(PlainView(self.source), loaded, message)
            shown = [f"port {effect.port}: {_described(effect.frame)}" for effect in sent]
            yield f"{kind} of {mac} at port {port} -> {' '.join(shown) or 'no answer'}"


def _attributes(words: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """`name=value` each; a value is a Python literal, or a text when it is none."""
    return {name: _literal(value) for name, _, value in (word.partition("=") for word in words)}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _flow_lines(desired: Desired, calls: dict[int, Call]) -> Iterator[str]:
    for table in Table:
        yield f"\n# table {table}: {table.name}"
        flows = [(key, value) for key, value in desired.flows.items() if key.table == table]
        for (_, priority, match), value in sorted(flows, key=lambda flow: (-flow[0].priority, flow[0].match)):
            line = format_flow(table, priority, value.cookie, match, value.instructions)
            yield f"{line}  # {_shown(calls[value.cookie])}"


def _group_lines(desired: Desired) -> Iterator[str]:
    if desired.groups:
        yield "\n# groups"
    for number, buckets in sorted(desired.groups.items()):
        yield format_group(number, GroupType.ALL, buckets)


def _shown(call: Call) -> str:
    rule, *arguments = call
    return f"{rule.feature.name}.{rule.__name__}({', '.join(map(str, arguments))})"


def _request(kind: str, mac: int, attributes: dict[str, Any]) -> bytes:
    """A DHCP message of a machine, in the frame that it sends (RFC 2131, 4.4)."""
    options: dict[int, bytes] = {dhcp.Option.MESSAGE_TYPE: bytes([dhcp.MessageType[kind.upper()]])}
    if "wants" in attributes:
        options[dhcp.Option.REQUESTED_ADDRESS] = address_number(attributes["wants"]).to_bytes(4, "big")
    message = dhcp.Message(
        op=dhcp.BOOT_REQUEST, xid=1, hardware_address=mac.to_bytes(6, "big"), options=options
    )
    datagram = Datagram(dhcp.CLIENT_PORT, dhcp.SERVER_PORT, message.pack()).pack(0, 0xFFFFFFFF)
    return Frame(BROADCAST, mac, IPV4, Packet(0, 0xFFFFFFFF, 17, datagram).pack()).pack()


def _described(frame: bytes) -> str:
    """The DHCP message in a frame, in words."""
    packet = Packet.unpack(Frame.unpack(frame).payload)
    datagram = Datagram.unpack(packet.payload, packet.source, packet.destination)
    message = dhcp.Message.unpack(datagram.payload)
    told = {code: value.hex() for code, value in message.options.items()}
    kind = dhcp.MessageType(message.message_type or 0).name
    source, yours = format_address(packet.source), format_address(message.yiaddr)
    return f"{kind} {yours} from {source}, options {told}"
