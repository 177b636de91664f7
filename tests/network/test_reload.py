"""New rules for a running controller: exactly their difference reaches the switch, and no packet is lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vlcp
from network.restarts import PopulatedNetwork
from vlcp.lab import Hypervisor
from vlcp.lab.controller import ControllerError

pytestmark = pytest.mark.network

ARP = "vlcp.service.sdn.arpresponder.ARPResponder"
RULES = "flow/features/arpresponder.py"
EVERYTHING = [
    "vlcp.service.sdn.dhcpserver.DHCPServer",
    "vlcp.service.sdn.ioprocessing.IOProcessing",
    "vlcp.service.sdn.l2switch.L2Switch",
    ARP,
]


class EditedNetwork(PopulatedNetwork):
    """A network whose controller runs a copy of the code, for a test to edit."""

    def __init__(self, hypervisor: Hypervisor, source: Path) -> None:
        super().__init__(hypervisor, 20)
        self.controller.source = source

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.controller.source / "vlcp" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def reload(self, *paths: str) -> None:
        self.controller.call("manager/reloadmodules", pathlist=list(paths))

    def log(self) -> str:
        return self.controller.log_path.read_text()


@pytest.fixture
def network(hypervisor: Hypervisor, tmp_path: Path) -> Iterator[EditedNetwork]:
    source = tmp_path / "src"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(vlcp.__file__).parent, source / "vlcp", ignore=ignored)
    network = EditedNetwork(hypervisor, source)
    try:
        network.build()
        yield network
    finally:
        network.controller.stop()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it does not happen"
        time.sleep(0.02)


def own_address_flows(dump: list[str]) -> list[str]:
    """The flows of the rule `own_address`, which the tests edit."""
    return [flow for flow in dump if "table=30" in flow and "in_port=" in flow]


def test_new_rules_send_their_difference(network: EditedNetwork) -> None:
    before = network.dump()
    old = own_address_flows(before)
    assert len(old) == 22 - 1, "one for each port that is there"
    with network.machines[0].background_ping(network.addresses[1], interval=0.01) as ping:
        network.reload(*EVERYTHING)
        assert network.dump() == before, "nothing has changed"
        assert network.controller.call("manager/statistics")["of"]["openflowmanager"]
        network.edit(RULES, "PRIORITY + 10", "PRIORITY + 11")
        network.reload(ARP)
        after = network.dump()
        assert set(before) - set(after) == set(old)
        new = set(after) - set(before)
        assert new == {flow.replace("priority=32778", "priority=32779") for flow in old}

        network.edit(RULES, "PRIORITY + 11", "PRIORITY + + ")
        with pytest.raises(ControllerError, match=r"409: .*arpresponder\.py:\d+: SyntaxError") as refused:
            network.reload(ARP)
        assert refused.value.status == 409
        network.edit(RULES, "PRIORITY + + ", "PRIORITY + 10 // (place.ofport - place.ofport)")
        with pytest.raises(ControllerError, match=r"409: .*rules fail .*own_address\(.*ZeroDivisionError"):
            network.reload(ARP)
        assert network.dump() == after
        network.edit(RULES, "PRIORITY + 10 // (place.ofport - place.ofport)", "PRIORITY + 10")
        network.reload(ARP)
        assert network.dump() == before
        time.sleep(1.0)  # what goes wrong may show a little later
    assert ping.result.sent > 30
    assert ping.result.lost == 0
    assert "Traceback" not in network.log()


def test_files_that_change_are_reloaded(network: EditedNetwork) -> None:
    before = network.dump()
    network.controller.terminate()
    network.controller.settings["module.manager.checkinterval"] = 0.1
    network.controller.settings["module.manager.autoreload"] = True
    network.controller.start()
    with network.machines[0].background_ping(network.addresses[1], interval=0.01) as ping:
        network.edit(RULES, "PRIORITY + 10", "PRIORITY + 12")
        until(lambda: any("priority=32780" in flow for flow in network.dump()))
        after = network.dump()
        assert set(before) - set(after) == set(own_address_flows(before))
        network.edit(RULES, "PRIORITY + 12", "PRIORITY + + ")
        until(lambda: "files have changed, but cannot reload" in network.log())
        time.sleep(0.5)
        assert network.log().count("files have changed, but cannot reload") == 1, "told once for one version"
        assert network.dump() == after
        network.edit(RULES, "PRIORITY + + ", "PRIORITY + 10")
        until(lambda: network.dump() == before)
        network.controller.call("manager/enableautoreload", enabled="false")
        network.edit(RULES, "PRIORITY + 10", "PRIORITY + 13")
        time.sleep(0.5)
        assert network.dump() == before
    assert ping.result.sent > 50
    assert ping.result.lost == 0


def test_a_feature_that_is_restarted_keeps_its_flows(network: EditedNetwork) -> None:
    before = network.dump()
    since = {name: status["since"] for name, status in network.controller.call("manager/status").items()}
    with network.machines[0].background_ping(network.addresses[1], interval=0.01) as ping:
        network.edit(
            "service/sdn/arpresponder.py",
            "class ARPResponder(FlowBase):",
            "from vlcp.server.module import depend\nfrom vlcp.service.sdn.l2switch import L2Switch\n\n\n"
            "@depend(L2Switch)\nclass ARPResponder(FlowBase):",
        )
        network.edit(RULES, "PRIORITY + 10", "PRIORITY + 11")
        network.reload(ARP)
        after = network.dump()
        assert set(before) - set(after) == set(own_address_flows(before))
    assert ping.result.lost == 0
    status = network.controller.call("manager/status")
    assert status["arpresponder"]["dependencies"] == ["l2switch", "openflowmanager", "openflowportmanager"]
    assert {name for name in since if status[name]["since"] > since[name]} == {"arpresponder", "dhcpserver"}
    network.controller.call("manager/unloadmodule", path=ARP)
    until(lambda: own_address_flows(network.dump()) == [])


@pytest.mark.parametrize(
    "path",
    [
        "vlcp.service.connection.httpserver.HttpServer",
        "vlcp.service.connection.openflowserver.OpenflowServer",
        "vlcp.service.connection.jsonrpcserver.JsonRPCServer",
        "vlcp.service.kvdb.embeddeddb.EmbeddedDB",
        "vlcp.service.kvdb.objectdb.ObjectDB",
        "vlcp.service.manage.modulemanager.Manager",
        "vlcp.service.manage.webapi.WebAPI",
        "vlcp.service.sdn.ofpmanager.OpenflowManager",
        "vlcp.service.sdn.ovsdbmanager.OVSDBManager",
        "vlcp.service.sdn.viperflow.ViperFlow",
    ],
)
def test_every_other_module_is_reloaded_without_a_lost_packet(network: EditedNetwork, path: str) -> None:
    before = network.dump()
    modules = network.controller.call("manager/activemodules")
    with network.machines[0].background_ping(network.addresses[1], interval=0.01) as ping:
        network.reload(path)
        assert network.controller.call("manager/activemodules") == modules
        until(
            lambda: all(
                s["connected"] and s["settled"] for s in network.controller.call("openflowmanager/status")
            )
        )
        assert network.dump() == before
        network.controller.call(
            "viperflow/createlogicalport", id=network.coming, logicalnetwork="blue", subnet="blue-subnet"
        )
        until(lambda: len(network.dump()) > len(before))
        network.controller.call("viperflow/deletelogicalport", id=network.coming)
        until(lambda: network.dump() == before)
    assert ping.result.lost == 0
    assert "Traceback" not in network.log()
    assert network.controller.terminate() == 0
