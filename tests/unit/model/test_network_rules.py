"""What may be created and deleted, what is answered, and what the errors say: on both stores."""

from __future__ import annotations

import re
from typing import Any

import pytest

from unit.model.calls import NOW, Calls
from vlcp.model.errors import InUseError, InvalidError, MissingError, ModelError


def refused(error: type[ModelError], *words: str) -> Any:
    """The block raises exactly this error, and its text holds all words."""
    return pytest.raises(error, match="".join(f"(?=.*{re.escape(word)})" for word in words))


# Physical networks


async def test_physical_network_is_answered_flat(calls: Calls) -> None:
    [answer] = await calls.physical({"id": "p", "type": "local", "name": "lab", "rack": [1, {"a": None}]})
    assert {name: answer[name] for name in ("id", "type", "name", "rack", "created")} == {
        "id": "p",
        "type": "local",
        "name": "lab",
        "rack": [1, {"a": None}],
        "created": NOW,
    }
    assert await calls.list_physical() == [answer]
    assert answer["version"]
    assert set(answer) == {"id", "type", "name", "rack", "created", "version"}


async def test_unknown_type_names_the_loaded_ones(calls: Calls) -> None:
    with refused(InvalidError, "networks[1].type", "'vxlam'", "loaded types: local"):
        await calls.physical({"type": "local"}, {"type": "vxlam"})
    assert await calls.list_physical() == []


async def test_local_networks_have_no_tags(calls: Calls) -> None:
    with refused(InvalidError, "networks[0].vlanrange", "no tags"):
        await calls.physical({"type": "local", "vlanrange": [[1, 5]]})
    await calls.physical({"id": "p", "type": "local"})
    with refused(InvalidError, "networks[0].vni is 5", "no tags"):
        await calls.logical({"physicalnetwork": "p", "vni": 5})


async def test_physical_network_in_use_stays(calls: Calls) -> None:
    await calls.physical({"id": "p", "type": "local"}, {"id": "q", "type": "local"})
    await calls.logical({"id": "n", "physicalnetwork": "p"}, {"id": "n2", "physicalnetwork": "p"})
    with refused(InUseError, "networks[1]", "physical network 'p'", "logical network 'n' and 1 more"):
        await calls.delete_physical("q", "p")
    await calls.delete_logical("n", "n2")
    await calls.delete_physical("q", "p")
    assert await calls.list_physical() == []


# Ids


async def test_taken_ids(calls: Calls) -> None:
    await calls.small_network()
    await calls.ports({"id": "a", "logicalnetwork": "n"})
    with refused(InUseError, "networks[0].id: there already is a physical network 'p'"):
        await calls.physical({"id": "p", "type": "local"})
    with refused(InUseError, "networks[0].id: there already is a logical network 'n'"):
        await calls.logical({"id": "n", "physicalnetwork": "p"})
    with refused(InUseError, "subnets[0].id: there already is a subnet 's'"):
        await calls.subnets({"id": "s", "logicalnetwork": "n", "cidr": "10.9.0.0/24"})
    with refused(InUseError, "ports[1].id: there already is a logical port 'a'"):
        await calls.ports({"logicalnetwork": "n"}, {"id": "a", "logicalnetwork": "n"})
    assert [port["id"] for port in await calls.list_ports()] == ["a"]


async def test_repeated_ids(calls: Calls) -> None:
    await calls.small_network()
    with refused(InvalidError, "networks[1].id is 'x', which networks[0].id is already"):
        await calls.logical({"id": "x", "physicalnetwork": "p"}, {"id": "x", "physicalnetwork": "p"})
    with refused(InvalidError, "ports[1].id", "ports[0].id"):
        await calls.delete_ports("x", "x")


async def test_missing_objects(calls: Calls) -> None:
    with refused(MissingError, "networks[0].physicalnetwork: there is no physical network 'p'"):
        await calls.logical({"physicalnetwork": "p"})
    with refused(MissingError, "logicalnetwork: there is no logical network 'n'"):
        await calls.subnets({"logicalnetwork": "n", "cidr": "10.0.0.0/24"})
    with refused(MissingError, "logicalnetwork: there is no logical network 'n'"):
        await calls.ports({"logicalnetwork": "n"})
    await calls.small_network()
    with refused(MissingError, "subnet: there is no subnet 'x'"):
        await calls.ports({"logicalnetwork": "n", "subnet": "x"})
    for delete in (calls.delete_physical, calls.delete_logical, calls.delete_subnets, calls.delete_ports):
        with refused(MissingError, "[0].id: there is no", "'gone'"):
            await delete("gone")


async def test_ids_may_look_like_keys(calls: Calls) -> None:
    await calls.small_network()
    names = ["a.b", "a/b", "a+b", "a++b", "a+-b", "ä b", "%"]
    await calls.ports(*({"id": name, "logicalnetwork": "n", "subnet": "s"} for name in names))
    assert sorted(port["id"] for port in await calls.list_ports(logicalnetwork="n")) == sorted(names)
    await calls.delete_ports(*names)
    await calls.delete_subnets("s")
    await calls.delete_logical("n")


