"""Open vSwitch dials both connections, to virtual hosts of the controller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vlcp.lab import Controller, Hypervisor

pytestmark = pytest.mark.network


@pytest.fixture
def controller(hypervisor: Hypervisor) -> Iterator[Controller]:
    """A controller whose databases dial in at the virtual host `ovs`, as its switches do."""
    directory = hypervisor.run_directory
    settings = {
        "module.jsonrpcserver.client": False,
        "module.jsonrpcserver.url": None,
        "module.jsonrpcserver.vhost.ovs.url": f"unix://{directory}/manager.sock",
        "module.ovsdbmanager.vhostbind": "ovs",
        "module.openflowserver.url": None,
        "module.openflowserver.vhost.ovs.url": f"unix://{directory}/openflow.sock",
        "module.openflowmanager.vhostbind": ("ovs", "other"),
    }
    controller = Controller(hypervisor, settings)
    remote = (
        f"unix:{directory}/manager.sock"  # what set-manager does where the daemon reads it from its database
    )
    hypervisor.appctl("ovsdb-server/add-remote", remote, daemon="ovsdb-server")
    try:
        controller.start()
        yield controller
    finally:
        controller.stop()


def test_machines_reach_each_other(controller: Controller, hypervisor: Hypervisor) -> None:
    controller.call("viperflow/createphysicalnetwork", type="local", id="here")
    controller.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
    machines = []
    for number in (1, 2):
        port = controller.call("viperflow/createlogicalport", logicalnetwork="blue", id=f"p{number}")
        machine = hypervisor.add_machine(
            f"p{number}", mac=port["mac_address"], iface_id=f"p{number}", address=f"10.1.0.{number}/24"
        )
        machines.append(machine)
    assert machines[0].ping("10.1.0.2").lost == 0
    (database,) = controller.call("jsonrpcserver/getconnections")
    assert (database["vhost"], database["peer"]) == ("ovs", f"unix:{hypervisor.run_directory}/manager.sock")
    assert {c["vhost"] for c in controller.call("openflowserver/getconnections")} == {"ovs"}
    text = controller.log_path.read_text()
    assert "Traceback" not in text
