"""What each parameter accepts, how it is kept, and what the error says otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vlcp.model import params
from vlcp.model.errors import InvalidError
from vlcp.model.kinds.local import LocalKind
from vlcp.model.objects import LogicalPort, Subnet

NETWORK = {"id": "n", "physicalnetwork": "p"}
SUBNET = {"id": "s", "logicalnetwork": "n", "cidr": "10.0.0.0/24"}
PORT = {"id": "a", "logicalnetwork": "n", "mac_address": "02:00:00:00:00:01"}


def subnet(**values: Any) -> Subnet:
    [placed] = params.subnets(params.batch("subnets", [{**SUBNET, **values}]), 7)
    return placed.value


def port(**values: Any) -> LogicalPort:
    [placed] = params.logical_ports(params.batch("ports", [{**PORT, **values}]), 7)
    return placed.value


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("cidr", "192.168.2.5/24", "192.168.2.0/24"),
        ("cidr", "255.255.255.255/32", "255.255.255.255/32"),
        ("gateway", "10.0.0.254", "10.0.0.254"),
        ("mtu", "1450", 1450),
        ("mtu", 68, 68),
        ("mtu", None, None),
        ("lease_time", "infinite", "infinite"),
        ("lease_time", "3600", 3600),
        ("domain_name", "example.org", "example.org"),
        ("dns_nameservers", ["10.0.0.53", "1.1.1.1"], ("10.0.0.53", "1.1.1.1")),
        ("ntp_servers", (), ()),
        ("isexternal", "True", True),
        ("dhcp_enabled", "0", False),
        ("host_routes", [["192.168.1.7/24", "10.0.0.9"]], (("192.168.1.0/24", "10.0.0.9"),)),
        ("host_routes", [["0.0.0.0/0", "10.0.0.9"]], (("0.0.0.0/0", "10.0.0.9"),)),
        ("extra_dhcp_options", [["OPTION_MTU", "1400"]], (("OPTION_MTU", 1400),)),
        ("extra_dhcp_options", [["26", 1400], [252, "http://x/"]], ((26, 1400), (252, "http://x/"))),
        ("extra_dhcp_options", [[6, ["10.0.0.53"]], [15, None]], ((6, ["10.0.0.53"]), (15, None))),
        ("extra_dhcp_options", [[224, [0, 255]]], ((224, [0, 255]),)),
        (
            "extra_dhcp_options",
            [[121, [["10.1.0.0/16", "10.0.0.9"]]]],
            ((121, [["10.1.0.0/16", "10.0.0.9"]]),),
        ),
    ],
)
def test_kept(name: str, given: Any, kept: Any) -> None:
    if name == "cidr":
        assert subnet(cidr=given).cidr == kept
    else:
        assert getattr(subnet(**{name: given}), name) == kept


@pytest.mark.parametrize(
    ("name", "given", "place", "allowed"),
    [
        ("cidr", "10.0.0.0", "cidr", "10.0.0.0/24"),
        ("cidr", "10.0.0.0/33", "cidr", "at most 32"),
        ("cidr", "10.0.0.0/-1", "cidr", "at most 32"),
        ("cidr", "10.0.0.0/255.0.0.0", "cidr", "at most 32"),
        ("cidr", "0.0.0.0/0", "cidr", "1 to 32"),
        ("cidr", 10, "cidr", "10.0.0.0/24"),
        ("gateway", "10.1", "gateway", "10.0.0.1"),
        ("gateway", "10.0.0.01", "gateway", "10.0.0.1"),
        ("gateway", "167772161", "gateway", "10.0.0.1"),
        ("gateway", " 10.0.0.1", "gateway", "10.0.0.1"),
        ("gateway", "10.0.0.1\n", "gateway", "10.0.0.1"),
        ("gateway", "10.0.0.\u0661", "gateway", "10.0.0.1"),
        ("gateway", "", "gateway", "10.0.0.1"),
        ("gateway", "10.0.1.1", "gateway", "from 10.0.0.1 to 10.0.0.254"),
        ("gateway", "10.0.0.0", "gateway", "from 10.0.0.1"),
        ("allocated_start", "9.255.255.255", "allocated_start", "from 10.0.0.1"),
        ("allocated_end", "10.0.0.255", "allocated_end", "to 10.0.0.254"),
        ("mtu", 67, "mtu", "68 to 65535"),
        ("mtu", "1e3", "mtu", "68 to 65535"),
        ("mtu", True, "mtu", "68 to 65535"),
        ("mtu", 1450.0, "mtu", "68 to 65535"),
        ("lease_time", 0, "lease_time", "'infinite'"),
        ("lease_time", "forever", "lease_time", "'infinite'"),
        ("domain_name", "a..b", "domain_name", "example.org"),
        ("domain_name", "-a", "domain_name", "example.org"),
        ("domain_name", "a" * 64, "domain_name", "example.org"),
        ("dns_nameservers", "10.0.0.53", "dns_nameservers", "a list of IPv4 addresses"),
        ("dns_nameservers", ["10.0.0.53", "x"], "dns_nameservers[1]", "10.0.0.1"),
        ("ntp_servers", {"10.0.0.1": 1}, "ntp_servers", "a list"),
        ("isexternal", "maybe", "isexternal", "true or false"),
        ("isexternal", 1, "isexternal", "true or false"),
        ("host_routes", [["10.0.0.0/8"]], "host_routes[0]", "[destination CIDR, next hop]"),
        ("host_routes", [["10.0.0.0/8", "x"]], "host_routes[0][1]", "10.0.0.1"),
        ("extra_dhcp_options", [["OPTION_NONE", 1]], "extra_dhcp_options[0][0]", "OPTION_MTU"),
        ("extra_dhcp_options", [[255, 1]], "extra_dhcp_options[0][0]", "1 to 254"),
        ("extra_dhcp_options", [["OPTION_MESSAGE_TYPE", 1]], "extra_dhcp_options[0][0]", "every message"),
        ("extra_dhcp_options", [["OPTION_MTU", "big"]], "extra_dhcp_options[0][1]", "68 to 65535"),
        ("extra_dhcp_options", [[6, ["10.0.0.1", "x"]]], "extra_dhcp_options[0][1][1]", "10.0.0.1"),
        ("extra_dhcp_options", [[224, 7]], "extra_dhcp_options[0][1]", "a list of numbers from 0 to 255"),
        ("id", "", "id", "1 to 255 printable"),
        ("id", "a\0b", "id", "printable"),
        ("id", "x" * 256, "id", "1 to 255"),
        ("id", 5, "id", "text"),
        ("id", None, "id", "missing"),
        ("logicalnetwork", None, "logicalnetwork", "missing"),
        ("router", "r", "router", "vrouterapi/addrouterinterface"),
        ("version", "v", "version", "the controller sets it"),
        ("note", {"a": [1, {2}]}, "note.a[1]", "JSON"),
        ("note", float("nan"), "note", "JSON"),
        ("note", b"bytes", "note", "JSON"),
        ("note", 1 << 64, "note", "JSON"),
        ("note", "\ud800", "note", "JSON"),
        ("note", {1: 2}, "note", "the names in a JSON object"),
        ("pre_host_config", [7], "pre_host_config[0]", "a dictionary"),
        ("pre_host_config", [{"gateway": "x"}], "pre_host_config[0].gateway", "10.0.0.1"),
        ("pre_host_config", [{"gateway": "10.9.0.1"}], "pre_host_config[0].gateway", "10.0.0.254"),
    ],
)
def test_refused(name: str, given: Any, place: str, allowed: str) -> None:
    with pytest.raises(InvalidError) as caught:
        subnet(**{name: given})
    text = str(caught.value)
    assert text.startswith(f"subnets[0].{place} is ")
    assert allowed in text


def test_refused_values_are_shown_short() -> None:
    with pytest.raises(InvalidError) as caught:
        subnet(domain_name="x" * 5000)
    assert len(str(caught.value)) < 200


def test_a_range_may_not_be_empty() -> None:
    with pytest.raises(InvalidError, match=r"subnets\[0\].allocated_start .* not be above allocated_end"):
        subnet(allocated_start="10.0.0.9", allocated_end="10.0.0.8")


def test_deeply_nested_extras_are_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidError, match="at most 32 levels"):
        subnet(note=deep)


def test_host_configuration() -> None:
    [entry] = subnet(
        pre_host_config=[{"systemid": "h1", "cidr": "10.9.0.3/16", "gateway": "10.9.0.1", "more": (1,)}]
    ).pre_host_config
    assert entry == {
        "vhost": "",
        "systemid": "h1",
        "bridge": "%",
        "cidr": "10.9.0.0/16",
        "gateway": "10.9.0.1",
        "more": [1],
    }


@pytest.mark.parametrize("given", ["02:00:00:00:00:0A", "02-00-00-00-00-0a", "0200.0000.000a"])
def test_mac_forms(given: str) -> None:
    assert port(mac_address=given).mac_address == "02:00:00:00:00:0a"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:0g",
        "02:00-00:00:00:01",
        "2:0:0:0:0:1",
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        7,
    ],
)
def test_mac_refused(given: Any) -> None:
    with pytest.raises(InvalidError, match=r"ports\[0\].mac_address is .*MAC address"):
        port(mac_address=given)


def test_unknown_attributes_are_kept() -> None:
    created = port(ip_adress="typo", docker={"a": (1, 2)}, mtu=None, hostname=None)
    assert created.extra == {"ip_adress": "typo", "docker": {"a": [1, 2]}}
    assert created.mtu is None
    assert created.hostname is None
    assert created.lease_time is msgspec.UNSET
    assert created.created == 7


@pytest.mark.parametrize("given", [None, "x", {"id": "a"}, 7])
def test_a_batch_is_a_list(given: Any) -> None:
    with pytest.raises(InvalidError, match=r"^ports is .*a list of dictionaries"):
        params.batch("ports", given)


@pytest.mark.parametrize("given", [None, "x", ["id"], {1: 2}])
def test_a_batch_holds_dictionaries(given: Any) -> None:
    with pytest.raises(InvalidError, match=r"^ports\[1\] is .*a dictionary of parameters"):
        params.batch("ports", [{}, given])


def test_a_call_for_one_object_names_only_the_parameter() -> None:
    with pytest.raises(InvalidError, match=r"^mtu is 'x'"):
        params.logical_networks([params.Placed("", {**NETWORK, "mtu": "x"})], 7)
    with pytest.raises(InvalidError, match=r"^type is 'vlan': no network driver .* loaded types: local$"):
        params.physical_networks([params.Placed("", {"id": "p", "type": "vlan"})], {"local": LocalKind()}, 7)


def test_deletes_take_objects_as_they_were_listed() -> None:
    [placed] = params.ids(params.batch("ports", [{**PORT, "version": "v"}]))
    assert placed.value == "a"
