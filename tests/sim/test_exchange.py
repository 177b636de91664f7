"""New rules in the place of old ones: worked out aside, then the one difference, or nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import types
from typing import Any

import pytest

from sim.simulation import FEATURES, Simulation
from vlcp.datapath import derivation
from vlcp.datapath.switch import FeatureError
from vlcp.flow.features import arpresponder, dhcpserver, ioprocessing, l2switch
from vlcp.flow.leases import Settings
from vlcp.flow.rules import Feature

ALL = (ioprocessing, l2switch, arpresponder, dhcpserver)


def again(module: types.ModuleType, old: str = "", new: str = "") -> Feature:
    """The feature of a file as if it was imported again, after an edit."""
    text = inspect.getsource(module)
    assert old in text
    spec = importlib.util.spec_from_loader(module.__name__, loader=None)
    assert spec is not None
    copy = importlib.util.module_from_spec(spec)
    exec(compile(text.replace(old, new, 1), str(module.__file__), "exec"), vars(copy))
    feature: Feature = copy.FEATURE
    return feature


async def exchange(sim: Simulation, *features: Feature) -> None:
    """Exchange them as the manager does, and remember them for the checks."""
    chosen: dict[Feature, Any] = {
        new: settings for new in features for old, settings in FEATURES.items() if old.name == new.name
    }
    try:
        async with asyncio.timeout(5):
            await sim.switch.prepare(chosen)
            await sim.switch.exchange(chosen)
    finally:
        sim.switch.discard()
    names = {feature.name: feature for feature in features}
    sim.features = [names.get(feature.name, feature) for feature in sim.features]


@pytest.fixture
async def ports(sim: Simulation) -> Simulation:
    """Two ports in one network, one in the other, all plugged."""
    await sim.put_ports("red", 1, 2)
    await sim.put_ports("blue", 3)
    for number in (1, 2, 3):
        sim.plug(number)
    await sim.check()
    sim.fake.forget_counts()
    return sim


def bundles(sim: Simulation) -> int:
    return sim.switch.statistics()["bundles"]


def reading(sim: Simulation) -> tuple[Any, set[str]]:
    """How many readers the store has, and what they want."""
    wanted = {
        name for name in sim.mirror._wants if not name.startswith("mark")
    }  # the marks are the simulation's
    return sim.mirror.statistics()["readers"], wanted


async def test_the_same_rules_send_nothing(ports: Simulation) -> None:
    before = reading(ports)
    await exchange(ports, *map(again, ALL))
    await ports.check()
    assert ports.fake.mods == []
    assert reading(ports) == before
    ports.unplug(2)
    await ports.check()
    assert ports.fake.mods


async def test_only_the_difference_is_sent(ports: Simulation) -> None:
    before, sent = dict(ports.fake.tables.flows), bundles(ports)
    await exchange(ports, again(arpresponder, "PRIORITY + 10", "PRIORITY + 11"))
    await ports.check()
    assert bundles(ports) == sent + 1
    after = ports.fake.tables.flows
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    assert len(gone) == len(come) == 3
    assert {key._replace(priority=key.priority + 1) for key in gone} == come
    assert len(ports.fake.mods) == 6


async def test_several_features_are_one_difference(ports: Simulation) -> None:
    sent = bundles(ports)
    new = (
        again(arpresponder, "PRIORITY + 10", "PRIORITY + 11"),
        again(l2switch, "PRIORITY + 2", "PRIORITY + 3"),
    )
    await exchange(ports, *new)
    await ports.check()
    assert bundles(ports) == sent + 1


async def test_rules_that_fail_change_nothing(ports: Simulation) -> None:
    flows, before = dict(ports.fake.tables.flows), reading(ports)
    with pytest.raises(
        FeatureError, match=r"3 rules fail on switch 0+1, first own_address\('vm1'\): ZeroDivision"
    ):
        await exchange(ports, again(arpresponder, "PRIORITY + 10", "PRIORITY + 10 // 0"))
    await ports.check()
    assert (ports.fake.mods, reading(ports)) == ([], before)
    assert ports.fake.tables.flows == flows
    await exchange(ports, again(arpresponder, "PRIORITY + 10", "PRIORITY + 12"))
    await ports.check()
    assert ports.fake.tables.flows != flows


async def test_a_root_that_fails_changes_nothing(ports: Simulation) -> None:
    with pytest.raises(FeatureError, match=r"answers\(\): ZeroDivision"):
        await exchange(
            ports,
            again(arpresponder, "    yield Each(LOCAL_NETWORKS", "    1 / 0\n    yield Each(LOCAL_NETWORKS"),
        )
    await ports.check()
    assert ports.fake.mods == []


async def test_the_network_changes_meanwhile(ports: Simulation) -> None:
    new = again(arpresponder, "PRIORITY + 10", "PRIORITY + 11")
    preparing = asyncio.create_task(exchange(ports, new))
    await ports.put_ports("blue", 4)
    ports.plug(4)
    ports.unplug(1)
    await ports.put_network("red", 7)
    await preparing
    await ports.check()


async def test_while_the_store_is_away_the_old_rules_stay(ports: Simulation) -> None:
    await ports.backend.close()
    text = "    if port is None or network is None"
    needy = again(arpresponder, text, "    view.get('something.else')\n" + text)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await exchange(ports, needy)
    assert ports.fake.mods == []
    await ports.backend.open()
    await exchange(ports, needy)
    await ports.check()
    assert ports.fake.mods == []


async def test_the_difference_waits_for_the_switch(ports: Simulation) -> None:
    await ports.fake.disconnect()
    await ports.until(lambda: not ports.switch.status()["connected"])
    await exchange(ports, again(arpresponder, "PRIORITY + 10", "PRIORITY + 11"))
    assert ports.fake.mods == []
    await ports.fake.connect()
    await ports.check()
    assert len(ports.fake.mods) == 6


async def test_settings_come_with_their_rules(ports: Simulation) -> None:
    features = {again(dhcpserver): Settings("169.254.1.1")}
    await ports.switch.prepare(features)
    assert ports.fake.mods == [], "the old rules do not see them"
    await ports.switch.exchange(features)
    ports.features = [next(iter(features)) if f.name == "dhcpserver" else f for f in ports.features]
    await ports.check()
    assert ports.fake.mods


async def test_a_switch_that_hangs_gets_the_new_rules_later(ports: Simulation) -> None:
    new = again(arpresponder, "PRIORITY + 10", "PRIORITY + 11")
    await ports.switch.prepare({new: None})
    ports.fake.faults.silent = True
    ports.unplug(1)
    await ports.until(lambda: ports.fake.received["BundleControl"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ports.switch.exchange({new: None})
    ports.switch.discard()
    with pytest.raises(FeatureError, match="still waits for the rules of an earlier reload"):
        await ports.switch.prepare({new: None})
    ports.fake.faults.silent = False
    await ports.fake.connect()
    ports.features = [new if feature.name == new.name else feature for feature in ports.features]
    await ports.check()


async def test_what_counts_is_settled_whenever_flows_are_sent(
    ports: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derivation, "SLICE", -1.0)  # a pause after every step
    push, busy = ports.switch._push, list[bool]()

    async def observed(connection: Any) -> None:
        busy.append(ports.switch._plan.graph.busy)
        await push(connection)

    monkeypatch.setattr(ports.switch, "_push", observed)
    preparing = asyncio.create_task(exchange(ports, *map(again, ALL)))
    for turn in range(40):
        (ports.unplug if turn % 2 else ports.plug)(1)
        for _ in range(turn % 5):
            await asyncio.sleep(0)
    await preparing
    await ports.check()
    assert busy
    assert not any(busy)
