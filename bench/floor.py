#!/usr/bin/env python3
"""The floor below every controller: what Open vSwitch itself needs, with 10, 200 and 500 ports on the bridge.

Prints medians of one internal port added through OVSDB until its OpenFlow port is known, and of the same followed by
ten flows in one bundle until the switch reports them; then flows per second in one bundle and in a dump.
"""

from __future__ import annotations

import asyncio
import time

import testbed
from testbed import Bridge
from vlcp.datapath.dump import read_installed

SIZES = (10, 200, 500)
ROUNDS = 15
FLOWS_OF_A_PORT = 10
MANY_FLOWS = 10000


async def port_times(bridge: Bridge, name: str) -> tuple[float, float]:
    """Milliseconds until a port has its number, and until its flows are there."""
    plugged = await testbed.timed(bridge.plug(name, identified=False))
    flows = await bridge.time_floor(FLOWS_OF_A_PORT)
    await bridge.unplug(name)
    return plugged, plugged + flows


async def measure_ports(bridge: Bridge) -> None:
    rows: list[tuple[str, float, float, float]] = []
    have = 0
    for size in SIZES:
        bulk = await testbed.timed(bridge.plug(*(f"t{number}" for number in range(have, size))))
        have = size
        await bridge.rest()
        times = [await port_times(bridge, f"q{number}") for number in range(ROUNDS)]
        plugged, complete = map(testbed.median, zip(*times, strict=True))
        rows.append((str(size), plugged, complete, bulk / 1e3))
    testbed.show(("ports", "port ms", f"+{FLOWS_OF_A_PORT} flows ms", "bulk s"), rows)
    ratios = (f"{last / first:.1f}" for first, last in zip(rows[0][1:3], rows[-1][1:3], strict=True))
    print(f"{SIZES[-1]} ports to {SIZES[0]}: {', '.join(ratios)}")


async def measure_flows(bridge: Bridge) -> None:
    await bridge.add_flows(MANY_FLOWS)
    await bridge.clear()
    adding = await testbed.timed(bridge.add_flows(MANY_FLOWS))
    started = time.perf_counter()
    found = len((await read_installed(bridge.switch)).flows)
    dumping = (time.perf_counter() - started) * 1e3
    figures = (("one bundle", MANY_FLOWS, adding), ("dump, decoded", found, dumping))
    rows = [(what, count, elapsed, round(count / elapsed * 1e3)) for what, count, elapsed in figures]
    testbed.show(("flows", "count", "ms", "per s"), rows)


async def main() -> None:
    testbed.show_load()
    with testbed.hypervisor() as hypervisor:
        async with testbed.attached(hypervisor) as bridge:
            await measure_ports(bridge)
            await measure_flows(bridge)


asyncio.run(main())
