"""Random histories of a whole data plane: whatever happens, in the end the switch is exactly as it must be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from effort import effort
from sim.simulation import FEATURES, Simulation
from vlcp.datapath import install, switch
from vlcp.model import keys
from vlcp.store.contract import Preconditions

STEPS, CHECKS = 60, 5
"""Steps between two checks, and checks in a history."""

NETWORKS = ("red", "blue", "green")


class History:
    """Draws what happens next."""

    def __init__(self, sim: Simulation, seed: int) -> None:
        self.sim = sim
        self.random = random.Random(seed)
        self.network_of: dict[int, str] = {}
        self.plugged: set[int] = set()
        self.odd: set[int] = set()

    async def step(self) -> None:
        frequent = (self.put, self.put, self.delete, self.plug, self.plug, self.unplug, self.move)
        rare = (self.renumber, self.spoil, self.connect, self.disconnect, self.fault, self.toggle, self.rest)
        await self.random.choice(self.random.choice((frequent, frequent, rare)))()

    async def calm(self) -> None:
        """Take back all that must not last."""
        self.sim.fake.faults = type(self.sim.fake.faults)()
        for number in list(self.odd):
            await self.mend(number)
        for feature in FEATURES:
            if feature not in self.sim.features:
                self.sim.add_feature(feature)
        if self.sim.fake.connected and self.random.random() < 0.5:
            return
        await self.sim.fake.connect()

    def number(self) -> int:
        return self.random.randrange(1, 25)

    async def put(self) -> None:
        number = self.number()
        network = self.network_of.get(number) or self.random.choice(NETWORKS)
        self.network_of[number] = network
        self.odd.discard(number)
        await self.sim.put_ports(network, number)

    async def delete(self) -> None:
        number = self.number()
        if number in self.network_of:
            self.odd.discard(number)
            await self.sim.delete_port(self.network_of.pop(number), number)

    async def plug(self) -> None:
        number = self.number()
        iface_id = f"vm{self.number()}" if self.random.random() < 0.2 else ""
        self.plugged.add(number)
        self.sim.plug(number, iface_id=iface_id)

    async def unplug(self) -> None:
        number = self.number()
        if number in self.plugged:
            self.plugged.discard(number)
            self.sim.unplug(number)

    async def move(self) -> None:
        """An interface gets another port; sometimes the switch tells it long before the database does."""
        number = self.number()
        if number in self.plugged:
            self.sim.unplug(number)
            if self.random.random() < 0.5:
                await asyncio.sleep(0.002)
            self.sim.plug(number, ofport=self.random.randrange(100, 110) * 30 + number)

    async def renumber(self) -> None:
        await self.sim.put_network(self.random.choice(NETWORKS), self.random.choice((1, 2, 3)) * 10 + 1)

    async def spoil(self) -> None:
        """A logical port becomes something that cannot be decoded."""
        number = self.number()
        if number in self.network_of:
            self.odd.add(number)
            await self.sim.backend.commit(Preconditions(), {keys.logical_port(f"vm{number}"): b'{"type":1}'})

    async def mend(self, number: int) -> None:
        self.odd.discard(number)
        await self.sim.put_ports(self.network_of[number], number)

    async def connect(self) -> None:
        await self.sim.fake.connect()

    async def disconnect(self) -> None:
        await self.sim.fake.disconnect()

    async def fault(self) -> None:
        faults = self.sim.fake.faults
        match self.random.randrange(6):
            case 0:
                faults.drops_before_commit = True
            case 1:
                faults.drops_after_commit = True
            case 2:
                faults.drops_in_bundle = self.random.randrange(1, 20)
            case 3:
                faults.refuses_nth = self.random.randrange(1, 20)
            case 4:
                table = self.random.choice((0, 30, 70, 100))
                faults.refuses = lambda mod: getattr(mod, "table", -1) == table
            case _:
                faults.refuses = lambda mod: False

    async def toggle(self) -> None:
        feature = self.random.choice(list(FEATURES))
        if feature in self.sim.features:
            self.sim.remove_feature(feature)
        else:
            self.sim.add_feature(feature)

    async def rest(self) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.02))


@pytest.fixture
async def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulation]:
    """A started controller; retries come soon."""
    monkeypatch.setattr(switch, "RETRY", 0.02)
    monkeypatch.setattr(install, "RETRY_REFUSED", 0.05)
    monkeypatch.setattr(install, "RETRY_REST", 0.01)
    simulation = Simulation(f"{tmp_path}/of")
    await simulation.start()
    for number, network in enumerate(NETWORKS, 1):
        await simulation.put_network(network, number)
    await simulation.fake.connect()
    yield simulation
    await simulation.stop()


@pytest.mark.parametrize("seed", range(effort(6)))
async def test_a_random_history_ends_as_it_must(sim: Simulation, seed: int) -> None:
    history = History(sim, seed)
    for _ in range(CHECKS):
        for _ in range(STEPS):
            await history.step()
        await history.calm()
        await sim.until(lambda: not sim.switch.status()["refused"])
        await numbered_apart(sim)
        await sim.check()


async def numbered_apart(sim: Simulation) -> None:
    """Every network has a number of its own, as the store sees to."""
    for number, network in enumerate(NETWORKS, 1):
        await sim.put_network(network, number)
