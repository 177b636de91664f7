"""A controller that was away: no packet is lost, and it sends nothing but what has changed meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from network.restarts import PopulatedNetwork
from vlcp.lab import Hypervisor

pytestmark = pytest.mark.network


@pytest.fixture(params=[2, 500], ids="{} ports".format)
def network(request: pytest.FixtureRequest, hypervisor: Hypervisor) -> Iterator[PopulatedNetwork]:
    network = PopulatedNetwork(hypervisor, request.param)
    try:
        network.build()
        yield network
    finally:
        network.controller.stop()


def keys(dump: list[str]) -> dict[str, str]:
    """What makes each flow or group unique (table, priority and match, or its number) -> its whole line."""
    return {re.sub(r"^cookie=\w+, |,type=.*| ?actions=.*", "", line): line for line in dump}


def expected_changes(before: list[str], after: list[str]) -> set[str]:
    """The changes, as they are logged, that lead from one dump to the other."""
    was, now = keys(before), keys(after)
    changes = {f"add {now[key]}" for key in now.keys() - was.keys()}
    changes |= {f"replace {now[key]}" for key in now.keys() & was.keys() if was[key] != now[key]}
    return changes | {f"delete {key}" for key in was.keys() - now.keys()}


def as_in_dump(change: str) -> str:
    """A deletion is logged with what a dump leaves out: table 0, the ordinary priority, the type of a group."""
    verb, _, rest = change.partition(" ")
    if verb == "delete":
        rest = rest.removeprefix("table=0, ").replace("priority=32768,", "").partition(",type=")[0]
    return f"{verb} {rest}"


def marks(network: PopulatedNetwork, name: str) -> tuple[str, ...]:
    """What the flows of a port have in their text, one or the other."""
    number, port = network.hypervisor.port_number(name), network.logical_port(name)
    return f"in_port={number} ", f"reg6={number:#x},", port["mac_address"], f"={port['ip_address']},"


def test_a_crash_while_the_network_changes(network: PopulatedNetwork) -> None:
    before = network.dump()
    leaving = marks(network, network.leaving)
    restart = network.restart(crash=True, edit=True)
    after = network.dump()
    assert restart.ping.sent > 100
    assert restart.ping.lost == 0
    assert {as_in_dump(change) for change in restart.changes} == expected_changes(before, after)
    assert len(restart.changes) == restart.announced
    of_ports = (*leaving, *marks(network, network.coming))
    flows = [change for change in restart.changes if "group_id=" not in change]
    assert [flow for flow in flows if not any(mark in f"{flow} " for mark in of_ports)] == []
    assert len(flows) == 12
    assert len(restart.changes) - len(flows) <= 3, "two small groups, and the one over all of them"


def test_an_orderly_stop_and_start_change_nothing(network: PopulatedNetwork) -> None:
    before = network.dump()
    assert network.controller.terminate() == 0
    assert network.dump() == before
    network.controller.start()
    restart = network.restart(crash=False, edit=False)
    assert restart.ping.sent > 50
    assert restart.ping.lost == 0
    assert (restart.announced, restart.changes) == (0, ())
    assert network.dump() == before
