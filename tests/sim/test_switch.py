"""One switch and its controller: what is sent, and when."""

from __future__ import annotations

import msgspec
import pytest

from sim.simulation import Simulation, port_writes
from sim.tables import Entry, Key
from vlcp.flow.features import arpresponder, dhcpserver, ioprocessing, l2switch
from vlcp.flow.rules import Feature, feature_number
from vlcp.flow.tables import Table
from vlcp.model import keys, params, patches
from vlcp.model.changes.logicalports import update_logical_ports
from vlcp.model.objects import LogicalNetwork
from vlcp.wire.openflow import (
    ApplyActions,
    FlowMod,
    FlowModCommand,
    GotoTable,
    Match,
    Output,
    SetField,
    encode_instructions,
    encode_match,
)

ALIEN = Key(20, 77, encode_match(Match(in_port=9)))


def changes(sim: Simulation) -> int:
    """Flows and groups that were changed since the counts were forgotten."""
    return len(sim.fake.mods)


async def some_ports(sim: Simulation) -> None:
    """Two ports in one network, one in the other, all plugged."""
    await sim.put_ports("red", 1, 2)
    await sim.put_ports("blue", 3)
    for number in (1, 2, 3):
        sim.plug(number)
    await sim.check()
    sim.fake.forget_counts()


async def test_ports_come_and_go(sim: Simulation) -> None:
    await some_ports(sim)
    assert len(sim.fake.tables.groups) == 5  # a group for each network, and one for each shard with a port
    before = dict(sim.fake.tables.flows)
    sim.unplug(2)
    await sim.check()
    assert len(sim.fake.tables.flows) < len(before)
    sim.plug(2)
    await sim.check()
    assert sim.fake.tables.flows == before


async def test_a_deleted_port_takes_its_flows_with_it(sim: Simulation) -> None:
    await some_ports(sim)
    before = dict(sim.fake.tables.flows)
    await sim.delete_port("blue", 3)
    await sim.check()
    assert not any(key.match == encode_match(Match(in_port=3)) for key in sim.fake.tables.flows)
    await sim.put_ports("blue", 3)
    await sim.check()
    assert sim.fake.tables.flows == before


async def test_ports_swap_their_addresses(sim: Simulation) -> None:
    await sim.put_ports("red", 5, 6)
    sim.plug(5)
    sim.plug(6)
    await some_ports(sim)
    before = dict(sim.fake.tables.flows)
    five, six = ({"mac_address": f"02:00:00:00:00:0{n}", "ip_address": f"10.0.0.{n}"} for n in (5, 6))
    await change_ports(sim, {"id": "vm5", **six}, {"id": "vm6", **five})
    await sim.check()
    to_five = encode_match(Match(reg5=1, eth_dst=0x020000000005))
    [key] = [key for key in before if key.table == Table.L2OUTPUT and key.match == to_five]
    decide = ApplyActions((SetField("reg6", 6),))
    assert sim.fake.tables.flows[key].instructions == encode_instructions((decide, GotoTable(Table.EGRESS)))
    assert 0 < changes(sim) <= 8  # of each port: where frames to it leave, and ARP for and about its address
    await change_ports(sim, {"id": "vm5", **five}, {"id": "vm6", **six})
    await sim.check()
    assert sim.fake.tables.flows == before


async def change_ports(sim: Simulation, *ports: dict[str, str]) -> None:
    """As the API does."""
    await sim.transactor.run(update_logical_ports, patches.logical_ports(params.batch("ports", list(ports))))


