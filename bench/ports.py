#!/usr/bin/env python3
"""From a port to its flows, with 10 and with 500 ports in one network: the controller's own share.

Prints median milliseconds. "Created": createlogicalport over a kept-alive connection, for an interface that is plugged
in already, until the answer and until the switch reports all flows of the port. "Plugged": an interface added through
OVSDB, for a logical port that exists, until the switch reports all its flows. "Floor": what the switch itself needs,
measured in turns with the other: as many flows in one bundle, for "plugged" after a port that nobody cares for.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import testbed
from testbed import Bridge, Client
from vlcp.lab import Controller

SIZES = (10, 500)
ROUNDS = 25


class Times(NamedTuple):
    """Milliseconds of one round."""

    answered: float
    created: float
    created_floor: float
    plugged: float
    plugged_floor: float


class Network:
    """One logical network whose ports are internal ports of the bridge, all plugged in."""

    def __init__(self, bridge: Bridge, client: Client, common: dict[str, str]) -> None:
        self.bridge, self.client, self.common = bridge, client, common
        self.size = 0
        self.flows_of_a_port = self.flows_of_a_plug = 0

    async def grow(self, size: int) -> None:
        """Have so many ports."""
        names = [f"t{number}" for number in range(self.size, size)]
        await self.client.call(
            "viperflow/createlogicalports", ports=[{"id": name, **self.common} for name in names]
        )
        await self.bridge.plug(*names)
        self.size = size
        await testbed.until_settled(self.client, self.bridge)

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

    async def round(self, name: str) -> Times:
        """One port comes and goes, twice."""
        await self.bridge.plug(name)
        await self.bridge.flows.silence(0.05)
        answered, created = await self.time_created(name)
        created_floor = await self.bridge.time_floor(self.flows_of_a_port)
        await self._unplug(name)
        plugged = await self.time_plugged(name)
        await self._unplug(name)
        await self.client.call("viperflow/deletelogicalport", id=name)
        plugged_floor = await self.time_plugged_floor(f"{name}f")
        await self.bridge.unplug(f"{name}f")
        return Times(answered, created, created_floor, plugged, plugged_floor)

    async def _unplug(self, name: str) -> None:
        gone = self.bridge.flows.fewer(self.flows_of_a_plug)
        await self.bridge.unplug(name)
        await gone


def show(sizes: dict[int, Times]) -> None:
    head = ("ports", "answered", "created", "floor", "own", "plugged", "floor", "own")
    rows, own = [], []
    for size, times in sizes.items():
        own.append((times.created - times.created_floor, times.plugged - times.plugged_floor))
        created = times.answered, times.created, times.created_floor, own[-1][0]
        rows.append((str(size), *created, times.plugged, times.plugged_floor, own[-1][1]))
    testbed.show(head, rows)
    first, last = sizes[SIZES[0]], sizes[SIZES[-1]]
    print(
        f"{SIZES[-1]} ports to {SIZES[0]}: created {last.created / first.created:.2f}"
        f" (own share {own[-1][0] / own[0][0]:.2f}), plugged {last.plugged / first.plugged:.2f}"
    )


async def measure(bridge: Bridge, controller: Controller) -> None:
    client = await Client.connect(controller.url)
    network = Network(bridge, client, await testbed.make_network(client))
    sizes: dict[int, Times] = {}
    for size in SIZES:
        await network.grow(size)
        await network.count_flows()
        cpu = testbed.cpu_seconds(controller.pid)
        rounds = [await network.round(f"q{number}") for number in range(ROUNDS)]
        cpu = (testbed.cpu_seconds(controller.pid) - cpu) / ROUNDS
        sizes[size] = Times(*map(testbed.median, zip(*rounds, strict=True)))
        print(
            f"{size} ports: {network.flows_of_a_port} flows for a port, {network.flows_of_a_plug} for its interface;"
            f" {cpu * 1e3:.1f} ms CPU of the controller for a round"
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
