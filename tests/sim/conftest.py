"""What the simulations share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sim.simulation import Simulation


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    """A started controller with two networks and no port; the switch is connected and has settled."""
    simulation = Simulation(f"{tmp_path}/of")
    await simulation.start()
    await simulation.put_network("red", 1)
    await simulation.put_network("blue", 2)
    await simulation.fake.connect()
    await simulation.settled()
    yield simulation
    if not simulation.run.done():
        await simulation.stop()
