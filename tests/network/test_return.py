"""A controller that was away for a while takes its switch back at once, whenever the switch would have called again."""

from __future__ import annotations

import time

import pytest

from vlcp.lab import Controller, Hypervisor

pytestmark = pytest.mark.network


def test_the_switch_need_not_call_first(controller: Controller, hypervisor: Hypervisor) -> None:
    hypervisor.add_machine("alice", mac="02:00:00:00:00:01", iface_id="alice")
    controller.call("viperflow/createphysicalnetwork", type="local", id="here")
    controller.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
    controller.kill()
    time.sleep(7.5)  # Open vSwitch calls after 1, 3, 7 and 15 seconds
    started = time.monotonic()
    controller.start()
    controller.call("viperflow/createlogicalport", logicalnetwork="blue", id="alice")
    while not hypervisor.dump_flows("table=0,in_port=1"):
        assert time.monotonic() - started < 5, "the switch was not reached before its own call"
        time.sleep(0.02)
