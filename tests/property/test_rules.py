"""The rules of all features on random networks: incremental equals recompute, and they never contradict each other."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from vlcp.datapath.facts import Facts, SwitchSource
from vlcp.datapath.tables import Desired
from vlcp.derive.plain import recompute
from vlcp.derive.plan import Plan
from vlcp.flow import facts
from vlcp.flow.features import arpresponder, dhcpserver, ioprocessing, l2switch
from vlcp.flow.leases import Settings
from vlcp.model import keys
from vlcp.model.objects import LogicalNetwork, LogicalPort, NetworkPort, Stored, Subnet

FEATURES = (ioprocessing.FEATURE, l2switch.FEATURE, arpresponder.FEATURE, dhcpserver.FEATURE)
ROOTS = [(root, ()) for feature in FEATURES for root in feature.roots]
SEEDS, STEPS = (200, 200) if os.environ.get("PROOF") else (20, 60)


class Store:
    """The store as rules read it: keys to objects, and directories by their members' names."""

    def __init__(self) -> None:
        self.values: dict[str, Stored] = {}
        self.names: dict[str, set[str]] = {}

    def get(self, key: Any) -> Any:
        return self.values.get(key)

    def members(self, directory: Any) -> Any:
        return self.names.get(directory, set())

    def write(self, key: str, value: Stored | None) -> dict[str, Any]:
        """Change one key; the result is what `Plan.change` must be told."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        directory, slash, name = key.rpartition("/")
        if not slash:
            return {"keys": {key}}
        names = self.names.setdefault(directory + "/", set())
        moved = "left" if value is None else "joined"
        (names.discard if value is None else names.add)(name)
        return {"keys": {key}, moved: {directory + "/": {name}}}


class Cloud:
    """A random network that changes: ports are created, deleted, plugged, unplugged and renumbered."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = Store()
        self.facts = Facts(lambda: None)
        self.desired = Desired()
        self.plan = Plan(SwitchSource(self.facts, self.store), self.desired.exchange)
        for feature in FEATURES:
            self.facts.set(
                facts.settings(feature.name), Settings() if feature is dhcpserver.FEATURE else None
            )
        self.facts.know(facts.INTERFACES)
        for root, arguments in ROOTS:
            self.plan.add_root(root, *arguments)
        for number in range(3):
            self.write(keys.logical_network(f"n{number}"), self.network(number))
            self.write(keys.subnet(f"s{number}"), self.subnet(number))

    def write(self, key: str, value: Stored | None) -> None:
        self.plan.change(**self.store.write(key, value))

    def network(self, number: int) -> LogicalNetwork:
        mtu = self.random.choice((1400, 1500))
        return LogicalNetwork(id=f"n{number}", physicalnetwork="p", number=number + 1, mtu=mtu)

    def subnet(self, number: int) -> Subnet:
        return Subnet(
            id=f"s{number}",
            logicalnetwork=f"n{number}",
            cidr=f"10.0.{number}.0/24",
            gateway=self.random.choice((None, f"10.0.{number}.1")),
            allocated_start=f"10.0.{number}.1",
            allocated_end=f"10.0.{number}.254",
            dhcp_enabled=self.random.random() < 0.7,
            dhcp_server=self.random.choice((None, f"10.0.{number}.2")),
        )

    def step(self) -> None:
        actions = (self.create, self.create, self.delete, self.plug, self.plug, self.unplug, self.renumber)
        self.random.choice((*actions, self.change_network, self.change_subnet))()

    def create(self) -> None:
        number, network = self.random.randrange(1, 40), self.random.randrange(3)
        name, address = f"vm{number}", f"10.0.{network}.{number + 10}"
        self.delete_port(name)
        subnet = self.random.choice((None, f"s{network}"))
        port = LogicalPort(
            id=name,
            logicalnetwork=f"n{network}",
            mac_address=f"02:00:00:00:00:{number:02x}",
            subnet=subnet,
            ip_address=address if subnet else None,
        )
        self.write(keys.logical_port(name), port)
        summary = NetworkPort(mac=port.mac_address, ip=port.ip_address, subnet=subnet)
        self.write(keys.member(keys.ports_of(f"n{network}"), name), summary)

    def delete(self) -> None:
        self.delete_port(f"vm{self.random.randrange(1, 40)}")

    def delete_port(self, name: str) -> None:
        port = self.store.get(keys.logical_port(name))
        if port is not None:
            self.write(keys.logical_port(name), None)
            self.write(keys.member(keys.ports_of(port.logicalnetwork), name), None)

    def plug(self) -> None:
        number = self.random.randrange(1, 40)
        self.unplug_port(f"vm{number}")
        ofport = self.random.choice((None, number, number + 100))
        self.facts.set(facts.interface(f"vm{number}"), facts.Interface(f"tap{number}", ofport))
        self.facts.join(facts.INTERFACES, f"vm{number}")
        if ofport is not None and self.random.random() < 0.9:
            self.facts.set(facts.port(ofport), facts.Port(f"tap{number}", number))

    def unplug(self) -> None:
        self.unplug_port(f"vm{self.random.randrange(1, 40)}")

    def unplug_port(self, name: str) -> None:
        interface = self.facts.get(facts.interface(name))
        if interface is not None:
            self.facts.set(facts.interface(name), None)
            self.facts.leave(facts.INTERFACES, name)
            if interface.ofport is not None:
                self.facts.set(facts.port(interface.ofport), None)

    def renumber(self) -> None:
        number = self.random.randrange(1, 40)
        if self.facts.get(facts.interface(f"vm{number}")) is not None:
            self.facts.set(facts.interface(f"vm{number}"), facts.Interface(f"tap{number}", number + 200))
            self.facts.set(facts.port(number + 200), facts.Port(f"tap{number}", number))

    def change_network(self) -> None:
        number = self.random.randrange(3)
        self.write(keys.logical_network(f"n{number}"), self.network(number))

    def change_subnet(self) -> None:
        number = self.random.randrange(3)
        self.write(keys.subnet(f"s{number}"), self.subnet(number))

    def settle(self) -> None:
        self.plan.change(*self.facts.take())
        self.plan.settle()

    def fresh(self) -> Desired:
        """The same, worked out from nothing."""
        desired = Desired()
        for call, products in recompute(SwitchSource(self.facts, self.store), ROOTS).items():
            desired.exchange(call, (), products)
        return desired


