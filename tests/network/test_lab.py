"""The lab proves itself with a plain Open vSwitch: what the other tests rely on is really so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vlcp.lab import Controller, ControllerError, Hypervisor, Lab, LabError, Machine, cleanup, remains

pytestmark = pytest.mark.network

LEASES = """
start 10.9.0.50
end 10.9.0.59
interface eth0
lease_file {directory}/leases
pidfile {directory}/pid
option subnet 255.255.255.0
option router 10.9.0.254
option dns 10.9.0.253
option mtu 1400
option lease 600
{more}
"""


def normal(hypervisor: Hypervisor) -> None:
    """Let the bridge behave as a plain learning switch."""
    hypervisor.ofctl("add-flow", "br0", "actions=normal")


@pytest.fixture
def pair(hypervisor: Hypervisor) -> tuple[Machine, Machine]:
    """Two machines on a learning switch."""
    normal(hypervisor)
    alice = hypervisor.add_machine("alice", mac="02:00:00:00:00:01", address="10.9.0.1/24", iface_id="port-a")
    bob = hypervisor.add_machine("bob", address="10.9.0.2/24")
    return alice, bob


@pytest.fixture
def dhcp_server(hypervisor: Hypervisor) -> Iterator[Callable[[str], None]]:
    """Starts a DHCP server of another make, with further lines of configuration."""
    normal(hypervisor)
    server = hypervisor.add_machine("server", address="10.9.0.254/24")
    config = hypervisor.directory / "udhcpd.conf"
    running: list[subprocess.Popen[str]] = []

    def start(more: str = "") -> None:
        (hypervisor.directory / "leases").touch()
        config.write_text(LEASES.format(directory=hypervisor.directory, more=more))
        running.append(server.popen("busybox", "udhcpd", "-f", str(config)))

    yield start
    for process in running:
        with process:
            process.terminate()


def test_a_fresh_bridge_forwards_nothing(hypervisor: Hypervisor, add_machine: Callable[..., Machine]) -> None:
    alice = add_machine("alice", address="10.9.0.1/24")
    add_machine("bob", address="10.9.0.2/24")
    assert hypervisor.dump_flows() == []
    assert alice.ping("10.9.0.2", count=2, wait=0.5).received == 0


def test_machines_reach_each_other(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    there, back = alice.ping("10.9.0.2", count=5), bob.ping("10.9.0.1", count=5)
    assert (there.sent, there.received, len(there.rtts)) == (5, 5, 5)
    assert back.lost == 0
    assert alice.mac == "02:00:00:00:00:01"
    assert alice.addresses == ["10.9.0.1/24"]


def test_tcp_survives_the_userspace_datapath(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    with bob.entered(), socket.create_server(("10.9.0.2", 4000)) as listener:
        with alice.entered(), socket.create_connection(("10.9.0.2", 4000), timeout=5) as client:
            served, _ = listener.accept()
            with served:
                client.sendall(b"x" * 20000)
                client.shutdown(socket.SHUT_WR)
                served.settimeout(5)
                received = sum(iter(lambda: len(served.recv(65536)), 0))
    assert received == 20000


def test_plugging_names_the_logical_port(hypervisor: Hypervisor, pair: tuple[Machine, Machine]) -> None:
    alice, _ = pair
    ids = hypervisor.vsctl("get", "Interface", alice.interface, "external_ids")
    assert '"port-a"' in ids or "iface-id=port-a" in ids
    assert "02:00:00:00:00:01" in ids
    assert hypervisor.port_number(alice.interface) > 0


def test_unplugged_and_plugged_again(hypervisor: Hypervisor, pair: tuple[Machine, Machine]) -> None:
    alice, _ = pair
    alice.unplug()
    assert alice.ping("10.9.0.2", count=1, wait=0.5).received == 0
    with pytest.raises(LabError, match=alice.interface):
        hypervisor.port_number(alice.interface)
    alice.plug("port-b")
    assert "port-b" in hypervisor.vsctl("get", "Interface", alice.interface, "external_ids")
    assert alice.ping("10.9.0.2").lost == 0


def test_a_removed_machine_is_gone(hypervisor: Hypervisor, pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    hypervisor.remove_machine("bob")
    assert not Path(f"/run/netns/{bob.name}").exists()
    assert bob.interface not in hypervisor.vsctl("list-ports", "br0")
    assert alice.ping("10.9.0.2", count=1, wait=0.5).received == 0


@pytest.mark.parametrize("crash", [False, True])
def test_a_restarted_switch_has_its_ports_but_no_flows(
    hypervisor: Hypervisor, pair: tuple[Machine, Machine], crash: bool
) -> None:
    alice, _ = pair
    alice.ping("10.9.0.2")  # while ARP is unresolved requests wait for it and are not lost
    assert hypervisor.flows_per_table() == {0: 1}
    number, before = hypervisor.port_number(alice.interface), hypervisor.pid("ovs-vswitchd")
    with alice.background_ping("10.9.0.2") as outage:
        hypervisor.restart_switch(crash=crash)
        assert hypervisor.flows_per_table() == {}
        time.sleep(0.1)  # without flows for sure, also when the restart itself was too quick to lose anything
        normal(hypervisor)
        alice.ping("10.9.0.2")
    assert hypervisor.pid("ovs-vswitchd") not in (None, before)
    assert hypervisor.port_number(alice.interface) == number
    assert 0 < outage.result.longest_gap <= outage.result.lost < outage.result.sent


def test_background_ping_without_trouble_loses_nothing(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    alice.ping("10.9.0.2")
    with alice.background_ping("10.9.0.2", 0.005) as meanwhile:
        bob.ping("10.9.0.1", count=5)
    assert meanwhile.result.sent > 20
    assert (meanwhile.result.lost, meanwhile.result.longest_gap) == (0, 0)


def test_trace_shows_what_the_bridge_would_do(hypervisor: Hypervisor, pair: tuple[Machine, Machine]) -> None:
    assert "NORMAL" in hypervisor.trace(f"in_port={hypervisor.port_number(pair[0].interface)},icmp")


def test_capture_sees_packets(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    with bob.capture("arp or icmp") as seen:
        alice.ping("10.9.0.2", count=2)
    assert any("Request who-has 10.9.0.2" in line for line in seen.lines)
    assert sum("ICMP echo request" in line for line in seen.lines) == 2


def test_a_wrong_capture_expression_is_reported(pair: tuple[Machine, Machine]) -> None:
    with pytest.raises(LabError, match=r"tcpdump did not start.*syntax"):
        with pair[0].capture("nonsense and"):
            pass


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_a_real_client_gets_a_lease(
    client: str, add_machine: Callable[..., Machine], dhcp_server: Callable[[str], None]
) -> None:
    dhcp_server("")
    resolver = Path("/etc/resolv.conf").stat().st_mtime_ns
    alice = add_machine("alice")
    lease = alice.dhcp(client)
    assert alice.addresses == [lease.address]
    assert lease.address.startswith("10.9.0.5")
    assert (lease.routers, lease.name_servers) == (("10.9.0.254",), ("10.9.0.253",))
    assert (lease.server, lease.seconds, lease.mtu) == ("10.9.0.254", 600, 1400)
    assert "default via 10.9.0.254" in alice.run("ip", "route").stdout
    assert "mtu 1400" in alice.run("ip", "link", "show", "eth0").stdout
    assert alice.ping("10.9.0.254").lost == 0
    assert Path("/etc/resolv.conf").stat().st_mtime_ns == resolver


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_classless_routes_replace_the_router(
    client: str, add_machine: Callable[..., Machine], dhcp_server: Callable[[str], None]
) -> None:
    dhcp_server("option staticroutes 10.20.0.0/16 10.9.0.253, 0.0.0.0/0 10.9.0.252")
    alice = add_machine("alice")
    alice.dhcp(client)
    routes = alice.run("ip", "route").stdout
    assert "10.20.0.0/16 via 10.9.0.253" in routes
    assert "default via 10.9.0.252" in routes


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_without_a_server_there_is_no_lease(client: str, add_machine: Callable[..., Machine]) -> None:
    alice = add_machine("alice")
    with pytest.raises(LabError, match=f"{client} in .*-alice got no lease within 2 seconds"):
        alice.dhcp(client, timeout=2)
    assert alice.addresses == []


def test_two_labs_do_not_touch_each_other(
    lab: Lab, lab_names: list[str], pair: tuple[Machine, Machine]
) -> None:
    with Lab(lab.prefix) as other:
        lab_names.append(other.name)
        assert other.name != lab.name
        other.add_hypervisor().add_machine("alice")
    assert pair[0].ping("10.9.0.2").lost == 0


def test_a_failure_leaves_nothing_behind(lab_names: list[str]) -> None:
    def fail() -> None:
        with Lab("vtest") as lab:
            lab_names.append(lab.name)
            lab.add_hypervisor().add_machine("alice")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not remains(lab_names[-1])


def test_a_killed_lab_is_cleaned_up_by_the_next(lab_names: list[str]) -> None:
    script = """
        import os, signal
        from vlcp.lab import Lab
        with Lab("vkill") as lab:
            lab.add_hypervisor().add_machine("alice")
            print(lab.name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    env = {**os.environ, "PYTHONPATH": "src"}
    dead = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, text=True, check=False
    )
    name = dead.stdout.strip()
    lab_names.append(name)
    found = remains(name)
    assert len(found.processes) == 2, found
    assert found.namespaces == (f"{name}-alice", f"{name}-h1")
    with Lab("vkill") as successor:
        lab_names.append(successor.name)
        assert not remains(name)


def test_cleanup_spares_the_living(lab: Lab, hypervisor: Hypervisor) -> None:
    cleanup(lab.prefix, abandoned_only=True)
    assert hypervisor.pid("ovs-vswitchd") is not None
    assert cleanup(lab.name).namespaces == (hypervisor.name,)
    assert hypervisor.pid("ovs-vswitchd") is None


def test_a_controller_that_cannot_start_shows_its_log(hypervisor: Hypervisor) -> None:
    controller = Controller(hypervisor, {"server.startup": ("no.such.module.Nothing",)})
    with pytest.raises(ControllerError, match=r"(?s)ended at once; its log:.*no\.such\.module"):
        controller.start()
    assert not controller.is_running()
