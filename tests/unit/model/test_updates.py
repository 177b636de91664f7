"""What may be changed, what is answered, and what the errors say: on both stores. And physical ports."""

from __future__ import annotations

from typing import Any

import pytest

from unit.model.calls import Calls
from unit.model.test_network_rules import refused
from vlcp.model.errors import InUseError, InvalidError, MissingError

MAC = "02:00:00:00:aa:0"


async def two_ports(calls: Calls) -> None:
    """Ports a and b with the addresses 10.0.0.2 and 10.0.0.3, in a subnet with a gateway."""
    await calls.small_network(gateway="10.0.0.1")
    await calls.ports(
        *(
            {
                "id": name,
                "logicalnetwork": "n",
                "subnet": "s",
                "ip_address": f"10.0.0.{number}",
                "mac_address": f"{MAC}{number}",
            }
            for number, name in enumerate("ab", 2)
        )
    )


# All objects


async def test_attributes_come_change_and_go(calls: Calls) -> None:
    await calls.small_network(
        gateway="10.0.0.1", mtu=1400, note="x", more=[1], host_routes=[["10.9.0.0/16", "10.0.0.9"]]
    )
    [before] = await calls.list_subnets()
    gone = {"gateway": None, "note": None, "host_routes": None}
    [answer] = await calls.update_subnets(
        {"id": "s", "mtu": None, "lease_time": "60", "new": {"a": None}, **gone}
    )
    assert await calls.list_subnets() == [answer]
    changed = {"mtu": None, "lease_time": 60, "new": {"a": None}, "version": answer["version"]}
    assert answer == {name: value for name, value in before.items() if name not in gone} | changed
    assert answer["version"] != before["version"]


async def test_every_kind_of_object_can_be_changed(calls: Calls) -> None:
    await two_ports(calls)
    await calls.physical({"id": "w", "type": "wired"})
    await calls.physical_ports({"name": "eth0", "physicalnetwork": "w"})
    networks = await calls.update_physical({"id": "w", "rack": 1}, {"id": "p", "rack": 2})
    assert [(network["id"], network["rack"]) for network in networks] == [("w", 1), ("p", 2)]
    assert [n["mtu"] for n in await calls.update_logical({"id": "n", "mtu": "1400"})] == [1400]
    assert [p["hostname"] for p in await calls.update_ports({"id": "a", "hostname": "x"})] == ["x"]
    assert [p["speed"] for p in await calls.update_physical_ports({"name": "eth0", "speed": 10})] == [10]
    assert [n["rack"] for n in await calls.list_physical(type="local")] == [2]
    assert [n["id"] for n in await calls.list_logical(mtu=1400)] == ["n"]
    assert [p["id"] for p in await calls.list_ports(hostname="x")] == ["a"]
    assert [p["name"] for p in await calls.list_physical_ports(speed=10)] == ["eth0"]


@pytest.mark.parametrize(
    ("call", "name", "value", "why"),
    [
        ("update_physical", "type", "local", "the type of a physical network cannot be changed"),
        (
            "update_logical",
            "physicalnetwork",
            "p",
            "the physical network of a logical network cannot be changed",
        ),
        ("update_subnets", "logicalnetwork", "n", "the logical network of a subnet cannot be changed"),
        ("update_subnets", "isexternal", "false", "whether a subnet is external cannot be changed"),
        ("update_subnets", "router", "r", "vrouterapi/addrouterinterface"),
        ("update_subnets", "cidr", None, "a prefix such as"),
        ("update_ports", "logicalnetwork", None, "the logical network of a logical port cannot be changed"),
        ("update_ports", "network", "n", "the logical network of a logical port cannot be changed"),
        ("update_ports", "subnet", "s", "the subnet of a logical port cannot be changed"),
        ("update_ports", "ip_address", None, "an IPv4 address such as"),
        ("update_ports", "mac_address", None, "a MAC address such as"),
        ("update_ports", "created", 1, "the controller sets it"),
        ("update_ports", "version", "v", "the controller sets it"),
        ("update_ports", "note", float("nan"), "a JSON value"),
    ],
)
async def test_what_cannot_be_changed(calls: Calls, call: str, name: str, value: Any, why: str) -> None:
    await two_ports(calls)
    ids = {"update_physical": "p", "update_logical": "n", "update_subnets": "s", "update_ports": "a"}
    with refused(InvalidError, f"[0].{name} is ", "but must be ", why):
        await getattr(calls, call)({"id": ids[call], name: value})


