#!/usr/bin/env python3
"""From a port to its flows, with 10 and with 500 ports in one network: the controller's own share.

Prints median milliseconds. "Created": createlogicalport over a kept-alive connection, for an interface that is plugged
in already, until the answer and until the switch reports all flows of the port. "Plugged": an interface added through
OVSDB, for a logical port that exists, until the switch reports all its flows. "Floor": what the switch itself needs,
measured in turns with the other: as many flows in one bundle, for "plugged" after a port that nobody cares for. "Own":
the difference of the two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import testbed
from testbed import Bridge, Client
from vlcp.lab import Controller

SIZES = (10, 500)
ROUNDS = 25
PAUSE = 0.2
"""Seconds of silence before each measurement: Open vSwitch goes on working for a while after a port has changed."""


class Created(NamedTuple):
    """Milliseconds from the call to its answer and to the flows, and the floor of the flows."""

    answered: float
    flows: float
    floor: float

    @property
    def own(self) -> float:
        """The controller's own share."""
        return self.flows - self.floor


class Plugged(NamedTuple):
    """Milliseconds from the transaction to the flows, and the floor of both."""

    flows: float
    floor: float

    @property
    def own(self) -> float:
        """The controller's own share."""
        return self.flows - self.floor


class Network:
    """One logical network whose ports are internal ports of the bridge, all plugged in."""

    def __init__(self, bridge: Bridge, client: Client, common: dict[str, str]) -> None:
        self.bridge, self.client, self.common = bridge, client, common
        self.size = 0
        self.flows_of_a_port = self.flows_of_a_plug = 0

    async def grow(self, size: int) -> float:
        """Have so many ports; milliseconds from plugging in those that are missing to the last of their flows."""
        names = [f"t{number}" for number in range(self.size, size)]
        await self.client.call(
            "viperflow/createlogicalports", ports=[{"id": name, **self.common} for name in names]
        )
        await self.bridge.flows.silence(PAUSE)
        started = time.perf_counter()
        await self.bridge.plug(*names)
        self.size = size
        await testbed.until_settled(self.client, self.bridge)
        return (self.bridge.flows.last_report - started) * 1e3

    async def time_floor_of_growth(self, size: int) -> float:
        """The same for ports that nobody cares for, and as many made-up flows in one bundle."""
        names = [f"f{number}" for number in range(self.size, size)]
        plugged = await testbed.timed(self.bridge.plug(*names, identified=False))
        flows = await self.bridge.time_floor(len(names) * self.flows_of_a_plug)
        await self.bridge.unplug(*names)
        return plugged + flows

    async def count_flows(self) -> None:
        """Learn how many flows a logical port brings, and how many of them come and go with its interface."""
        await self.bridge.plug("probe")
        await testbed.until_settled(self.client, self.bridge)
        before = self.bridge.flows.added
        await self.create("probe")
        await self.bridge.flows.silence()
        self.flows_of_a_port = self.bridge.flows.added - before
        before = self.bridge.flows.deleted
        await self.bridge.unplug("probe")
        await self.bridge.flows.silence()
        self.flows_of_a_plug = self.bridge.flows.deleted - before
        await self.client.call("viperflow/deletelogicalport", id="probe")

    async def create(self, name: str) -> None:
        await self.client.call("viperflow/createlogicalport", id=name, **self.common)

    async def time_created(self, name: str) -> tuple[float, float]:
        """Milliseconds from the call to its answer, and to the flows."""
        flows = self.bridge.flows.more(self.flows_of_a_port)
        started = time.perf_counter()
        await self.create(name)
        answered = time.perf_counter()
        await flows
        return (answered - started) * 1e3, (time.perf_counter() - started) * 1e3

    async def time_plugged(self, name: str) -> float:
        """Milliseconds from the OVSDB transaction to the flows of the port."""
        flows = self.bridge.flows.more(self.flows_of_a_plug)
        started = time.perf_counter()
        await self.bridge.plug(name)
        await flows
        return (time.perf_counter() - started) * 1e3

    async def time_plugged_floor(self, name: str) -> float:
        """The same for a port that nobody cares for, and made-up flows."""
        plugged = await testbed.timed(self.bridge.plug(name, identified=False))
        return plugged + await self.bridge.time_floor(self.flows_of_a_plug)

    async def rounds_of_created(self, names: Sequence[str]) -> list[Created]:
        """Logical ports come and go; their interfaces are there all the time."""
        await self.bridge.plug(*names)
        await self.bridge.rest()
        rounds = []
        for name in names:
            await self.bridge.flows.silence(PAUSE)
            floor = await self.bridge.time_floor(self.flows_of_a_port)
            rounds.append(Created(*await self.time_created(name), floor))
            gone = self.bridge.flows.fewer(self.flows_of_a_port)
            await self.client.call("viperflow/deletelogicalport", id=name)
            await gone
        await self.bridge.unplug(*names)
        return rounds

    async def rounds_of_plugged(self, names: Sequence[str]) -> list[Plugged]:
        """Interfaces come and go; their logical ports are there all the time."""
        rounds = []
        for name in names:
            await self.create(name)
            await self.bridge.flows.silence(PAUSE)
            plugged = await self.time_plugged(name)
            await self.bridge.unplug(name)
            await self.client.call("viperflow/deletelogicalport", id=name)
            await self.bridge.flows.silence(PAUSE)
            rounds.append(Plugged(plugged, await self.time_plugged_floor(name)))
            await self.bridge.unplug(name)
        return rounds


