"""A switch that OVSDB names is worked out before it connects; nothing is sent until it has told what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sim.simulation import Simulation
from vlcp.flow.rules import feature_number
from vlcp.wire.openflow import Match, encode_match

NUMBERS = (1, 2, 3, 4, 5)


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[Simulation]:
    """A started controller that knows network and interfaces, and whose switch was never connected."""
    sim = Simulation(f"{tmp_path}/of")
    await sim.start()
    await sim.put_network("red", 1)
    await sim.put_ports("red", *NUMBERS)
    for number in NUMBERS:
        sim.plug(number)
    await worked_out(sim)
    yield sim
    if not sim.run.done():
        await sim.stop()


async def worked_out(sim: Simulation) -> None:
    """Wait until all that can be known without the switch is known."""
    await sim.until(lambda: enters(sim) == set(NUMBERS) and not sim.switch.statistics()["waiting"])


def enters(sim: Simulation) -> set[int]:
    """The plugged ports whose packets shall be let in."""
    wanted = {key.match for key in sim.switch.desired.flows}
    return {number for number in NUMBERS if encode_match(Match(in_port=number)) in wanted}


async def test_all_flows_are_wanted_before_the_switch_connects(known: Simulation) -> None:
    assert known.switch.connection is None
    assert not known.switch.settled
    wanted = dict(known.switch.desired.flows), dict(known.switch.desired.groups)
    runs = known.switch.statistics()["runs"]
    await known.fake.connect()
    await known.check()
    assert wanted == (known.switch.desired.flows, known.switch.desired.groups)
    assert known.switch.statistics()["runs"] - runs <= len(NUMBERS), (
        "only the agreement on each port is looked at"
    )


async def test_a_restart_without_changes_sends_nothing(known: Simulation) -> None:
    await known.fake.connect()
    await known.check()
    await known.stop()
    known.fake.forget_counts()
    await known.start()
    await worked_out(known)
    assert known.switch.desired.flows == known.fake.tables.flows
    await known.fake.connect()
    await known.check()
    assert known.fake.mods == []


async def test_a_port_that_the_switch_does_not_have_gets_no_flows(known: Simulation) -> None:
    known.fake.remove_port(2)
    known.fake.remove_port(3)
    known.fake.add_port(3, "somebody else")
    await known.fake.connect()
    await known.check()
    assert enters(known) == {1, 4, 5}
    known.fake.remove_port(3)
    known.fake.add_port(3, "tap3")
    known.fake.add_port(2, "tap2")
    await known.check()
    assert enters(known) == set(NUMBERS)


async def test_a_switch_that_lost_its_connection_is_not_believed_to_have_every_port(
    known: Simulation,
) -> None:
    await known.fake.connect()
    await known.check()
    await known.fake.disconnect()
    await known.until(lambda: known.switch.connection is None)
    known.interfaces.apply(known.database.plug("tap1", "vm1", 77))
    await known.until(lambda: enters(known) == {2, 3, 4, 5})
    assert encode_match(Match(in_port=77)) not in {key.match for key in known.switch.desired.flows}


async def test_what_is_unread_protects_what_the_switch_holds(known: Simulation) -> None:
    await known.fake.connect()
    await known.check()
    await known.stop()
    held = dict(known.fake.tables.flows)
    known.fake.forget_counts()
    await known.start(store=False)
    await known.fake.connect()
    await known.until(lambda: known.switch.connection is not None)
    assert not known.switch.settled
    assert (known.fake.tables.flows, known.fake.mods) == (held, [])
    await known.backend.open()
    await known.check()
    assert (known.fake.tables.flows, known.fake.mods) == (held, [])


async def test_the_flows_of_a_module_that_could_not_be_loaded_stay(known: Simulation) -> None:
    await known.fake.connect()
    await known.check()
    before = dict(known.fake.tables.flows)
    await known.stop()
    [missing] = [feature for feature in known.features if feature.name == "arpresponder"]
    theirs = {key for key, flow in before.items() if feature_number(flow.cookie) == missing.number}
    assert theirs
    known.features.remove(missing)
    known.missing.add(missing.number)
    known.fake.forget_counts()
    await known.start()
    await worked_out(known)
    await known.fake.connect()
    await known.until(lambda: known.switch.statistics()["deferred"] == len(theirs))
    assert known.fake.tables.flows == before
    known.add_feature(missing)
    await known.check()
    assert known.fake.mods == []
    assert known.fake.tables.flows == before