async def test_missing_and_repeated_objects(calls: Calls) -> None:
    await two_ports(calls)
    for update in (calls.update_physical, calls.update_logical, calls.update_subnets, calls.update_ports):
        with refused(MissingError, "[0].id: there is no", "'gone'"):
            await update({"id": "gone", "note": 1})
        with refused(InvalidError, "[1].id is 'a', which", "[0].id is already"):
            await update({"id": "a"}, {"id": "a"})
        with refused(InvalidError, "[0].id is missing"):
            await update({"note": 1})
    with refused(MissingError, "ports[1].id: there is no logical port 'gone'"):
        await calls.update_ports({"id": "a", "hostname": "x"}, {"id": "gone"})
    assert await calls.list_ports(hostname="x") == []


async def test_the_kind_of_the_physical_network_is_asked(calls: Calls) -> None:
    await calls.small_network()
    with refused(InvalidError, "networks[0].vlanrange is ", "no tags"):
        await calls.update_physical({"id": "p", "vlanrange": [[1, 5]]})
    with refused(InvalidError, "networks[0].vni is 5", "no tags"):
        await calls.update_logical({"id": "n", "vni": 5})


# Logical ports


async def test_addresses_move_with_their_claims(calls: Calls) -> None:
    await two_ports(calls)
    [answer] = await calls.update_ports(
        {"id": "a", "ip_address": "10.0.0.9", "mac_address": "0200.0000.AA09"}
    )
    assert (answer["ip_address"], answer["mac_address"]) == ("10.0.0.9", f"{MAC}9")
    with refused(InUseError, "ports[0].ip_address is 10.0.0.9, which 'a' has"):
        await calls.update_ports({"id": "b", "ip_address": "10.0.0.9"})
    with refused(InUseError, f"ports[0].mac_address is {MAC}9, which 'a' has"):
        await calls.update_ports({"id": "b", "mac_address": f"{MAC}9"})
    [port] = await calls.ports({"logicalnetwork": "n", "subnet": "s", "mac_address": f"{MAC}2"})
    assert port["ip_address"] == "10.0.0.2"


async def test_ports_swap_addresses(calls: Calls) -> None:
    await two_ports(calls)
    await calls.update_ports(
        {"id": "a", "ip_address": "10.0.0.3", "mac_address": f"{MAC}3"},
        {"id": "b", "ip_address": "10.0.0.2", "mac_address": f"{MAC}2"},
    )
    found = [(port["id"], port["ip_address"], port["mac_address"]) for port in await calls.list_ports()]
    assert found == [("a", "10.0.0.3", f"{MAC}3"), ("b", "10.0.0.2", f"{MAC}2")]
    with refused(InUseError, "ports[0].ip_address is 10.0.0.2, which 'b' has"):
        await calls.update_ports({"id": "a", "ip_address": "10.0.0.2"})


async def test_ports_that_want_one_address(calls: Calls) -> None:
    await two_ports(calls)
    with refused(InvalidError, "ports[1].ip_address is 10.0.0.7, which ports[0].ip_address is already"):
        await calls.update_ports({"id": "a", "ip_address": "10.0.0.7"}, {"id": "b", "ip_address": "10.0.0.7"})
    for first, second in ("ab", "ba"):
        with refused(InUseError, "ip_address is 10.0.0.3, which 'b' has"):
            items = {"a": {"ip_address": "10.0.0.3"}, "b": {"hostname": "b"}}
            await calls.update_ports({"id": first, **items[first]}, {"id": second, **items[second]})
    await calls.update_ports({"id": "a", "ip_address": "10.0.0.3"}, {"id": "b", "ip_address": "10.0.0.4"})
    assert [port["ip_address"] for port in await calls.list_ports()] == ["10.0.0.3", "10.0.0.4"]


