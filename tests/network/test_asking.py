"""What the controller answers about real switches, their databases and their ports, and how long it waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vlcp.lab import Controller, Hypervisor, Lab
from vlcp.lab.controller import ControllerError

pytestmark = pytest.mark.network

LOCAL = 0xFFFFFFFE
MAC = "02:00:00:00:00:01"


@pytest.fixture
def far(lab: Lab, hypervisor: Hypervisor) -> Hypervisor:
    """A second hypervisor; its switch and its database are the virtual host `far` of the controller."""
    return lab.add_hypervisor()


@pytest.fixture
def controller(hypervisor: Hypervisor, far: Hypervisor) -> Iterator[Controller]:
    """One controller for both hypervisors."""
    settings = {
        "module.jsonrpcserver.vhost.far.url": f"unix://{far.run_directory}/db.sock",
        "module.openflowserver.vhost.far.url": f"unix://{far.run_directory}/openflow.sock",
    }
    hypervisor.vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=near")
    controller = Controller(hypervisor, settings)
    try:
        controller.start()
        far.set_controller(f"unix:{far.run_directory}/openflow.sock")
        yield controller
    finally:
        controller.stop()


def number(hypervisor: Hypervisor) -> int:
    return int(hypervisor.datapath_id(), 16)


def refused(controller: Controller, api: str, **parameters: Any) -> tuple[int | None, str]:
    """The status and the text of a refusal."""
    with pytest.raises(ControllerError) as error:
        controller.call(api, **parameters)
    return error.value.status, str(error.value)


def while_waiting(
    controller: Controller, api: str, change: Callable[[], object], **parameters: Any
) -> tuple[Any, float]:
    """What a call answers that waits before something changes, and the seconds between change and answer."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(controller.call, api, timeout=20, **parameters)
        time.sleep(0.2)
        assert not call.done()
        change()
        changed = time.monotonic()
        return call.result(20), time.monotonic() - changed


def test_several_switches_and_databases(
    controller: Controller, hypervisor: Hypervisor, far: Hypervisor
) -> None:
    here, there = number(hypervisor), number(far)
    connection = controller.call("openflowmanager/waitconnection", datapathid=there, vhost="far")
    assert (connection["datapathid"], connection["auxiliaryid"], connection["vhost"]) == (there, 0, "far")
    assert controller.call("openflowmanager/getconnection", datapathid=there) is None
    assert set(map(tuple, controller.call("openflowmanager/getalldatapathids"))) == {
        ("", here),
        ("far", there),
    }
    assert set(map(tuple, controller.call("ovsdbmanager/getalldatapathids"))) == {("", here), ("far", there)}
    assert connection in controller.call("openflowmanager/getallconnections", vhost=None)
    endpoints = controller.call("openflowmanager/getendpoints", vhost="far")
    assert set(endpoints) <= {f"{far.run_directory}/openflow.sock", f"{far.run_directory}/br0.mgmt"}
    assert controller.call("ovsdbmanager/getendpoints", vhost="far") == [f"{far.run_directory}/db.sock"]

    uuid = far.vsctl("get", "Bridge", "br0", "_uuid").strip()
    database = controller.call("ovsdbmanager/getconnection", datapathid=far.datapath_id(), vhost="far")
    for known_as in (database, database["id"]):
        assert controller.call("ovsdbmanager/getbridges", connection=known_as) == [[there, "br0", uuid]]
        assert controller.call("ovsdbmanager/getbridgebyuuid", connection=known_as, uuid=uuid) == there
    assert controller.call("ovsdbmanager/getbridgeinfo", datapathid=there, vhost="far")[::2] == ["br0", uuid]
    assert controller.call("ovsdbmanager/getbridgeinfo", datapathid=here)[1] == "near"
    assert len(controller.call("ovsdbmanager/getallbridges")) == 2
    assert {vhost for _, _, vhost in controller.call("openflowportmanager/getallports")} == {"", "far"}


def test_a_port_is_told_as_soon_as_it_is_there(controller: Controller, hypervisor: Hypervisor) -> None:
    here = number(hypervisor)

    def plug() -> None:
        hypervisor.add_machine("alice", mac=MAC, iface_id="alice")

    (datapath, port), seconds = while_waiting(controller, "ovsdbportmanager/waitportbyid", plug, id="alice")
    assert datapath == here
    assert seconds < 1
    ids = {"datapathid": here, "portno": port["ofport"]}
    described = controller.call("openflowportmanager/waitportbyno", timeout=5, **ids)
    assert (described["port_no"], described["name"]) == (port["ofport"], port["name"])
    named = {"datapathid": here, "name": port["name"]}
    assert controller.call("openflowportmanager/getportbyname", **named) == described
    assert controller.call("ovsdbportmanager/getportbyname", **named) == port
    assert port["external_ids"]["iface-id"] == port["id"] == "alice"
    assert port["_uuid"] == hypervisor.vsctl("get", "Interface", port["name"], "_uuid").strip()

    local = controller.call("openflowportmanager/getportbyno", datapathid=here, portno=LOCAL)
    same = controller.call("ovsdbportmanager/getportbyno", datapathid=here, portno=LOCAL)
    assert (local["name"], same["name"], same["ofport"]) == ("br0", "br0", 65534)
    both = [controller.call(f"{kind}portmanager/getports", datapathid=here) for kind in ("openflow", "ovsdb")]
    assert [{port["name"] for port in ports} for ports in both] == [{"br0", port["name"]}] * 2

    hypervisor.remove_machine("alice")
    for module in ("openflowportmanager", "ovsdbportmanager"):
        controller.call(f"{module}/resync", datapathid=here)
        assert controller.call(f"{module}/getportbyno", **ids) is None
    assert controller.call("ovsdbportmanager/getportbyid", id="alice") is None
    assert "Traceback" not in controller.log_path.read_text()


def test_bridges_and_connections_that_come_and_go(controller: Controller, hypervisor: Hypervisor) -> None:
    [database] = controller.call("ovsdbmanager/getallconnections")
    assert database["systemid"] == "near"

    def add_bridge() -> None:
        hypervisor.vsctl("add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=netdev")

    found, seconds = while_waiting(
        controller, "ovsdbmanager/waitbridge", add_bridge, connection=database["id"], name="br1"
    )
    assert f"{found:016x}" == hypervisor.vsctl("get", "Bridge", "br1", "datapath_id").strip().strip('"')
    assert seconds < 1
    assert refused(controller, "openflowmanager/waitconnection", datapathid=found, timeout=0.1) == (
        504,
        f"openflowmanager/waitconnection: 504: datapath {found:016x} is not connected, and did not come within 0.1 s",
    )
    called = "unix:" + str(hypervisor.run_directory / "openflow.sock")
    connection, _ = while_waiting(
        controller,
        "openflowmanager/waitconnection",
        lambda: hypervisor.vsctl("set-controller", "br1", called),
        datapathid=found,
    )
    assert connection["datapathid"] == found
    hypervisor.vsctl("del-br", "br1")
    controller.call("ovsdbportmanager/resync", datapathid=hypervisor.datapath_id())
    assert controller.call("ovsdbmanager/getbridge", connection=database, name="br1") is None

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            refused, controller, "ovsdbmanager/waitbridge", connection=database["id"], name="br2"
        )
        time.sleep(0.2)
        controller.call("jsonrpcserver/stoplisten")
        controller.call("manager/unloadmodule", path="vlcp.service.connection.jsonrpcserver.JsonRPCServer")
        status, text = call.result(20)
    assert status == 503, text
