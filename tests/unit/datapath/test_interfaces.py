"""Rows of OVSDB become facts of bridges, whatever comes first and however it changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from vlcp.datapath.facts import Facts
from vlcp.datapath.interfaces import Interfaces
from vlcp.derive.view import UNREAD
from vlcp.flow import facts as keys
from vlcp.flow.facts import Interface
from vlcp.wire.ovsdb import RowChange, Uuid


class Database:
    """A made-up OVSDB: rows by table, and the changes that a monitor would tell."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {"Bridge": {}, "Port": {}, "Interface": {}}

    def put(self, table: str, uuid: str, row: dict[str, Any] | None) -> RowChange:
        old = self.rows[table].pop(uuid, None)
        if row is not None:
            self.rows[table][uuid] = row
        return RowChange(table, Uuid(uuid), old, row)

    def bridge(self, uuid: str, ports: set[str], datapath_id: str | None = "0000000000000001") -> RowChange:
        return self.put(
            "Bridge",
            uuid,
            {"name": uuid, "datapath_id": datapath_id, "ports": frozenset(ports), "controller": frozenset()},
        )

    def port(self, uuid: str, *interfaces: str) -> RowChange:
        return self.put("Port", uuid, {"interfaces": frozenset(interfaces)})

    def interface(self, uuid: str, iface_id: str | None, ofport: int | None) -> RowChange:
        ids = {"iface-id": iface_id} if iface_id else {}
        return self.put("Interface", uuid, {"name": uuid, "ofport": ofport, "external_ids": ids})


@pytest.fixture
def facts() -> Facts:
    return Facts(lambda: None)


def known(facts: Facts) -> dict[str, Interface]:
    """iface-id -> interface, as the facts say; and every port number must lead back to its iface-id."""
    found = {name: facts.get(keys.interface(name)) for name in facts.members(keys.INTERFACES)}
    for name, interface in found.items():
        if interface.ofport is not None:
            assert facts.get(keys.iface_id_at(interface.ofport)) == name
    return found


def plugged(database: Database, interfaces: Interfaces) -> None:
    rows = [
        database.interface("tap1", "vm1", 5),
        database.interface("eth0", None, 1),
        database.port("p1", "tap1"),
        database.port("p0", "eth0"),
        database.bridge("br0", {"p0", "p1"}),
    ]
    interfaces.apply(rows)


def test_a_bridge_that_is_not_known_leaves_the_facts_unread(facts: Facts) -> None:
    interfaces = Interfaces()
    interfaces.attach(1, facts)
    assert facts.members(keys.INTERFACES) is UNREAD


@pytest.mark.parametrize("attached", ["before", "after"])
def test_an_interface_with_an_iface_id_is_told(facts: Facts, attached: str) -> None:
    database, interfaces = Database(), Interfaces()
    if attached == "before":
        interfaces.attach(1, facts)
    plugged(database, interfaces)
    if attached == "after":
        interfaces.attach(1, facts)
    assert known(facts) == {"vm1": Interface("tap1", 5)}
    assert interfaces.datapaths() == {1: "br0"}


def test_what_comes_later_is_noticed(facts: Facts) -> None:
    database, interfaces = Database(), Interfaces()
    interfaces.attach(1, facts)
    plugged(database, interfaces)
    interfaces.apply([database.interface("eth0", "vm2", 1)])
    interfaces.apply([database.interface("tap1", "vm1", 9)])
    assert known(facts) == {"vm1": Interface("tap1", 9), "vm2": Interface("eth0", 1)}
    assert facts.get(keys.iface_id_at(5)) is None
    interfaces.apply([database.interface("tap1", "vm1", -1)])
    assert known(facts)["vm1"] == Interface("tap1", None)
    interfaces.apply([database.put("Interface", "tap1", None), database.bridge("br0", {"p0"})])
    assert known(facts) == {"vm2": Interface("eth0", 1)}


def test_of_two_interfaces_with_one_iface_id_the_lower_port_is_used(facts: Facts) -> None:
    database, interfaces = Database(), Interfaces()
    interfaces.attach(1, facts)
    plugged(database, interfaces)
    interfaces.apply([database.interface("eth0", "vm1", 1)])
    assert known(facts) == {"vm1": Interface("eth0", 1)}
    interfaces.apply([database.interface("eth0", None, 1)])
    assert known(facts) == {"vm1": Interface("tap1", 5)}


