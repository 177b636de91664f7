"""One hypervisor and the real controller: what the users of a small network notice."""

from __future__ import annotations

from typing import Any

import pytest

from vlcp.lab import Controller, ControllerError, Hypervisor, Machine

pytestmark = pytest.mark.network


@pytest.fixture
def network(controller: Controller) -> Controller:
    """A local physical network with the logical network `blue` and a subnet."""
    controller.call("viperflow/createphysicalnetwork", type="local", id="here")
    controller.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
    subnet = {"cidr": "10.100.0.0/24", "gateway": "10.100.0.254", "dns_nameservers": ["10.100.0.253"]}
    controller.call("viperflow/createsubnet", logicalnetwork="blue", id="blue-subnet", **subnet)
    return controller


def create_port(controller: Controller, port: str, **more: object) -> dict[str, Any]:
    parameters = {"id": port, "logicalnetwork": "blue", "subnet": "blue-subnet", **more}
    answer: dict[str, Any] = controller.call("viperflow/createlogicalport", **parameters)
    return answer


def plug(hypervisor: Hypervisor, port: dict[str, Any]) -> Machine:
    return hypervisor.add_machine(port["id"], mac=port["mac_address"], iface_id=port["id"])


@pytest.fixture
def pair(network: Controller, hypervisor: Hypervisor) -> tuple[Machine, Machine]:
    """Two machines with leases that reach each other."""
    alice, bob = (plug(hypervisor, create_port(network, port)) for port in ("alice", "bob"))
    alice.dhcp()
    bob.dhcp()
    assert alice.ping(ip_of(bob)).lost == 0
    return alice, bob


def ip_of(machine: Machine) -> str:
    return machine.addresses[0].partition("/")[0]


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_a_machine_gets_the_address_of_its_port(
    network: Controller, hypervisor: Hypervisor, client: str
) -> None:
    port = create_port(network, "alice", ip_address="10.100.0.77", hostname="alice")
    lease = plug(hypervisor, port).dhcp(client)
    assert lease.address == "10.100.0.77/24"
    assert lease.routers == ("10.100.0.254",)
    assert lease.name_servers == ("10.100.0.253",)


def test_a_port_that_is_created_after_the_machine_was_plugged_in(
    network: Controller, hypervisor: Hypervisor
) -> None:
    alice = hypervisor.add_machine("alice", mac="02:00:00:00:00:aa", iface_id="alice")
    create_port(network, "alice", mac_address="02:00:00:00:00:aa", ip_address="10.100.0.5")
    assert alice.dhcp().address == "10.100.0.5/24"


def test_machines_reach_each_other(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    assert alice.ping(ip_of(bob), count=5).lost == 0
    assert bob.ping(ip_of(alice), count=5).lost == 0


def test_another_logical_network_is_out_of_reach(
    network: Controller, hypervisor: Hypervisor, pair: tuple[Machine, Machine]
) -> None:
    network.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="red")
    network.call("viperflow/createsubnet", logicalnetwork="red", id="red-subnet", cidr="10.100.0.0/24")
    port = create_port(
        network, "mallory", logicalnetwork="red", subnet="red-subnet", ip_address="10.100.0.66"
    )
    mallory = plug(hypervisor, port)
    mallory.set_address("10.100.0.66/24")
    with pair[1].capture("arp or icmp") as seen:
        assert mallory.ping(ip_of(pair[1]), count=2, wait=0.5).received == 0
    assert not [line for line in seen.lines if "10.100.0.66" in line]


def test_a_deleted_port_is_cut_off(network: Controller, pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    network.call("viperflow/deletelogicalport", id="bob")
    assert alice.ping(ip_of(bob), count=3, wait=0.5).rtts[1:] == ()


def test_unplugged_and_plugged_again(pair: tuple[Machine, Machine]) -> None:
    alice, bob = pair
    bob.unplug()
    assert alice.ping(ip_of(bob), count=1, wait=0.5).received == 0
    bob.plug("bob")
    assert alice.ping(ip_of(bob), count=10).received >= 5


@pytest.mark.parametrize("crash", [False, True])
def test_a_restarted_controller_loses_no_packet(
    network: Controller, pair: tuple[Machine, Machine], hypervisor: Hypervisor, crash: bool
) -> None:
    alice, bob = pair
    flows = sorted(hypervisor.dump_flows())
    with alice.background_ping(ip_of(bob)) as meanwhile:
        if crash:
            network.kill()
        else:
            assert network.terminate() == 0
        assert sorted(hypervisor.dump_flows()) == flows
        network.start()
    assert meanwhile.result.lost == 0
    assert sorted(hypervisor.dump_flows()) == flows


@pytest.mark.parametrize("crash", [False, True])
def test_a_restarted_switch_gets_its_flows_back(
    network: Controller, pair: tuple[Machine, Machine], hypervisor: Hypervisor, crash: bool
) -> None:
    alice, bob = pair
    flows = sorted(hypervisor.dump_flows())
    hypervisor.restart_switch(crash=crash)
    assert alice.ping(ip_of(bob), count=30).received >= 5
    assert sorted(hypervisor.dump_flows()) == flows


def test_a_machine_may_not_use_the_address_of_another(
    pair: tuple[Machine, Machine], network: Controller
) -> None:
    with pytest.raises(ControllerError) as refused:
        create_port(network, "eve", ip_address=ip_of(pair[0]))
    assert refused.value.status in (400, 409)
