#!/usr/bin/env python3
"""API calls: a thousand logical ports created in one call, one at a time, listed, and deleted.

The whole controller is running and connected to a switch, but nothing is plugged in. Prints seconds, calls per second,
and the CPU seconds of the controller.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import testbed
from testbed import Client
from vlcp.lab import Controller

PORTS = 1000
READS = 200

Row = tuple[str, int, float, int, float]


class Calls:
    """Makes calls over one kept-alive connection and keeps what they cost."""

    def __init__(self, controller: Controller, client: Client, common: dict[str, str]) -> None:
        self.pid, self.client, self.common = controller.pid, client, common
        self.rows: list[Row] = []

    async def measure(self, what: str, count: int, call: Callable[[int], Awaitable[object]]) -> float:
        """Seconds for `call(0)` to `call(count - 1)`, one after another."""
        cpu, started = testbed.cpu_seconds(self.pid), time.perf_counter()
        for number in range(count):
            await call(number)
        elapsed = time.perf_counter() - started
        used = testbed.cpu_seconds(self.pid) - cpu
        self.rows.append((what, count, elapsed, round(count / elapsed), used))
        return elapsed

    async def create_all(self, prefix: str) -> None:
        ports = [{"id": f"{prefix}{number}", **self.common} for number in range(PORTS)]
        await self.client.call("viperflow/createlogicalports", ports=ports)

    async def create(self, number: int) -> None:
        await self.client.call("viperflow/createlogicalport", id=f"one{number}", **self.common)

    async def list_all(self) -> None:
        network = self.common["logicalnetwork"]
        found = await self.client.call("viperflow/listlogicalports", logicalnetwork=network)
        assert len(found) == 2 * PORTS, f"{len(found)} ports are listed"

    async def list_one(self, number: int) -> None:
        [port] = await self.client.call("viperflow/listlogicalports", id=f"all{number}")
        assert port["id"] == f"all{number}"

    async def delete_all(self, prefix: str) -> None:
        ports = [{"id": f"{prefix}{number}"} for number in range(PORTS)]
        await self.client.call("viperflow/deletelogicalports", ports=ports)

    async def delete(self, number: int) -> None:
        await self.client.call("viperflow/deletelogicalport", id=f"one{number}")


async def measure(calls: Calls) -> Sequence[Row]:
    together = await calls.measure(f"create {PORTS} in one call", 1, lambda _: calls.create_all("all"))
    apart = await calls.measure("create one", PORTS, calls.create)
    await calls.measure(f"list {2 * PORTS}", 5, lambda _: calls.list_all())
    await calls.measure("list one of them", READS, calls.list_one)
    await calls.measure(f"delete {PORTS} in one call", 1, lambda _: calls.delete_all("all"))
    await calls.measure("delete one", PORTS, calls.delete)
    await calls.measure(f"create {PORTS} again", 1, lambda _: calls.create_all("new"))
    testbed.show(("call", "calls", "s", "calls/s", "CPU s"), calls.rows)
    print(f"one call each to one call for all, per port: {apart / together:.1f}")
    return calls.rows


async def main() -> None:
    testbed.show_load()
    with testbed.hypervisor() as hypervisor:
        controller = Controller(hypervisor)
        await asyncio.to_thread(controller.start)
        client = await Client.connect(controller.url)
        await measure(Calls(controller, client, await testbed.make_network(client)))
        await client.close()


asyncio.run(main())
