#!/usr/bin/env python3
"""What one change costs: the real rules on made-up networks, incremental against recompute.

Prints, for each size, CPU milliseconds: everything worked out from nothing, one port added here, one port added
elsewhere, one port removed; and the ratio of the largest size to the smallest.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

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
PORTS_PER_NETWORK = 500


class MadeUpStore(dict[str, Any]):
    """The store as rules read it."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def members(self, directory: str) -> Any:
        return self.names.get(directory, set())

    def write(self, key: str, value: Stored | None) -> dict[str, Any]:
        directory, slash, name = key.rpartition("/")
        self[key] = value
        if not slash:
            return {"keys": {key}}
        names = self.names.setdefault(directory + "/", set())
        (names.discard if value is None else names.add)(name)
        return {"keys": {key}, "left" if value is None else "joined": {directory + "/": {name}}}


class World:
    """`here` ports on this switch and `elsewhere` on others, spread over networks of 500 ports."""

    def __init__(self, here: int, elsewhere: int) -> None:
        self.store = MadeUpStore()
        self.facts = Facts(lambda: None)
        self.desired = Desired()
        self.source = SwitchSource(self.facts, self.store)
        self.plan = Plan(self.source, self.desired.exchange)
        self.facts.set(facts.settings("dhcpserver"), Settings())
        self.facts.know(facts.INTERFACES)
        self.networks = max(1, (here + elsewhere) // PORTS_PER_NETWORK)
        for number in range(self.networks):
            network = LogicalNetwork(id=f"n{number}", physicalnetwork="p", number=number + 1)
            subnet = Subnet(
                id=f"s{number}",
                logicalnetwork=f"n{number}",
                cidr="10.0.0.0/16",
                gateway="10.0.0.1",
                allocated_start="10.0.0.2",
                allocated_end="10.0.255.254",
            )
            self.store.write(keys.logical_network(f"n{number}"), network)
            self.store.write(keys.subnet(f"s{number}"), subnet)
        self.count = 0
        for number in range(here + elsewhere):
            self.add(number < here)

    def add(self, here: bool) -> int:
        self.count += 1
        n, network = self.count, f"n{self.count % self.networks}"
        mac, ip = (
            f"02:00:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            _address(n),
        )
        port = LogicalPort(
            id=f"p{n}", logicalnetwork=network, mac_address=mac, ip_address=ip, subnet=f"s{network[1:]}"
        )
        self.plan.change(**self.store.write(keys.logical_port(f"p{n}"), port))
        summary = NetworkPort(mac=mac, ip=ip, subnet=port.subnet)
        self.plan.change(**self.store.write(keys.member(keys.ports_of(network), f"p{n}"), summary))
        if here:
            self.facts.set(facts.interface(f"p{n}"), facts.Interface(f"tap{n}", n))
            self.facts.set(facts.port(n), facts.Port(f"tap{n}", n))
            self.facts.join(facts.INTERFACES, f"p{n}")
        return n

    def remove(self, n: int) -> None:
        network = f"n{n % self.networks}"
        self.facts.set(facts.interface(f"p{n}"), None)
        self.facts.leave(facts.INTERFACES, f"p{n}")
        self.plan.change(**self.store.write(keys.logical_port(f"p{n}"), None))
        self.plan.change(**self.store.write(keys.member(keys.ports_of(network), f"p{n}"), None))

    def settle(self) -> None:
        self.plan.change(*self.facts.take())
        self.plan.settle()

    def recompute(self) -> Desired:
        desired = Desired()
        for call, products in recompute(self.source, ROOTS).items():
            desired.exchange(call, (), products)
        return desired


def _address(n: int) -> str:
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def cpu(function: Callable[[], Any]) -> float:
    """CPU milliseconds."""
    started = time.process_time()
    function()
    return (time.process_time() - started) * 1e3


def changes(world: World, here: bool, count: int = 60) -> tuple[float, float, float]:
    """Median CPU ms, flows and groups touched, and calls run, of adding a port."""
    times, touched, runs = [], [], []
    for _ in range(count):
        before = world.plan.graph.runs
        world.add(here)
        times.append(cpu(world.settle))
        touched.append(len(world.desired.take_touched()))
        runs.append(world.plan.graph.runs - before)
    return statistics.median(times), statistics.median(touched), statistics.median(runs)


def removal(world: World, count: int = 60) -> float:
    times = []
    for n in range(1, count + 1):
        world.remove(n)
        times.append(cpu(world.settle))
    return statistics.median(times)


def main() -> None:
    first: tuple[float, ...] | None = None
    columns = (
        "here + elsewhere",
        "flows",
        "fill",
        "recompute",
        "add here",
        "elsewhere",
        "remove",
        "touched",
        "calls",
    )
    print(
        "CPU ms of a fill, a recompute, a port added here, added elsewhere, removed; keys touched and calls per port"
    )
    print(*(f"{column:>16}" for column in columns))
    for here, elsewhere in ((100, 0), (1000, 0), (1000, 4000), (1000, 20000)):
        world = World(here, elsewhere)
        for root, arguments in ROOTS:
            world.plan.add_root(root, *arguments)
        gc.collect()
        gc.freeze()
        fill = cpu(world.settle)
        fresh = cpu(lambda world=world: world.recompute())
        world.desired.take_touched()
        local, touched, runs = changes(world, True)
        remote, *_ = changes(world, False)
        removed = removal(world)
        assert world.recompute().flows == world.desired.flows, "incremental differs from recompute"
        flows = len(world.desired.flows)
        figures = (fill, fresh, local, remote, removed)
        row = [f"{here} + {elsewhere}", str(flows), *(f"{figure:.2f}" for figure in figures)]
        print(*(f"{text:>16}" for text in [*row, f"{touched:.0f}", f"{runs:.0f}"]))
        first = first or (local, remote, removed)
    ratios = ", ".join(f"{now / then:.2f}" for now, then in zip((local, remote, removed), first, strict=True))
    print(f"largest size to smallest (add here, add elsewhere, remove): {ratios}")


main()