def medians(rounds: Iterable[Sequence[float]]) -> list[float]:
    return [testbed.median(column) for column in zip(*rounds, strict=True)]


def show(sizes: dict[int, tuple[Created, Plugged]]) -> None:
    head = ("ports", "answered", "created", "floor", "own", "plugged", "floor", "own")
    rows = []
    for size, (created, plugged) in sizes.items():
        rows.append((str(size), *created, created.own, *plugged, plugged.own))
    testbed.show(head, rows)
    (created, plugged), (most_created, most_plugged) = sizes[SIZES[0]], sizes[SIZES[-1]]
    print(
        f"{SIZES[-1]} ports to {SIZES[0]}: answered {most_created.answered / created.answered:.2f},"
        f" created {most_created.flows / created.flows:.2f} (own share {most_created.own / created.own:.2f}),"
        f" plugged {most_plugged.flows / plugged.flows:.2f} (floor {most_plugged.floor / plugged.floor:.2f})"
    )


async def measure(bridge: Bridge, controller: Controller) -> None:
    client = await Client.connect(controller.url)
    network = Network(bridge, client, await testbed.make_network(client))
    names = [f"q{number}" for number in range(ROUNDS)]
    sizes: dict[int, tuple[Created, Plugged]] = {}
    await network.grow(2)
    await network.count_flows()
    for size in SIZES:
        missing = size - network.size
        floor = await network.time_floor_of_growth(size)
        grown = await network.grow(size)
        print(f"{missing} ports plugged in at once: {grown:.0f} ms until their flows, floor {floor:.0f} ms")
        cpu = testbed.cpu_seconds(controller.pid)
        created = Created(*medians(await network.rounds_of_created(names)))
        cpu = (testbed.cpu_seconds(controller.pid) - cpu) / ROUNDS
        sizes[size] = created, Plugged(*medians(await network.rounds_of_plugged(names)))
        print(
            f"{size} ports: {network.flows_of_a_port} flows for each, {network.flows_of_a_plug} of them for its"
            f" interface; {cpu * 1e3:.1f} ms CPU of the controller to create and to delete one"
        )
    show(sizes)
    await client.close()


async def main() -> None:
    testbed.show_load()
    with testbed.hypervisor() as hypervisor:
        controller = Controller(hypervisor)
        await asyncio.to_thread(controller.start)
        async with testbed.attached(hypervisor) as bridge:
            await measure(bridge, controller)


asyncio.run(main())
