"""Open vSwitch and the controller over TLS, each with a certificate that the other one checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from vlcp.lab import Controller, Hypervisor
from vlcp.lab.openvswitch import BRIDGE
from vlcp.lab.process import stop

pytestmark = pytest.mark.network

OPENFLOW, OVSDB, PASSIVE = "ssl:127.0.0.1:6653", "ssl:127.0.0.1:6640", "pssl:6641:127.0.0.1"


class TlsController(Controller):
    """Its switch dials by TLS, so it runs in the switch's namespace."""

    def _introduce(self) -> None:
        self.hypervisor.set_controller(OPENFLOW)


@pytest.fixture
def hypervisor(hypervisor: Hypervisor) -> Hypervisor:
    """A hypervisor whose database server obeys `set-ssl` and `set-manager`, as that of a distribution does."""
    pid = hypervisor.pid("ovsdb-server")
    assert pid is not None
    stop([pid])
    ssl = {"private-key": "private_key", "certificate": "certificate", "ca-cert": "ca_cert"}
    hypervisor._daemon(
        "ovsdb-server",
        str(hypervisor.directory / "conf.db"),
        f"--remote=p{hypervisor.database}",
        "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        *(f"--{option}=db:Open_vSwitch,SSL,{column}" for option, column in ssl.items()),
    )
    return hypervisor


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def start(hypervisor: Hypervisor, authority: Authority) -> Iterator[Callable[..., Controller]]:
    """Starts a controller that takes and shows certificates of the authority, with further settings."""
    certificate, key = authority.sign("controller")
    own = {"certificate": certificate, "key": key, "ca_certs": authority.certificate}
    servers = ("openflowserver", "jsonrpcserver")
    settings = {f"module.{server}.{name}": file for server in servers for name, file in own.items()}
    settings["module.openflowserver.url"] = "ssl://127.0.0.1"
    with hypervisor.entered():
        started: list[Controller] = []

        def begin(**more: Any) -> Controller:
            jsonrpc = {f"module.jsonrpcserver.{name}": value for name, value in more.items()}
            started.append(TlsController(hypervisor, {**settings, **jsonrpc}))
            started[0].start()
            return started[0]

        yield begin
        for controller in started:
            controller.stop()


def set_ssl(hypervisor: Hypervisor, authority: Authority, trusted: Authority) -> None:
    """Give the switch a certificate of one authority; it trusts another one."""
    certificate, key = authority.sign("switch", "DNS:switch,IP:127.0.0.1")
    hypervisor.vsctl("set-ssl", key, certificate, trusted.certificate)


def peers(controller: Controller, module: str) -> list[str]:
    return [connection["local"] for connection in controller.call(f"{module}/getconnections")]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_machines_reach_each_other(controller: Controller, hypervisor: Hypervisor) -> None:
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


def test_the_switch_and_its_database_dial(
    start: Callable[..., Controller], hypervisor: Hypervisor, authority: Authority
) -> None:
    set_ssl(hypervisor, authority, authority)
    hypervisor.vsctl("set-manager", OVSDB)
    controller = start(client=False, url="ssl://127.0.0.1:6640")
    assert_machines_reach_each_other(controller, hypervisor)
    assert set(peers(controller, "openflowserver")) == {"127.0.0.1:6653"}
    assert peers(controller, "jsonrpcserver") == ["127.0.0.1:6640"]


def test_the_database_is_dialled(
    start: Callable[..., Controller], hypervisor: Hypervisor, authority: Authority
) -> None:
    set_ssl(hypervisor, authority, authority)
    hypervisor.vsctl("set-manager", PASSIVE)
    controller = start(url="ssl://127.0.0.1:6641")
    assert_machines_reach_each_other(controller, hypervisor)
    (server,) = controller.call("jsonrpcserver/getservers")
    assert (server["connected"], server["error"]) == (True, None)


def test_a_switch_with_a_strangers_certificate_is_not_let_in(
    start: Callable[..., Controller], hypervisor: Hypervisor, authority: Authority, tmp_path: Path
) -> None:
    set_ssl(hypervisor, authority, authority)
    controller = start()
    assert set(peers(controller, "openflowserver")) == {"127.0.0.1:6653"}
    set_ssl(hypervisor, Authority(tmp_path, "stranger"), authority)
    hypervisor.vsctl("del-controller", BRIDGE)
    until(lambda: not peers(controller, "openflowserver"))
    (before,) = controller.call("openflowserver/getservers")
    hypervisor.set_controller(OPENFLOW)
    until(lambda: controller.call("openflowserver/getservers")[0]["accepted"] >= before["accepted"] + 2)
    assert peers(controller, "openflowserver") == []
    set_ssl(hypervisor, authority, authority)
    until(lambda: peers(controller, "openflowserver"))
