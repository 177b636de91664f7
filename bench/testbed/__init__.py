"""Where the benchmarks measure: a private Open vSwitch that this process is connected to, and a client of the API.

Everything is timed in this process, by one clock and in one event loop: what the controller does, and what Open vSwitch
alone needs for the same change (the floor).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from testbed.bridge import Bridge, attached, hypervisor
from testbed.client import Client, make_network, until_settled
from testbed.figures import cpu_seconds, median, show, show_load, timed
from testbed.flowmonitor import FlowMonitor

__all__ = [
    "Bridge",
    "Client",
    "FlowMonitor",
    "attached",
    "cpu_seconds",
    "hypervisor",
    "make_network",
    "median",
    "show",
    "show_load",
    "timed",
    "until_settled",
]
