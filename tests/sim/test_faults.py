"""One switch when something goes wrong: with the switch, the connection, an object, or a rule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sim.simulation import FEATURES, Simulation
from vlcp.datapath import install, switch
from vlcp.derive.plan import Each
from vlcp.derive.view import View
from vlcp.flow import facts
from vlcp.flow.features import arpresponder
from vlcp.flow.rules import EncodedFlow, Feature, Flow, GroupEntry
from vlcp.model import keys
from vlcp.store.contract import Preconditions
from vlcp.wire.openflow import Bucket, FlowMod, FlowModCommand, Match, Output


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come soon."""
    monkeypatch.setattr(switch, "RETRY", 0.02)
    monkeypatch.setattr(install, "RETRY_REFUSED", 0.1)
    monkeypatch.setattr(install, "RETRY_REST", 0.02)


def adds(table: int) -> Callable[[Any], bool]:
    """Whether a change adds a flow to the table."""
    return lambda mod: isinstance(mod, FlowMod) and mod.command == FlowModCommand.ADD and mod.table == table


async def plugged(sim: Simulation, network: str, *numbers: int) -> None:
    await sim.put_ports(network, *numbers)
    for number in numbers:
        sim.plug(number)


async def test_a_refused_flow_stops_no_other_and_is_tried_again(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    sim.fake.faults.refuses = adds(30)
    await plugged(sim, "red", 1, 2)
    await sim.until(lambda: len(sim.switch.status()["refused"]) == 5 and sim.switch.settled)
    refused = sim.switch.status()["refused"]
    assert all("table=30" in line and "FLOW_MOD_FAILED/TABLE_FULL" in line for line in refused)
    wanted = {key for key in sim.switch.desired.flows if key.table != 30 or key.priority == 0}
    assert wanted == sim.fake.tables.flows.keys()
    first = sim.switch.statistics()["refused"]
    await sim.until(lambda: sim.switch.statistics()["refused"] >= first + 5)
    assert len([record for record in caplog.records if "refuses to" in record.message]) == 5
    sim.fake.faults.refuses = lambda mod: False
    await sim.until(lambda: not sim.switch.status()["refused"])
    await sim.check()


async def test_a_flow_that_is_not_wanted_any_more_is_not_refused_either(sim: Simulation) -> None:
    sim.fake.faults.refuses = adds(70)
    await plugged(sim, "red", 1)
    await sim.until(lambda: sim.switch.status()["refused"])
    sim.unplug(1)
    await sim.until(lambda: not sim.switch.status()["refused"])
    await sim.check()


async def test_a_refused_flow_that_changes_is_tried_at_once(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "RETRY_REFUSED", 3600.0)
    sim.fake.faults.refuses = lambda mod: adds(70)(mod) and b"\0\0\0\x01" in mod.instructions[0].pack()
    await plugged(sim, "red", 1)
    await sim.until(lambda: sim.switch.status()["refused"])
    sim.fake.remove_port(1)
    sim.plug(1, ofport=21)
    await sim.check()


async def test_a_full_table_costs_no_endless_turn(sim: Simulation) -> None:
    sim.fake.faults.refuses = adds(30)
    await plugged(sim, "red", *range(1, 41))
    refusable = 3 * 40
    await sim.until(lambda: sim.switch.statistics()["refused"] >= refusable)
    others = {key for key in sim.switch.desired.flows if key.table != 30 or key.priority == 0}
    await sim.until(lambda: others <= sim.fake.tables.flows.keys())
    sim.fake.faults.refuses = lambda mod: False
    await sim.until(lambda: not sim.switch.status()["refused"])
    await sim.check()


@pytest.mark.parametrize("fault", ["drops_before_commit", "drops_after_commit", "drops_in_bundle"])
async def test_a_lost_connection_leaves_the_switch_as_wanted(sim: Simulation, fault: str) -> None:
    await plugged(sim, "red", 1)
    await sim.check()
    setattr(sim.fake.faults, fault, True)
    await plugged(sim, "red", 2, 3)
    await sim.until(lambda: not sim.fake.connected)
    sim.unplug(1)
    await sim.fake.connect()
    await sim.check()


async def test_a_second_connection_takes_over(sim: Simulation) -> None:
    sim.fake.faults.delay = 0.01
    await plugged(sim, "red", 1, 2)
    await sim.until(lambda: sim.fake.received["BundleAdd"] > 3)
    sim.fake.faults.delay = 0.0
    await sim.fake.connect()
    await sim.check()


async def test_a_silent_switch_is_asked_again(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "PATIENCE", 0.1)
    await sim.put_ports("red", 1)
    sim.plug(1)
    sim.fake.faults.silent = True
    await sim.until(lambda: sim.switch.status()["problem"] == "TimeoutError")
    assert not sim.switch.settled
    sim.fake.faults.silent = False
    await sim.fake.connect()
    await sim.check()
    assert sim.switch.status()["problem"] == ""


async def test_an_odd_object_keeps_its_flows_and_harms_no_other(sim: Simulation) -> None:
    await plugged(sim, "red", 1, 2)
    await sim.check()
    before = dict(sim.fake.tables.flows)
    await spoil(sim, "vm1")
    await sim.until(lambda: sim.switch.status()["failed"])
    assert any("vm1" in line for line in sim.switch.status()["failed"])
    await plugged(sim, "red", 3)
    await sim.until(lambda: len(sim.fake.tables.flows) > len(before))
    await sim.settled()
    assert before.items() <= sim.fake.tables.flows.items()
    await sim.put_ports("red", 1)
    await sim.check()


async def test_an_odd_object_keeps_its_flows_over_a_restart(sim: Simulation) -> None:
    await plugged(sim, "red", 1, 2)
    await sim.check()
    before = dict(sim.fake.tables.flows)
    await sim.stop()
    await spoil(sim, "vm1")
    sim.database.unplug("tap2")
    await sim.start()
    await sim.fake.connect()
    await plugged(sim, "red", 3)
    await sim.settled()
    own = {key for key in before if encoded(in_port=1) == key.match}
    assert own
    assert own <= sim.fake.tables.flows.keys()
    assert any(encoded(in_port=3) == key.match for key in sim.fake.tables.flows)
    await sim.delete_port("red", 1)  # what was protected goes as soon as it is clear that nobody wants it
    await sim.check()


def encoded(**fields: int) -> bytes:
    return Match(**fields).pack()


async def spoil(sim: Simulation, port: str) -> None:
    """Put something undecodable in the place of a logical port."""
    await sim.backend.commit(Preconditions(), {keys.logical_port(port): b'{"type": "logicalport"'})


def feature_of(number: int, *rules: Callable[[View], Iterator[Any]]) -> Feature:
    """A feature of these root rules."""
    feature = Feature(f"feature {number}", number)
    for rule in rules:
        feature.root(rule)
    return feature


def outside_all_tables(view: View) -> Iterator[Any]:
    """A flow in a table that does not exist."""
    yield Flow(300, 1, Match(), ())


def reads_a_directory(view: View) -> Iterator[Any]:
    """A key that is none."""
    view.get("viperflow/number/")
    yield Flow(5, 1, Match(), ())


def lists_a_key(view: View) -> Iterator[Any]:
    """A directory that is none."""
    yield Flow(5, len(view.members("viperflow")), Match(), ())


def gives_a_number(view: View) -> Iterator[Any]:
    """Neither a flow nor a group."""
    yield 5


def gives_a_list(view: View) -> Iterator[Any]:
    """An item that cannot be remembered."""
    yield Each(facts.INTERFACES, outside_all_tables, ([],))  # type: ignore[arg-type]  # wrong on purpose


def group_zero(view: View) -> Iterator[Any]:
    """A group that does not exist."""
    yield GroupEntry(0, ())


@pytest.mark.parametrize(
    "rule",
    [outside_all_tables, reads_a_directory, lists_a_key, gives_a_number, gives_a_list, group_zero],
    ids=lambda rule: rule.__name__,
)
async def test_a_bad_rule_fails_alone(
    sim: Simulation, rule: Callable[[View], Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def good(view: View) -> Iterator[Any]:
        """A flow in a table of nobody else."""
        yield Flow(5, 1, Match(), ())

    monkeypatch.setitem(FEATURES, feature := feature_of(200, rule, good), None)
    sim.add_feature(feature)
    await plugged(sim, "red", 1)
    await sim.settled()
    [failed] = sim.switch.status()["failed"]
    assert rule.__name__ in failed
    assert any(key.table == 5 for key in sim.fake.tables.flows)
    assert any(key.match == encoded(in_port=1) for key in sim.fake.tables.flows)
    sim.remove_feature(feature)
    await sim.check()


async def test_a_group_too_large_for_a_message_is_refused_alone(sim: Simulation) -> None:
    def huge(view: View) -> Iterator[Any]:
        """A copy to each of very many ports."""
        yield GroupEntry(500, tuple(Bucket((Output(number),)) for number in range(1, 2500)))

    sim.add_feature(feature := feature_of(201, huge))
    await plugged(sim, "red", 1)
    await sim.until(lambda: sim.switch.status()["refused"])
    await sim.settled()
    assert any(key.match == encoded(in_port=1) for key in sim.fake.tables.flows)
    sim.remove_feature(feature)
    await sim.check()


async def test_rules_that_contradict_each_other_are_shown(sim: Simulation) -> None:
    def one(view: View) -> Iterator[Any]:
        """One thing."""
        yield Flow(5, 1, Match(), ())
        yield Flow(5, 1, Match(), arpresponder.reply("1.2.3.4", "02:00:00:00:00:01"))

    before = dict(sim.fake.tables.flows)
    sim.add_feature(feature := feature_of(202, one))
    await sim.settled()
    assert sim.switch.status()["conflicts"] == 1
    assert sim.fake.tables.flows == sim.switch.desired.flows == (await sim.fresh()).flows
    sim.remove_feature(feature)
    await sim.check()
    assert sim.fake.tables.flows == before


async def test_an_unexpected_error_does_not_end_the_switch(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(install, "message_of", broken)
        await plugged(sim, "red", 1)
        await sim.until(lambda: sim.switch.statistics()["failures"] > 3)
        assert sim.switch.status()["problem"] == "a defect"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1  # however often it is tried
    await sim.check()
    assert sim.switch.status()["problem"] == ""


async def test_stopping_in_the_middle_of_a_bundle(sim: Simulation) -> None:
    sim.fake.faults.delay = 0.05
    await plugged(sim, "red", 1)
    await sim.until(lambda: sim.fake.received["BundleControl"])
    await asyncio.wait_for(sim.stop(), 5)
    sim.fake.faults.delay = 0.0
    await sim.start()
    await sim.fake.connect()
    await sim.check()


def test_an_encoded_flow_is_no_item_of_a_rule() -> None:
    feature = feature_of(203)
    rule = feature.rule(lambda view: iter([EncodedFlow(0, 0, b"", b"")]))
    with pytest.raises(TypeError, match="a rule gives flows"):
        rule(None)  # type: ignore[arg-type]  # wrong on purpose
