"""The ports of a switch, by number and by name, however they change."""

from __future__ import annotations

import random

from vlcp.datapath.ports import PortTable
from vlcp.wire.openflow import PortDesc


def test_a_port_that_is_renamed_has_only_its_new_name() -> None:
    table = PortTable()
    table.replace([PortDesc(1, name="tap1")])
    table.put(PortDesc(1, name="tap2"))
    assert table.named("tap1") is None
    assert table.named("tap2") == table.numbered(1) == PortDesc(1, name="tap2")


def test_a_name_that_moved_on_stays_when_its_old_port_goes() -> None:
    table = PortTable()
    table.put(PortDesc(1, name="tap1"))
    table.put(PortDesc(2, name="tap1"))
    table.remove(1)
    assert table.named("tap1") == PortDesc(2, name="tap1")


def test_any_history_ends_as_if_the_ports_were_described_anew() -> None:
    rng = random.Random(0)
    table, ports = PortTable(), dict[int, PortDesc]()
    for _ in range(500):
        number = rng.randrange(6)
        name = f"tap{rng.choice([n for n in range(9) if f'tap{n}' not in {p.name for p in ports.values()}])}"
        if rng.random() < 0.6:
            ports[number] = PortDesc(number, name=name)
            table.put(ports[number])
        else:
            ports.pop(number, None)
            table.remove(number)
        fresh = PortTable()
        fresh.replace(ports.values())
        assert {port.number: port for port in table.all()} == ports
        assert [table.named(f"tap{n}") for n in range(9)] == [fresh.named(f"tap{n}") for n in range(9)]