# Subnets


async def test_subnet_defaults(calls: Calls) -> None:
    await calls.small_network()
    [answer] = await calls.list_subnets(id="s")
    version = answer.pop("version")
    assert version
    assert answer == {
        "id": "s",
        "logicalnetwork": "n",
        "cidr": "10.0.0.0/24",
        "allocated_start": "10.0.0.1",
        "allocated_end": "10.0.0.254",
        "isexternal": False,
        "dhcp_enabled": True,
        "created": NOW,
    }


@pytest.mark.parametrize(
    ("cidr", "first", "last"),
    [
        ("10.0.0.7/30", "10.0.0.5", "10.0.0.6"),
        ("10.0.0.7/31", "10.0.0.6", "10.0.0.7"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
    ],
)
async def test_small_subnets(calls: Calls, cidr: str, first: str, last: str) -> None:
    await calls.small_network(cidr=cidr)
    [subnet] = await calls.list_subnets()
    assert (subnet["allocated_start"], subnet["allocated_end"]) == (first, last)


@pytest.mark.parametrize("order", [("10.0.0.0/16", "10.0.3.0/24"), ("10.0.3.0/24", "10.0.0.0/16")])
async def test_overlapping_subnets(calls: Calls, order: tuple[str, str]) -> None:
    await calls.small_network(cidr=order[0])
    await calls.subnets({"logicalnetwork": "n", "cidr": "192.168.0.0/24"})
    with refused(InUseError, f"subnets[1].cidr is {order[1]}", f"{order[0]} of subnet 's'"):
        await calls.subnets(
            {"logicalnetwork": "n", "cidr": "11.0.0.0/16"}, {"logicalnetwork": "n", "cidr": order[1]}
        )
    with refused(InvalidError, "subnets[1].cidr is 11.0.1.0/24", "11.0.0.0/16", "subnets[0].cidr"):
        await calls.subnets(
            {"logicalnetwork": "n", "cidr": "11.0.0.0/16"}, {"logicalnetwork": "n", "cidr": "11.0.1.0/24"}
        )
    await calls.logical({"id": "other", "physicalnetwork": "p"})
    await calls.subnets({"logicalnetwork": "other", "cidr": order[1]})


async def test_subnet_and_network_in_use_stay(calls: Calls) -> None:
    await calls.small_network()
    await calls.ports({"id": "a", "logicalnetwork": "n", "subnet": "s", "ip_address": "10.0.0.9"})
    with refused(InUseError, "id: subnet 's' still has the address '10.0.0.9'"):
        await calls.delete_subnets("s")
    with refused(InUseError, "id: logical network 'n' still has the logical port 'a'"):
        await calls.delete_logical("n")
    await calls.delete_ports("a")
    with refused(InUseError, "id: logical network 'n' still has the subnet 's'"):
        await calls.delete_logical("n")
    await calls.delete_subnets("s")
    await calls.delete_logical("n")
    assert await calls.list_logical() == []


# Ports


async def test_port_gets_the_lowest_free_address(calls: Calls) -> None:
    await calls.small_network(gateway="10.0.0.1", dhcp_server="10.0.0.3")
    answer = await calls.ports(*({"id": name, "logicalnetwork": "n", "subnet": "s"} for name in "abc"))
    assert [(port["id"], port["ip_address"]) for port in answer] == [
        ("a", "10.0.0.2"),
        ("b", "10.0.0.4"),
        ("c", "10.0.0.5"),
    ]
    assert await calls.list_ports(logicalnetwork="n") == answer


async def test_a_freed_address_is_given_again(calls: Calls) -> None:
    await calls.small_network(cidr="10.0.0.0/30")
    await calls.ports(*({"id": name, "logicalnetwork": "n", "subnet": "s"} for name in "ab"))
    with refused(InUseError, "ports[0].subnet: no address is free in subnet 's' (10.0.0.1 to 10.0.0.2)"):
        await calls.ports({"logicalnetwork": "n", "subnet": "s"})
    await calls.delete_ports("a")
    [port] = await calls.ports({"logicalnetwork": "n", "subnet": "s"})
    assert port["ip_address"] == "10.0.0.1"


async def test_explicit_addresses_of_a_batch_come_first(calls: Calls) -> None:
    await calls.small_network()
    wanted = [None, "10.0.0.1", None, "10.0.0.3"]
    answer = await calls.ports(
        *({"logicalnetwork": "n", "subnet": "s", "ip_address": address} for address in wanted)
    )
    assert [port["ip_address"] for port in answer] == ["10.0.0.2", "10.0.0.1", "10.0.0.4", "10.0.0.3"]


async def test_address_rules(calls: Calls) -> None:
    await calls.small_network(gateway="10.0.0.1", dhcp_server="10.0.0.5", allocated_end="10.0.0.99")
    port = {"logicalnetwork": "n", "subnet": "s"}
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.100", "from 10.0.0.1 to 10.0.0.99"):
        await calls.ports({**port, "ip_address": "10.0.0.100"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.1", "gateway"):
        await calls.ports({**port, "ip_address": "10.0.0.1"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.5", "DHCP server"):
        await calls.ports({**port, "ip_address": "10.0.0.5"})
    with refused(InvalidError, "ports[0].ip_address is 10.0.0.2", "no subnet"):
        await calls.ports({"logicalnetwork": "n", "ip_address": "10.0.0.2"})
    await calls.ports({**port, "id": "a", "ip_address": "10.0.0.2"})
    with refused(InUseError, "ports[0].ip_address is 10.0.0.2", "'a'", "subnet 's'"):
        await calls.ports({**port, "ip_address": "10.0.0.2"})
    with refused(InvalidError, "ports[1].ip_address is '10.0.0.3', which ports[0].ip_address is already"):
        await calls.ports({**port, "ip_address": "10.0.0.3"}, {**port, "ip_address": "10.0.0.3"})


async def test_subnet_of_another_network(calls: Calls) -> None:
    await calls.small_network()
    await calls.logical({"id": "m", "physicalnetwork": "p"})
    with refused(InvalidError, "ports[0].subnet is 's'", "logical network 'n', not of 'm'"):
        await calls.ports({"logicalnetwork": "m", "subnet": "s"})


async def test_mac_addresses_are_unique_in_a_network(calls: Calls) -> None:
    await calls.small_network()
    mac = "02:00:00:00:aa:01"
    await calls.ports({"id": "a", "logicalnetwork": "n", "mac_address": "0200.0000.AA01"})
    with refused(InUseError, f"ports[0].mac_address is {mac}", "'a'", "network 'n'"):
        await calls.ports({"logicalnetwork": "n", "mac_address": mac})
    with refused(InvalidError, "ports[1].mac_address", "ports[0].mac_address"):
        await calls.ports(*[{"logicalnetwork": "n", "mac_address": "02:00:00:00:00:cc"}] * 2)
    await calls.logical({"id": "m", "physicalnetwork": "p"})
    await calls.ports({"id": "b", "logicalnetwork": "m", "mac_address": mac})
    assert [port["id"] for port in await calls.list_ports(mac_address="02-00-00-00-AA-01")] == ["a", "b"]


async def test_a_batch_with_one_bad_item_writes_nothing(calls: Calls) -> None:
    await calls.small_network(cidr="10.0.0.0/16")
    good = {"logicalnetwork": "n", "subnet": "s"}
    batch = [good] * 999
    with refused(MissingError, "ports[999].subnet: there is no subnet 'gone'"):
        await calls.ports(*batch, {"logicalnetwork": "n", "subnet": "gone"})
    assert await calls.list_ports() == []
    assert len(await calls.ports(*batch)) == 999


# Lists


async def test_filters(calls: Calls) -> None:
    await calls.small_network(mtu="1450")
    await calls.logical({"id": "m", "physicalnetwork": "p", "name": "x"})
    await calls.ports(
        {"id": "a", "logicalnetwork": "n", "subnet": "s", "hostname": "one", "owner": "me"},
        {"id": "b", "logicalnetwork": "n"},
        {"id": "c", "logicalnetwork": "m"},
    )

    async def ports(**filters: Any) -> list[str]:
        return [port["id"] for port in await calls.list_ports(**filters)]

    assert await ports() == ["a", "b", "c"]
    assert await ports(logicalnetwork="n") == ["a", "b"]
    assert await ports(logicalnetwork="none") == []
    assert await ports(id="c") == ["c"]
    assert await ports(id="c", logicalnetwork="n") == []
    assert await ports(owner="me") == ["a"]
    assert await ports(owner=None) == ["b", "c"]
    assert await ports(subnet="s", hostname="one") == ["a"]
    assert await ports(nothing="such") == []
    assert [network["id"] for network in await calls.list_logical(name="x")] == ["m"]
    assert [network["id"] for network in await calls.list_physical(type="local")] == ["p"]
    assert [subnet["id"] for subnet in await calls.list_subnets(mtu="1450", isexternal="false")] == ["s"]
    with refused(InvalidError, "mtu is 'big'", "a number from 68 to 65535"):
        await calls.list_subnets(mtu="big")


async def test_none_of_a_dhcp_attribute_is_kept(calls: Calls) -> None:
    await calls.small_network(mtu=None, dns_nameservers=["10.0.0.53"], gateway=None)
    [subnet] = await calls.list_subnets()
    assert subnet["mtu"] is None
    assert subnet["dns_nameservers"] == ["10.0.0.53"]
    assert "gateway" not in subnet
    assert "domain_name" not in subnet
