#!/usr/bin/env python3
"""A controller killed and started again while two machines ping each other, in networks of 2 and of 500 ports.

While it is down, one port is added to the network in the store, and one removed. Prints the packets sent (one every
10 ms) and lost, seconds from the new process and from its modules being loaded until both changes are effective, and
the changes that were sent. "Stopped": the same with SIGTERM and an unchanged network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import testbed

sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from network.restarts import PopulatedNetwork, Restart

SIZES = (2, 500)


def row(what: str, restart: Restart) -> tuple[str, int, int, float, float, int]:
    ping = restart.ping
    return what, ping.sent, ping.lost, restart.start, restart.loaded, restart.announced


def measure(size: int) -> tuple[Restart, Restart]:
    """Restarts of a network of this size: killed and changed meanwhile, stopped and not changed."""
    with testbed.hypervisor() as hypervisor:
        network = PopulatedNetwork(hypervisor, size)
        network.build()
        killed = network.restart(crash=True, edit=True)
        before = network.dump()
        stopped = network.restart(crash=False, edit=False)
        assert network.dump() == before, "a restart without any change has changed the flows"
        return killed, stopped


def compile_once(directory: str) -> None:
    """Let all controllers but the first start from compiled files, as an installed one does, whatever this environment
    says about writing them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = directory


def main() -> None:
    testbed.show_load()
    with TemporaryDirectory(prefix="bench-") as directory:
        compile_once(directory)
        show_restarts()


def show_restarts() -> None:
    """Measure all sizes and print what was found."""
    rows = []
    for size in SIZES:
        killed, stopped = measure(size)
        rows += [row(f"killed, {size} ports", killed), row(f"stopped, {size} ports", stopped)]
    head = ("restart", "packets", "lost", "from start s", "from loaded s", "changes")
    testbed.show(head, rows)
    print(f"sent with {SIZES[-1]} ports:")
    for change in killed.changes:
        print(f"  {change if len(change) <= 140 else change[:137] + '...'}")


main()
