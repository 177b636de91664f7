"""Two controllers on one machine share the file of the embedded store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from effort import effort
from peers.controller import MODULES, Controller

SOON = 0.05
"""Seconds after which the other controller knows, on a machine that has nothing else to do."""
Pair = tuple[Controller, Controller]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two controllers at one file; a physical network `p`, a network `n`, a subnet `s`."""
    store = f"module.embeddeddb.path = '{tmp_path}/shared.db'\n"
    running: list[Controller] = []
    try:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            running.append(
                Controller(tmp_path / name, (*MODULES, "vlcp.service.kvdb.objectdb.ObjectDB"), store)
            )
        one, two = running
        one.result("viperflow/createphysicalnetwork", type="local", id="p")
        one.result("viperflow/createlogicalnetwork", physicalnetwork="p", id="n")
        two.result(
            "viperflow/createsubnet", logicalnetwork="n", id="s", cidr="10.0.0.0/22", gateway="10.0.0.1"
        )
        yield one, two
    finally:
        for controller in running:
            controller.end()
    assert [line for each in running for line in each.log().splitlines() if "Traceback" in line] == []


def wait(condition: Callable[[], bool]) -> float:
    """Seconds until something is so."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < 5
    return time.monotonic() - begin


def listed(controller: Controller, port: str) -> bool:
    return bool(controller.call("viperflow/listlogicalports", id=port).body["result"])


def held(controller: Controller, port: str) -> Any:
    """What the controller's copy of the store has of a port; the port is followed from then on."""
    return controller.result("objectdb/get", key=f"viperflow.logicalport.{port}", requestid="test")


def create(controller: Controller, **port: Any) -> dict[str, Any]:
    return dict(controller.result("viperflow/createlogicalport", logicalnetwork="n", **port))


def test_what_one_creates_the_other_lists_at_once(pair: Pair) -> None:
    delays = []
    for number, (here, there) in zip(range(20), itertools.cycle((pair, pair[::-1])), strict=False):
        create(here, subnet="s", id=f"port{number}")
        delays.append(wait(lambda there=there, number=number: listed(there, f"port{number}")))
    assert sorted(delays)[len(delays) // 2] < SOON


def test_a_copy_in_memory_follows_what_the_other_does(pair: Pair) -> None:
    one, two = pair
    delays = []
    for number in range(5):
        create(one, id="a", mac_address=f"02:00:00:00:00:{number:02x}")
        mac = f"02:00:00:00:00:{number:02x}"
        delays.append(wait(lambda mac=mac: mac in str(held(two, "a"))))
        one.result("viperflow/deletelogicalport", id="a")
        delays.append(wait(lambda: held(two, "a") is None))
    assert sorted(delays)[len(delays) // 2] < SOON


def test_what_one_was_answered_the_other_builds_on(pair: Pair) -> None:
    """Without any delay: a change is checked against the file."""
    for number, (here, there) in zip(range(20), itertools.cycle((pair, pair[::-1])), strict=False):
        here.result("viperflow/createlogicalnetwork", physicalnetwork="p", id=f"n{number}")
        there.result("viperflow/createlogicalport", logicalnetwork=f"n{number}", id=f"p{number}")
        assert here.call("viperflow/deletelogicalnetwork", id=f"n{number}").status == 409


def test_no_address_is_given_twice(pair: Pair) -> None:
    count = effort(40)
    with ThreadPoolExecutor(8) as threads:
        ports = list(
            threads.map(
                lambda number: create(pair[number % 2], subnet="s", id=f"port{number}"),
                range(min(count, 900)),
            )
        )
    addresses = {port["ip_address"] for port in ports}
    assert len(addresses) == len({port["mac_address"] for port in ports}) == len(ports)
    for controller in pair:
        found = controller.result("viperflow/listlogicalports", logicalnetwork="n")
        assert {port["ip_address"] for port in found} == addresses


def test_one_goes_on_when_the_other_is_killed(pair: Pair) -> None:
    one, two = pair
    with ThreadPoolExecutor(1) as thread:
        busy = thread.submit(lambda: [create(two, subnet="s", id=f"busy{n}") for n in range(10_000)])
        wait(lambda: listed(one, "busy5"))
        two.process.kill()
        two.process.wait()
        with pytest.raises(OSError):
            busy.result(10)
    begin = time.monotonic()
    create(one, subnet="s", id="after")
    assert time.monotonic() - begin < 1
    ports = one.result("viperflow/listlogicalports", logicalnetwork="n")
    assert len({port["ip_address"] for port in ports}) == len(ports)
    assert [port["id"] for port in ports if port["id"].startswith("busy")] != []
    one.result("viperflow/deletelogicalports", ports=[{"id": port["id"]} for port in ports])
    assert one.result("viperflow/listlogicalports", logicalnetwork="n") == []