def test_two_interfaces_that_swap_their_ports_keep_their_names(facts: Facts) -> None:
    database, interfaces = Database(), Interfaces()
    interfaces.attach(1, facts)
    plugged(database, interfaces)
    interfaces.apply([database.interface("eth0", "vm2", 1)])
    interfaces.apply([database.interface("eth0", "vm2", 5), database.interface("tap1", "vm1", 1)])
    assert known(facts) == {"vm1": Interface("tap1", 1), "vm2": Interface("eth0", 5)}


def test_a_database_that_connects_again_replaces_what_was_known(facts: Facts) -> None:
    database, interfaces = Database(), Interfaces()
    interfaces.attach(1, facts)
    plugged(database, interfaces)
    facts.take()
    again = Interfaces()
    again.apply(
        [database.interface("tap2", "vm2", 6), database.port("p1", "tap2"), database.bridge("br0", {"p1"})]
    )
    again.attach(1, facts)
    assert known(facts) == {"vm2": Interface("tap2", 6)}
    change = facts.take()
    assert change.joined == {keys.INTERFACES: {"vm2"}}
    assert change.left == {keys.INTERFACES: {"vm1"}}


@pytest.mark.parametrize("seed", range(30))
def test_any_history_equals_the_same_rows_read_at_once(seed: int, facts: Facts) -> None:
    chance = random.Random(seed)
    database, interfaces = Database(), Interfaces()
    interfaces.attach(1, facts)
    for _ in range(60):
        interfaces.apply([_random_change(chance, database) for _ in range(chance.randrange(1, 4))])
    fresh, expected = Interfaces(), Facts(lambda: None)
    fresh.attach(1, expected)
    rows = [(table, uuid, row) for table in database.rows for uuid, row in database.rows[table].items()]
    chance.shuffle(rows)
    fresh.apply([RowChange(table, Uuid(uuid), None, row) for table, uuid, row in rows])
    if 1 in interfaces.datapaths():
        assert known(facts) == known(expected)


def _random_change(chance: random.Random, database: Database) -> RowChange:
    what, number = chance.randrange(5), chance.randrange(6)
    if what == 0:
        ports = {f"p{n}" for n in range(6) if chance.random() < 0.6}
        return database.bridge("br0", ports, chance.choice(("0000000000000001", "0000000000000001", None)))
    if what == 1:
        return database.port(f"p{number}", *(f"tap{number}{n}" for n in range(chance.randrange(3))))
    if what == 2:
        return database.put("Interface", f"tap{number}0", None)
    tap, iface_id = f"{number}{chance.randrange(2)}", chance.choice((None, f"vm{chance.randrange(4)}"))
    ofport = chance.choice((None, -1, int(tap) + 1, int(tap) + 101))
    return database.interface(f"tap{tap}", iface_id, ofport)


# What users ask for


def test_ports_are_found_by_name_number_and_id() -> None:
    database, interfaces = Database(), Interfaces()
    plugged(database, interfaces)
    uplink, machine = interfaces.ports(1)
    assert (uplink["name"], uplink["ofport"], uplink["id"]) == ("eth0", 1, None)
    assert interfaces.port_named(1, "tap1") == interfaces.port_numbered(1, 5) == machine
    assert interfaces.port_of("vm1") == (1, machine)
    for nothing in (
        interfaces.port_named(1, "tap2"),
        interfaces.port_numbered(2, 5),
        interfaces.port_of("vm2"),
    ):
        assert nothing is None
    machine["external_ids"]["iface-id"] = "changed by who asked"
    assert interfaces.ports(1)[1]["id"] == "vm1"


def test_an_interface_without_port_is_none_until_it_has_one() -> None:
    database, interfaces = Database(), Interfaces()
    interfaces.apply([database.interface("tap1", "vm1", None), database.port("p1", "tap1")])
    interfaces.apply([database.bridge("br0", {"p1"})])
    assert (interfaces.ports(1), interfaces.port_of("vm1")) == ([], None)
    interfaces.apply([database.interface("tap1", "vm1", -1)])
    assert (interfaces.ports(1), interfaces.port_of("vm1")) == ([], None)
    interfaces.apply([database.interface("tap1", "vm1", 7)])
    assert [port["ofport"] for port in interfaces.ports(1)] == [7]
    assert interfaces.port_of("vm1") == (1, interfaces.port_named(1, "tap1"))


def test_the_machine_may_have_a_name() -> None:
    interfaces = Interfaces()
    assert interfaces.system_id is None
    row: dict[str, Any] = {"external_ids": {}}
    for ids, expected in (({}, None), ({"system-id": "a"}, "a"), ({"system-id": "b"}, "b")):
        interfaces.apply([RowChange("Open_vSwitch", Uuid("o"), row, row := {"external_ids": ids})])
        assert interfaces.system_id == expected
