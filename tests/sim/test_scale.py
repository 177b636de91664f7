"""Many ports on one switch: the event loop is never held for long, and a restart sends nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.holds import timed
from sim.simulation import Simulation, port_writes
from vlcp.datapath.switch import Switch
from vlcp.model import codec
from vlcp.store.contract import Preconditions
from vlcp.wire.openflow import PortDesc

PORTS = 2000
LARGEST_SHARE = 0.06
"""Of all that the switch's task computes, in one go: about 0.1 s where the whole takes 1.6 s. On a slow
machine as on a quick one it is less than half of that."""


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What the switch's task computed at a time; without the collector, whose passes depend on all of the process."""
    found: list[float] = []
    run = Switch.run
    monkeypatch.setattr(Switch, "run", lambda switch: timed(run(switch), found))
    gc.disable()
    yield found
    gc.enable()
    gc.unfreeze()


async def plug_all(sim: Simulation) -> None:
    """Half of the ports in each network, all plugged before anybody looks."""
    for network, first in (("red", 1), ("blue", PORTS // 2 + 1)):
        await sim.put_network(network, first)
        for number in range(first, first + PORTS // 2):
            writes = {key: codec.encode(key, value) for key, value in port_writes(network, number).items()}
            await sim.backend.commit(Preconditions(), writes)
            sim.fake.ports[number] = PortDesc(number, number, f"tap{number}")
            sim.database.plug(f"tap{number}", f"vm{number}", number)


async def test_two_thousand_ports(tmp_path: Path, holds: list[float]) -> None:
    sim = Simulation(f"{tmp_path}/of")
    await sim.start(ovsdb=False)
    await plug_all(sim)
    await sim.fake.connect()
    sim.follow_ovsdb()
    await sim.settled(40)
    assert len(sim.fake.tables.flows) > 6 * PORTS
    await sim.check()
    sim.fake.forget_counts()
    await sim.stop()
    await sim.start()
    await sim.fake.connect()
    await sim.settled(40)
    assert sim.fake.mods == []
    sim.unplug(7)
    await sim.settled(40)
    assert len(sim.fake.mods) < 10
    await sim.stop()
    assert max(holds) < LARGEST_SHARE * sum(holds)