async def test_addresses_that_the_subnet_does_not_hand_out(calls: Calls) -> None:
    await two_ports(calls)
    await calls.ports({"id": "c", "logicalnetwork": "n"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.1.1", "from 10.0.0.1 to 10.0.0.254"):
        await calls.update_ports({"id": "a", "ip_address": "10.0.1.1"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.1", "the gateway of subnet 's'"):
        await calls.update_ports({"id": "a", "ip_address": "10.0.0.1"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.9", "logical port 'c' is in no subnet"):
        await calls.update_ports({"id": "c", "ip_address": "10.0.0.9"})


# Subnets


async def test_the_gateway_is_no_address_of_a_port(calls: Calls) -> None:
    await two_ports(calls)
    with refused(InUseError, "subnets[0].gateway is 10.0.0.3, which 'b' has in subnet 's'"):
        await calls.update_subnets({"id": "s", "gateway": "10.0.0.3"})
    with refused(InUseError, "subnets[0].dhcp_server is 10.0.0.2, which 'a' has"):
        await calls.update_subnets({"id": "s", "dhcp_server": "10.0.0.2"})
    with refused(InvalidError, "subnets[0].gateway is 10.0.1.1", "from 10.0.0.1 to 10.0.0.254"):
        await calls.update_subnets({"id": "s", "gateway": "10.0.1.1"})
    await calls.update_subnets({"id": "s", "gateway": "10.0.0.9"})
    with refused(InvalidError, "ip_address is 10.0.0.9", "gateway"):
        await calls.update_ports({"id": "a", "ip_address": "10.0.0.9"})
    await calls.update_ports({"id": "a", "ip_address": "10.0.0.1"})


async def test_addresses_of_ports_remain_possible(calls: Calls) -> None:
    await two_ports(calls)
    left_out = "has the address 10.0.0.3 in subnet 's', which would then hand out 10.0.0.1 to 10.0.0.2 only"
    with refused(InUseError, "subnets[0].id: 'b' ", left_out):
        await calls.update_subnets({"id": "s", "cidr": "10.0.0.0/30"})
    with refused(InUseError, "'b' ", left_out):
        await calls.update_subnets({"id": "s", "allocated_end": "10.0.0.2"})
    with refused(InUseError, "'a' has the address 10.0.0.2", "10.0.0.3 to 10.0.0.254"):
        await calls.update_subnets({"id": "s", "allocated_start": "10.0.0.3"})
    await calls.delete_ports("b")
    await calls.update_subnets({"id": "s", "cidr": "10.0.0.0/30"})


async def test_large_ranges_are_listed(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlcp.model.changes.subnets.MOST_READ", 100)
    await two_ports(calls)
    with refused(InUseError, "'b' has the address 10.0.0.3"):
        await calls.update_subnets({"id": "s", "cidr": "10.0.0.0/30"})
    await calls.update_subnets({"id": "s", "cidr": "10.0.0.0/29"})


async def test_the_range_follows_the_prefix(calls: Calls) -> None:
    await calls.small_network(allocated_start="10.0.0.10")

    async def bounds(**changes: Any) -> tuple[str, str]:
        [answer] = await calls.update_subnets({"id": "s", **changes})
        return answer["allocated_start"], answer["allocated_end"]

    assert await bounds(cidr="10.0.0.0/23") == ("10.0.0.10", "10.0.1.254")
    assert await bounds(allocated_end="10.0.1.99") == ("10.0.0.10", "10.0.1.99")
    assert await bounds(allocated_start=None, allocated_end=None) == ("10.0.0.1", "10.0.1.254")
    assert await bounds(cidr="10.7.0.9/24") == ("10.7.0.1", "10.7.0.254")
    assert await bounds(allocated_end="10.7.0.99") == ("10.7.0.1", "10.7.0.99")
    with refused(InUseError, "subnets[0].allocated_end is 10.7.0.99", "from 10.8.0.1 to 10.8.0.254"):
        await bounds(cidr="10.8.0.0/24")
    with refused(InvalidError, "subnets[0].allocated_start is 10.7.0.200", "above allocated_end, 10.7.0.99"):
        await bounds(allocated_start="10.7.0.200")
    assert await bounds(cidr="10.8.0.0/24", allocated_end=None) == ("10.8.0.1", "10.8.0.254")


async def test_prefixes_do_not_overlap_after_a_change(calls: Calls) -> None:
    await calls.small_network()
    await calls.subnets({"id": "t", "logicalnetwork": "n", "cidr": "10.1.0.0/24"})
    with refused(InUseError, "subnets[0].cidr is 10.1.0.128/25, which overlaps 10.1.0.0/24 of subnet 't'"):
        await calls.update_subnets({"id": "s", "cidr": "10.1.0.128/25"})
    with refused(InvalidError, "subnets[1].cidr is 10.2.0.0/16", "that of subnets[0].cidr"):
        await calls.update_subnets({"id": "s", "cidr": "10.2.0.0/24"}, {"id": "t", "cidr": "10.2.0.0/16"})
    await calls.update_subnets({"id": "s", "cidr": "10.1.0.0/24"}, {"id": "t", "cidr": "10.0.0.0/24"})
    assert [subnet["cidr"] for subnet in await calls.list_subnets()] == ["10.1.0.0/24", "10.0.0.0/24"]
    await calls.update_subnets({"id": "s", "cidr": "10.1.0.0/16"})


# Physical ports


async def wired(calls: Calls) -> None:
    await calls.physical(
        {"id": "p", "type": "local"}, {"id": "w", "type": "wired"}, {"id": "v", "type": "wired"}
    )


async def test_physical_ports(calls: Calls) -> None:
    await wired(calls)
    there = {"vhost": "v.w", "systemid": "a/b", "bridge": "br.0"}
    ports = await calls.physical_ports(
        {"name": "eth0", "physicalnetwork": "w", "speed": 10},
        {"name": "eth0", "physicalnetwork": "v", **there},
    )
    assert {name: ports[0][name] for name in ("name", "physicalnetwork", "vhost", "systemid", "bridge", "speed")} == {
        "name": "eth0", "physicalnetwork": "w", "vhost": "", "systemid": "%", "bridge": "%", "speed": 10,
    }  # fmt: skip
    assert await calls.list_physical_ports() == ports
    assert await calls.list_physical_ports(name="eth0") == ports[:1]
    assert await calls.list_physical_ports(name="eth0", **there) == ports[1:]
    assert await calls.list_physical_ports(name="eth0", physicalnetwork="v") == []
    assert await calls.list_physical_ports(name="eth1") == []
    assert await calls.list_physical_ports(systemid="a/b") == ports[1:]
    assert await calls.list_physical_ports(physicalnetwork="w") == ports[:1]
    assert await calls.list_physical_ports(speed=None) == ports[1:]
    with refused(InUseError, "networks[0].id: physical network 'v' still has the physical port 'eth0'"):
        await calls.delete_physical("v")
    await calls.delete_physical_ports(*ports)
    await calls.delete_physical("v", "w", "p")
    assert await calls.list_physical_ports() == []


async def test_physical_ports_that_cannot_be(calls: Calls) -> None:
    await wired(calls)
    with refused(InvalidError, "ports[0].physicalnetwork is 'p'", "type 'local' has no physical ports"):
        await calls.physical_ports({"name": "eth0", "physicalnetwork": "p"})
    with refused(MissingError, "ports[0].physicalnetwork: there is no physical network 'q'"):
        await calls.physical_ports({"name": "eth0", "physicalnetwork": "q"})
    with refused(InvalidError, "ports[0].name is missing"):
        await calls.physical_ports({"physicalnetwork": "w"})
    eth0 = {"name": "eth0", "physicalnetwork": "w"}
    with refused(InvalidError, "ports[1].name is ", "'eth0'", "which ports[0].name is already"):
        await calls.physical_ports(eth0, {**eth0, "systemid": "%"})
    await calls.physical_ports(eth0)
    named = "physical port 'eth0' (vhost '', systemid '%', bridge '%')"
    with refused(InUseError, f"ports[0].name: there already is a {named}"):
        await calls.physical_ports({**eth0, "physicalnetwork": "v"})
    with refused(InvalidError, "ports[0].physicalnetwork is 'v'", "cannot be changed"):
        await calls.update_physical_ports({**eth0, "physicalnetwork": "v"})
    for call in (calls.update_physical_ports, calls.delete_physical_ports):
        with refused(MissingError, "ports[0].name: there is no physical port 'eth0'", "bridge 'br0'"):
            await call({"name": "eth0", "bridge": "br0"})
        with refused(InvalidError, "ports[0].systemid is ''", "1 to 255 printable"):
            await call({"name": "eth0", "systemid": ""})
