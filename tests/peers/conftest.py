"""One controller for all tests of a file; whatever they did, it lives, and its log has no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.controller import Controller
from peers.place import Place


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A running controller with a small network: a physical network `p`, a network `n`, a subnet `s`, a port `a`."""
    running = Controller(tmp_path_factory.mktemp("controller"))
    try:
        running.result("viperflow/createphysicalnetwork", type="local", id="p")
        running.result("viperflow/createlogicalnetwork", physicalnetwork="p", id="n")
        running.result("viperflow/createlogicalnetwork", physicalnetwork="p", id="m")
        running.result(
            "viperflow/createsubnet", logicalnetwork="n", id="s", cidr="10.0.0.0/24", gateway="10.0.0.1"
        )
        running.result(
            "viperflow/createlogicalport", logicalnetwork="n", subnet="s", id="a", ip_address="10.0.0.9",
            mac_address="02:00:00:00:00:09",
        )  # fmt: skip
        yield running
        assert running.process.poll() is None
    finally:
        status = running.end()
    assert (status, [line for line in running.log().splitlines() if "Traceback" in line]) == (0, [])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A directory with a configuration file that starts a lamp."""
    prepared = Place(tmp_path)
    yield prepared
    prepared.close()