async def test_a_network_gets_another_number(sim: Simulation) -> None:
    await some_ports(sim)
    renumbered = LogicalNetwork(id="red", physicalnetwork="p", number=77)
    await sim.write({keys.logical_network("red"): renumbered})
    await sim.check()
    assert {number // 64 for number in sim.fake.tables.groups} == {77, 2}


async def test_an_interface_gets_another_iface_id(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.put_ports("blue", 4)
    sim.plug(2, iface_id="vm4")
    await sim.check()
    assert changes(sim)
    sim.plug(2)
    await sim.check()


async def test_an_interface_moves_to_another_port(sim: Simulation) -> None:
    await some_ports(sim)
    sim.fake.remove_port(2)
    sim.plug(2, ofport=22)
    await sim.check()
    matches = [key.match for key in sim.fake.tables.flows]
    assert encode_match(Match(in_port=22)) in matches
    assert encode_match(Match(in_port=2)) not in matches


async def test_a_new_connection_without_change_sends_nothing(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.fake.connect()
    await sim.check()
    assert changes(sim) == 0
    assert sim.fake.received["BundleControl"] == 0


async def test_a_new_controller_without_change_sends_nothing(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.stop()
    await sim.start()
    await sim.fake.connect()
    await sim.check()
    assert changes(sim) == 0
    assert sim.fake.received["BundleControl"] == 0


async def test_only_what_changed_while_the_controller_was_away_is_sent(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.put_ports("blue", 5)
    await sim.check()
    one_port = await port_cost(sim, 5)
    await sim.stop()
    await sim.start()
    sim.plug(6)
    await sim.put_ports("blue", 6)
    await sim.fake.connect()
    await sim.check()
    assert changes(sim) <= one_port + 1  # and the ARP answer, which the other port had before it was plugged


async def port_cost(sim: Simulation, number: int) -> int:
    """How many changes it takes to plug a port."""
    sim.fake.forget_counts()
    sim.plug(number)
    await sim.check()
    cost = changes(sim)
    sim.fake.forget_counts()
    return cost


async def test_what_somebody_did_to_the_tables_is_undone_on_connection(sim: Simulation) -> None:
    await some_ports(sim)
    tables = sim.fake.tables
    flow = next(key for key in tables.flows if key.table == 100)
    other = next(key for key in tables.flows if key.table == 70)
    third = next(key for key in tables.flows if key.table == 30)
    group = next(iter(tables.groups))
    await sim.fake.disconnect()
    tables.flows[ALIEN] = Entry(0, encode_instructions((ApplyActions((Output(1),)),)))
    del tables.flows[flow]
    tables.flows[other] = tables.flows[other]._replace(cookie=5)
    tables.flows[third] = tables.flows[third]._replace(limits=(60, 0, 0))
    tables.groups[group] = (1, b"")
    tables.groups[4000] = (0, b"")
    await sim.fake.connect()
    await sim.check()
    assert changes(sim) == 6


async def test_a_group_of_another_type_is_not_taken_for_ours(sim: Simulation) -> None:
    await some_ports(sim)
    group, (_, buckets) = next(iter(sim.fake.tables.groups.items()))
    await sim.fake.disconnect()
    sim.fake.tables.groups[group] = (1, buckets)
    await sim.fake.connect()
    await sim.check()
    assert changes(sim) == 1


async def test_changes_that_come_during_a_bundle_are_merged_into_the_next(sim: Simulation) -> None:
    await some_ports(sim)
    sim.fake.faults.delay = 0.02
    sim.plug(5)
    await sim.put_ports("red", 5)
    await sim.until(lambda: sim.fake.received["BundleControl"] > 0)
    for number in range(6, 12):
        sim.plug(number)
        await sim.put_ports("red", number)
    sim.fake.faults.delay = 0.0
    await sim.check()
    # Opened, closed and committed: the first, the ARP answers of the others, and the rest when the store has told it.
    assert sim.fake.received["BundleControl"] <= 3 * 3


async def test_a_switch_is_not_settled_while_a_bundle_is_under_way(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.put_ports("red", 5)
    await sim.settled()
    sim.fake.forget_counts()
    sim.fake.faults.delay = 0.01
    sim.plug(5)
    await sim.until(lambda: sim.fake.received["BundleControl"] > 0)
    assert not sim.switch.settled
    await sim.switch.wait_settled()
    assert sim.fake.tables.flows == sim.switch.desired.flows
    sim.fake.faults.delay = 0.0


@pytest.mark.parametrize("feature", [l2switch.FEATURE, arpresponder.FEATURE, dhcpserver.FEATURE])
async def test_unloading_a_feature_withdraws_its_flows_and_no_other(
    sim: Simulation, feature: Feature
) -> None:
    await some_ports(sim)
    before = dict(sim.fake.tables.flows)
    others = {key: entry for key, entry in before.items() if feature_number(entry.cookie) != feature.number}
    assert len(others) < len(before)
    sim.remove_feature(feature)
    await sim.check()
    assert sim.fake.tables.flows == others
    sim.add_feature(feature)
    await sim.check()
    assert sim.fake.tables.flows == before


async def test_without_its_first_feature_a_switch_has_no_group(sim: Simulation) -> None:
    await some_ports(sim)
    sim.remove_feature(ioprocessing.FEATURE)
    await sim.check()
    assert sim.fake.tables.groups == {}


async def test_a_stopped_controller_leaves_the_flows(sim: Simulation) -> None:
    await some_ports(sim)
    before = dict(sim.fake.tables.flows)
    await sim.stop()
    assert before == sim.fake.tables.flows
    assert changes(sim) == 0


async def test_nothing_is_deleted_before_ovsdb_is_connected(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.stop()
    await sim.start(ovsdb=False)
    await sim.fake.connect()
    await sim.until(lambda: sim.switch.status()["connected"])
    await sim.put_ports("blue", 9)
    assert (changes(sim), sim.switch.settled) == (0, False)
    sim.follow_ovsdb()
    await sim.check()
    assert changes(sim) == 1  # the new port's ARP answer


async def test_nothing_is_deleted_while_the_store_is_away(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.stop()
    await sim.start(store=False)
    await sim.fake.connect()
    await sim.until(lambda: sim.switch.status()["connected"] and sim.mirror.away)
    assert (changes(sim), sim.switch.settled) == (0, False)
    await sim.backend.open()
    await sim.check()
    assert changes(sim) == 0


async def test_while_a_port_waits_for_the_store_nothing_is_deleted(sim: Simulation) -> None:
    await some_ports(sim)
    await sim.put_ports("red", 5)
    await sim.backend.close()
    sim.plug(5)
    await sim.until(lambda: sim.switch.statistics()["waiting"] and sim.mirror.away)
    sim.fake.forget_counts()
    sim.unplug(1)
    await sim.connections[0].barrier()
    await sim.connections[0].barrier()
    assert all(mod.command == FlowModCommand.ADD for mod in sim.fake.mods if isinstance(mod, FlowMod))
    assert any(key.match == encode_match(Match(in_port=1)) for key in sim.fake.tables.flows)
    assert not sim.switch.settled
    await sim.backend.open()
    await sim.check()
    assert not any(key.match == encode_match(Match(in_port=1)) for key in sim.fake.tables.flows)


async def test_garbage_in_packets_harms_nobody(sim: Simulation) -> None:
    await some_ports(sim)
    cookie = dhcpserver.FEATURE.number << 56
    for frame in (b"", b"\0" * 13, bytes(range(256)), b"\xff" * 60):
        for in_port in (0, 1, 99):
            sim.fake.packet_in(in_port, frame, cookie=cookie)
            sim.fake.packet_in(in_port, frame, cookie=250 << 56)
    await sim.check()
    assert sim.switch.statistics()["packets"] == 24
    assert (changes(sim), sim.fake.sent_out) == (0, [])


async def test_ports_of_equal_addresses_in_two_networks(sim: Simulation) -> None:
    await sim.put_ports("red", 1)
    port, summary = port_writes("blue", 1).values()
    twin = msgspec.structs.replace(port, id="twin")
    await sim.write({keys.logical_port("twin"): twin, keys.ports_of("blue") + "twin": summary})
    sim.plug(1)
    sim.plug(2, iface_id="twin")
    await sim.check()