@pytest.mark.parametrize("seed", range(SEEDS))
def test_incremental_equals_recompute(seed: int) -> None:
    cloud = Cloud(seed)
    for _ in range(STEPS):
        for _ in range(cloud.random.randrange(1, 4)):
            cloud.step()
        cloud.settle()
        fresh = cloud.fresh()
        assert cloud.desired.flows == fresh.flows
        assert cloud.desired.groups == fresh.groups
        assert cloud.desired.conflicts == set()
        assert not cloud.plan.failed
        assert not cloud.plan.loading


@pytest.mark.parametrize("seed", range(3))
def test_without_ports_only_the_frame_of_the_pipeline_is_left(seed: int) -> None:
    cloud = Cloud(seed)
    cloud.settle()
    empty = dict(cloud.desired.flows)
    for _ in range(STEPS):
        cloud.step()
        cloud.settle()
    for number in range(1, 40):
        cloud.unplug_port(f"vm{number}")
    cloud.settle()
    assert cloud.desired.flows == empty
    assert cloud.desired.groups == {}


def test_one_more_port_costs_the_same_in_a_large_network() -> None:
    runs, changes = [], []
    for size in (10, 1000):
        cloud = Cloud(1)
        for number in range(size):
            name = keys.member(keys.ports_of("n0"), f"other{number}")
            mac = f"02:01:00:00:{number >> 8:02x}:{number & 255:02x}"
            cloud.write(name, NetworkPort(mac=mac, ip=f"10.1.{number >> 8}.{number & 255}"))
        cloud.facts.set(facts.interface("vm1"), facts.Interface("tap1", 1))
        cloud.facts.set(facts.port(1), facts.Port("tap1", 1))
        cloud.facts.join(facts.INTERFACES, "vm1")
        cloud.write(
            keys.logical_port("vm1"),
            LogicalPort(id="vm1", logicalnetwork="n0", mac_address="02:00:00:00:00:01"),
        )
        cloud.settle()
        cloud.desired.take_touched()
        before = cloud.plan.graph.runs
        name = keys.member(keys.ports_of("n0"), "one more")
        cloud.write(name, NetworkPort(mac="02:02:00:00:00:01", ip="10.2.0.1"))
        cloud.settle()
        runs.append(cloud.plan.graph.runs - before)
        changes.append(len(cloud.desired.take_touched()))
    assert runs == [1, 1]
    assert changes == [1, 1]
