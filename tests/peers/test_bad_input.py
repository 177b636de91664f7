"""What a caller can get wrong: each mistake has its status and a text that names the parameter, and writes nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from peers.controller import WAYS, Controller

KINDS = ("physicalnetwork", "logicalnetwork", "subnet", "logicalport")
THERE = dict(zip(KINDS, "pnsa", strict=True))
"""Kind of object -> one that is there."""
BATCH = {
    "physicalnetwork": "networks",
    "logicalnetwork": "networks",
    "subnet": "subnets",
    "logicalport": "ports",
}
"""Kind of object -> the parameter of the calls for several."""
GOOD: dict[str, dict[str, Any]] = {
    "physicalnetwork": {"type": "local"},
    "logicalnetwork": {"physicalnetwork": "p"},
    "subnet": {"logicalnetwork": "m", "cidr": "10.0.1.0/24"},
    "logicalport": {"logicalnetwork": "n", "subnet": "s"},
}
"""What a call to create one needs."""


class Mistake(NamedTuple):
    """Parameters besides those of `GOOD`, the status, and what the text must say: the parameter and what is allowed."""

    kind: str
    params: dict[str, Any]
    status: int
    told: tuple[str, ...]

    def __str__(self) -> str:
        shown = ",".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.kind}-{shown[:50]}"


def _number(name: str, first: int, last: int) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    wrong = (first - 1, last + 1, "x", "1.5", 1.5, True, [], {}, "", "1e3", 1 << 60)
    return [({name: value}, (f"{name} is ", f"a number from {first} to {last}")) for value in wrong]


CREATE = [
    *(Mistake(kind, {"id": value}, 400, ("id", told)) for kind in KINDS
      for value, told in (("", "1 to 255 printable"), ("x" * 256, "1 to 255 printable"), ("a\nb", "printable"),
                          ("a\0", "printable"), (5, "expected `str | null`"), (["a"], "expected `str | null`"))),
    *(Mistake(kind, {"id": taken}, 409, (f"id: there already is a {words} '{taken}'",))
      for kind, taken, words in (("physicalnetwork", "p", "physical network"), ("subnet", "s", "subnet"),
                                 ("logicalnetwork", "n", "logical network"), ("logicalport", "a", "logical port"))),
    *(Mistake(kind, {name: "7"}, 400, (f"{name} is '7'", "must be absent")) for kind in KINDS
      for name in ("created", "version")),
    Mistake("physicalnetwork", {"type": "vlna"}, 400, ("type is 'vlna'", "loaded types: local")),
    Mistake("physicalnetwork", {"type": 5}, 400, ("'type': expected `str`, got `int`",)),
    Mistake("physicalnetwork", {"vlanrange": [[1, 2]]}, 400, ("vlanrange", "absent")),
    Mistake("physicalnetwork", {"vlanrange": [[0, 2]]}, 400, ("vlanrange[0][0] is 0", "a number from 1")),
    Mistake("physicalnetwork", {"vnirange": [[1]]}, 400, ("vnirange[0] is [1]", "[first, last]")),
    Mistake("logicalnetwork", {"physicalnetwork": "q"}, 404, ("physicalnetwork: there is no physical network 'q'",)),
    Mistake("logicalnetwork", {"physicalnetwork": ["p"]}, 400, ("'physicalnetwork': expected `str`",)),
    Mistake("logicalnetwork", {"vlanid": 5}, 400, ("vlanid is 5", "absent")),
    *(Mistake("logicalnetwork", params, 400, told) for params, told in _number("mtu", 68, 65535)),
    Mistake("logicalnetwork", {"lease_time": 0}, 400, ("lease_time is 0", "a number of seconds", "'infinite'")),
    Mistake("logicalnetwork", {"dns_nameservers": "1.1.1.1"}, 400, ("dns_nameservers is", "a list of IPv4")),
    Mistake("logicalnetwork", {"dns_nameservers": ["1.1.1"]}, 400, ("dns_nameservers[0] is '1.1.1'", "IPv4")),
    Mistake("logicalnetwork", {"domain_name": "a b"}, 400, ("domain_name is 'a b'", "a name such as")),
    Mistake("logicalnetwork", {"extra_dhcp_options": [[53, 1]]}, 400, ("extra_dhcp_options[0][0] is 53",)),
    Mistake("logicalnetwork", {"extra_dhcp_options": [["MTU", 1]]}, 400, ("[0][0] is 'MTU'", "OPTION_MTU")),
    Mistake("logicalnetwork", {"extra_dhcp_options": [[26, 0]]}, 400, ("[0][1] is 0", "a number from 68")),
    Mistake("subnet", {"logicalnetwork": "o"}, 404, ("logicalnetwork: there is no logical network 'o'",)),
    *(Mistake("subnet", {"cidr": text}, 400, ("cidr is ", "prefix"))
      for text in ("10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "/24", "::/64", "0.0.0.0/0", "", "10.0.0.0/٢",
                   "10.0.0/24", "256.0.0.0/8", "010.0.0.0/8", "x/8", "10.0.0.0.0/8")),
    Mistake("subnet", {"cidr": 5}, 400, ("'cidr': expected `str`, got `int`",)),
    Mistake("subnet", {"logicalnetwork": "n", "cidr": "10.0.0.128/25"}, 409,
            ("cidr is 10.0.0.128/25", "overlaps 10.0.0.0/24 of subnet 's'")),
    Mistake("subnet", {"gateway": "10.0.2.1"}, 400, ("gateway is 10.0.2.1", "from 10.0.1.1 to 10.0.1.254")),
    Mistake("subnet", {"gateway": "::1"}, 400, ("gateway is '::1'", "IPv4 address such as")),
    Mistake("subnet", {"allocated_start": "10.0.1.0"}, 400, ("allocated_start is 10.0.1.0", "from 10.0.1.1")),
    Mistake("subnet", {"allocated_start": "10.0.1.9", "allocated_end": "10.0.1.8"}, 400,
            ("allocated_start is 10.0.1.9", "must not be above allocated_end")),
    Mistake("subnet", {"host_routes": [["10.0.0.0/8"]]}, 400, ("host_routes[0] is", "[destination CIDR, next hop]")),
    Mistake("subnet", {"host_routes": [["10.0.0.0/8", "x"]]}, 400, ("host_routes[0][1] is 'x'", "IPv4 address")),
    Mistake("subnet", {"isexternal": "maybe"}, 400, ("isexternal is 'maybe'", "true or false")),
    Mistake("subnet", {"dhcp_server": "1"}, 400, ("dhcp_server is '1'", "IPv4 address")),
    Mistake("subnet", {"pre_host_config": [{"cidr": "x"}]}, 400, ("pre_host_config[0].cidr is 'x'", "prefix")),
    Mistake("logicalport", {"logicalnetwork": "o"}, 404, ("logicalnetwork: there is no logical network 'o'",)),
    Mistake("logicalport", {"subnet": "t"}, 404, ("subnet: there is no subnet 't'",)),
    Mistake("logicalport", {"logicalnetwork": "m"}, 400, ("subnet is 's'", "of logical network 'n'")),
    Mistake("logicalport", {"ip_address": "10.0.1.1"}, 400, ("ip_address is 10.0.1.1", "from 10.0.0.1 to 10.0.0.254")),
    Mistake("logicalport", {"ip_address": "10.0.0.255"}, 400, ("ip_address is 10.0.0.255", "from 10.0.0.1")),
    Mistake("logicalport", {"ip_address": "10.0.0.1"}, 400, ("ip_address is 10.0.0.1", "the gateway of subnet 's'")),
    Mistake("logicalport", {"ip_address": "10.0.0.9"}, 409, ("ip_address is 10.0.0.9", "which 'a' has")),
    Mistake("logicalport", {"ip_address": "::1"}, 400, ("ip_address is '::1'", "IPv4 address such as")),
    Mistake("logicalport", {"ip_address": 5}, 400, ("ip_address is 5", "IPv4 address such as")),
    Mistake("logicalport", {"subnet": None, "ip_address": "10.0.0.8"}, 400, ("ip_address is", "give its subnet too")),
    *(Mistake("logicalport", {"mac_address": text}, 400, ("mac_address is", "MAC address"))
      for text in ("02:00:00:00:00", "02:00:00:00:00:0g", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "", 5, ["x"])),
    Mistake("logicalport", {"mac_address": "02-00-00-00-00-09"}, 409, ("mac_address is 02:00", "'a' has")),
    Mistake("logicalport", {"hostname": "-x"}, 400, ("hostname is '-x'", "a name such as")),
]  # fmt: skip
"""Mistakes of one object, for the calls that create one and for those that create several."""

CHANGES: list[tuple[str, dict[str, Any], int, str]] = [
    ("physicalnetwork", {"type": "local"}, 400, "type is 'local', but must be absent: the type"),
    ("physicalnetwork", {"vlanrange": [[1, 2]]}, 400, "but must be absent: a physical network"),
    ("logicalnetwork", {"physicalnetwork": "p"}, 400, "physicalnetwork is 'p', but must be absent"),
    ("logicalnetwork", {"vni": "5"}, 400, "vni is 5, but must be absent"),
    ("logicalnetwork", {"mtu": "1"}, 400, "mtu is '1', but must be a number from 68 to 65535"),
    ("subnet", {"logicalnetwork": "n"}, 400, "logicalnetwork is 'n', but must be absent"),
    ("subnet", {"isexternal": "true"}, 400, "isexternal is 'true', but must be absent"),
    ("subnet", {"router": "r"}, 400, "vrouterapi/addrouterinterface"),
    ("subnet", {"cidr": "10.0.0.0/33"}, 400, "cidr is '10.0.0.0/33', but must be a prefix"),
    ("subnet", {"cidr": "10.0.0.0/29"}, 409, "'a' has the address 10.0.0.9 in subnet 's'"),
    ("subnet", {"cidr": "10.7.0.0/24"}, 409, "gateway is 10.0.0.1, but must be from 10.7.0.1"),
    ("subnet", {"gateway": "10.0.0.9"}, 409, "gateway is 10.0.0.9, which 'a' has"),
    ("subnet", {"gateway": "10.7.0.1"}, 400, "gateway is 10.7.0.1, but must be from 10.0.0.1"),
    ("subnet", {"allocated_start": "10.0.0.10"}, 409, "'a' has the address 10.0.0.9"),
    ("logicalport", {"subnet": "s"}, 400, "subnet is 's', but must be absent: the subnet"),
    ("logicalport", {"logicalnetwork": "n"}, 400, "logicalnetwork is 'n', but must be absent"),
    ("logicalport", {"ip_address": "10.0.0.1"}, 400, "which is the gateway of subnet 's'"),
    ("logicalport", {"ip_address": "10.0.1.1"}, 400, "must be from 10.0.0.1 to 10.0.0.254"),
    ("logicalport", {"mac_address": "x"}, 400, "mac_address is 'x', but must be a MAC address"),
]  # fmt: skip
"""Kind of object, what is to be changed of the one that is there, status, and what is told."""

CALLS: list[tuple[str, dict[str, Any], int, str]] = [
    ("nosuch/list", {}, 404, "no module 'nosuch' is loaded"),
    ("viperflo/listsubnets", {}, 404, "did you mean viperflow?"),
    ("viperflow/listsubnet", {}, 404, "did you mean viperflow/listsubnets?"),
    ("viperflow/createlogicalnetwork", {}, 400, "missing parameter 'physicalnetwork'"),
    ("viperflow/createlogicalnetwork", {"physicalnetwork": ""}, 400, "physicalnetwork is '', but must be text"),
    ("viperflow/createsubnet", {"logicalnetwork": "n"}, 400, "missing parameter 'cidr'; the parameters are"),
    ("viperflow/createlogicalport", {"subnet": "s"}, 400, "missing parameter 'logicalnetwork'"),
    ("viperflow/createlogicalports", {"port": [{}]}, 400, "missing parameter 'ports'; the parameters are (ports)"),
    *((f"viperflow/{verb}{kind}s", {BATCH[kind]: value}, 400, f"parameter '{BATCH[kind]}': expected ")
      for kind in KINDS for verb in ("create", "update", "delete") for value in ("x", 5, {"id": "x"}, ["x"], [["x"]])),
    *((f"viperflow/delete{kind}", {}, 400, "missing parameter 'id'") for kind in KINDS),
    *((f"viperflow/delete{kind}", {"id": 5}, 400, "parameter 'id': expected `str`") for kind in KINDS),
    *((f"viperflow/delete{kind}", {"id": ""}, 400, "id is '', but must be text") for kind in KINDS),
    *((f"viperflow/delete{kind}", {"id": "gone"}, 404, "id: there is no ") for kind in KINDS),
    *((f"viperflow/delete{kind}", {"id": "gone", "force": "1"}, 400, "unknown parameter 'force'; the parameters are")
      for kind in KINDS),
    *((f"viperflow/delete{kind}s", {BATCH[kind]: [{"name": "x"}]}, 400, f"{BATCH[kind]}[0].id is missing")
      for kind in KINDS),
    *((f"viperflow/delete{kind}s", {BATCH[kind]: [{"id": "x"}, {"id": "x"}]}, 400, f"{BATCH[kind]}[1].id is 'x', which")
      for kind in KINDS),
    *((f"viperflow/update{kind}", {}, 400, "missing parameter 'id'") for kind in KINDS),
    *((f"viperflow/update{kind}", {"id": "gone"}, 404, "id: there is no ") for kind in KINDS),
    *((f"viperflow/update{kind}", {"id": there, "version": "x"}, 400, "version is 'x', but must be absent")
      for kind, there in THERE.items()),
    *((f"viperflow/update{kind}s", {BATCH[kind]: [{"name": "x"}]}, 400, f"{BATCH[kind]}[0].id is missing")
      for kind in KINDS),
    *((f"viperflow/update{kind}s", {BATCH[kind]: [{"id": there, "note": "x"}, {"id": "gone"}]}, 404,
       f"{BATCH[kind]}[1].id: there is no ") for kind, there in THERE.items()),
    *((f"viperflow/update{kind}s", {BATCH[kind]: [{"id": "x"}, {"id": "x"}]}, 400, f"{BATCH[kind]}[1].id is 'x', which")
      for kind in KINDS),
    *((f"viperflow/update{kind}", {"id": THERE[kind], **changes}, status, told)
      for kind, changes, status, told in CHANGES),
    ("viperflow/createphysicalport", {"name": "e"}, 400, "missing parameter 'physicalnetwork'"),
    ("viperflow/createphysicalport", {"name": "e", "physicalnetwork": "p"}, 400, "type 'local' has no physical ports"),
    ("viperflow/createphysicalport", {"name": "e", "physicalnetwork": "q"}, 404, "there is no physical network 'q'"),
    ("viperflow/createphysicalport", {"name": "", "physicalnetwork": "p"}, 400, "name is '', but must be text"),
    ("viperflow/createphysicalport", {"name": "e", "physicalnetwork": "p", "vhost": "\n"}, 400, "vhost is "),
    ("viperflow/createphysicalport", {"name": "e", "physicalnetwork": "p", "version": "1"}, 400, "version is '1'"),
    ("viperflow/createphysicalports", {"ports": [{"physicalnetwork": "p"}]}, 400, "ports[0].name is missing"),
    ("viperflow/updatephysicalport", {"name": "e"}, 404, "name: there is no physical port 'e'"),
    ("viperflow/updatephysicalport", {"name": "e", "physicalnetwork": "p"}, 400, "must be absent: the physical"),
    ("viperflow/updatephysicalports", {"ports": [{"systemid": "h"}]}, 400, "ports[0].name is missing"),
    ("viperflow/deletephysicalport", {"name": "e", "bridge": ""}, 400, "bridge is '', but must be text"),
    ("viperflow/deletephysicalport", {"name": "e"}, 404, "name: there is no physical port 'e'"),
    ("viperflow/deletephysicalports", {"ports": [{"name": "e"}, {"name": "e", "vhost": ""}]}, 400,
     "ports[1].name is 'e', which ports[0].name is already"),
    ("viperflow/listphysicalports", {"name": "\n"}, 400, "name is '\\n', but must be text"),
    ("viperflow/deletephysicalnetwork", {"id": "p"}, 409, "id: physical network 'p' still has the logical network"),
    ("viperflow/deletelogicalnetwork", {"id": "n"}, 409, "id: logical network 'n' still has the logical port 'a'"),
    ("viperflow/deletesubnet", {"id": "s"}, 409, "id: subnet 's' still has the address '10.0.0.9'"),
    *((f"viperflow/list{kind}s", {"id": ["x"]}, 400, "parameter 'id': expected `str | null`") for kind in KINDS),
    *((f"viperflow/list{kind}s", {"id": "\n"}, 400, "id is '\\n', but must be text") for kind in KINDS),
    ("viperflow/listsubnets", {"cidr": "x"}, 400, "cidr is 'x', but must be a prefix"),
    ("viperflow/listlogicalports", {"mac_address": "x"}, 400, "mac_address is 'x', but must be a MAC address"),
    ("viperflow/listlogicalnetworks", {"mtu": "x"}, 400, "mtu is 'x', but must be a number from 68"),
    ("manager/loadmodule", {"path": "vlcp.service.sdn.viperflo.ViperFlow"}, 404, "did you mean vlcp.service.sdn.viper"),
    ("manager/loadmodule", {"path": "../x"}, 404, "a loading path is names joined by dots"),
    ("manager/unloadmodule", {"path": "no.Module"}, 404, "no Python module 'no'"),
    ("manager/status", {"x": "1"}, 400, "unknown parameter 'x'; the parameters are ()"),
    ("kvstorage/set", {"key": "", "value": 1}, 400, "'' is not a key"),
    ("kvstorage/set", {"key": "x", "value": 1, "timeout": "NaN"}, 400, "'timeout': expected a finite number"),
    ("kvstorage/mset", {"kvpairs": 5}, 400, "kvpairs is neither a dictionary nor a list of pairs"),
    ("kvstorage/update", {"key": "x", "updater": "x"}, 400, "'updater' must be a function"),
    ("objectdb/get", {"key": "d/", "requestid": "r"}, 400, "'d/' is not a key"),
    ("objectdb/transact", {"keys": ["x"], "updater": "x"}, 400, "'updater' must be a function"),
    ("memorystorage/mget", {"keys": "x"}, 400, "'keys': expected `array`"),
]  # fmt: skip
"""Whole calls: path, parameters, status, and what is told."""


def refused(controller: Controller, path: str, how: str, params: dict[str, Any], status: int) -> str:
    """The error of a call that must be refused at once and leave the store as it was."""
    before = controller.content()
    answer = controller.call(path, how, **params)
    assert answer.status == status, answer
    assert list(answer.body) == ["error"]
    assert answer.seconds < 1
    assert controller.content() == before
    return str(answer.body["error"])


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("mistake", CREATE, ids=str)
def test_one_object(controller: Controller, mistake: Mistake, how: str) -> None:
    params = GOOD[mistake.kind] | mistake.params
    told = refused(controller, f"viperflow/create{mistake.kind}", how, params, mistake.status)
    for text in mistake.told:
        assert text in told


@pytest.mark.parametrize("mistake", CREATE, ids=str)
def test_one_of_several_objects(controller: Controller, mistake: Mistake) -> None:
    """The good ones around it are not created either."""
    params = BATCH[mistake.kind]
    good = GOOD[mistake.kind] | {"id": "good"} | ({"cidr": "10.9.0.0/24"} if mistake.kind == "subnet" else {})
    items = [good, GOOD[mistake.kind] | mistake.params]
    told = refused(controller, f"viperflow/create{mistake.kind}s", "json", {params: items}, mistake.status)
    assert f"{params}[1]." in told


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("path", "params", "status", "text"), CALLS)
def test_a_call(
    controller: Controller, path: str, params: dict[str, Any], status: int, text: str, how: str
) -> None:
    assert text in refused(controller, path, how, params, status)


def test_every_call_is_covered(controller: Controller) -> None:
    covered = {path.partition("/")[2] for path, *_ in CALLS if path.startswith("viperflow/")}
    covered |= {f"create{mistake.kind}{plural}" for mistake in CREATE for plural in ("", "s")}
    assert set(controller.result("viperflow/discover")) - {"discover"} <= covered


# A batch of 1000


def thousand(kind: str) -> list[dict[str, Any]]:
    """Objects that could be created together."""
    if kind == "subnet":
        return [
            {"logicalnetwork": "m", "cidr": f"10.{1 + i // 250}.{i % 250}.0/24", "id": f"b{i}"}
            for i in range(1000)
        ]
    if kind == "logicalport":
        return [{"logicalnetwork": "m", "id": f"b{i}"} for i in range(1000)]
    return [{**GOOD[kind], "id": f"b{i}"} for i in range(1000)]


@pytest.mark.parametrize("place", [0, 500, 999])
@pytest.mark.parametrize(
    ("kind", "wrong", "status"),
    [
        ("physicalnetwork", {"type": "nosuch"}, 400),
        ("physicalnetwork", {"id": "p"}, 409),
        ("logicalnetwork", {"physicalnetwork": "nosuch"}, 404),
        ("logicalnetwork", {"mtu": 1}, 400),
        ("subnet", {"cidr": "10.0.0.0/40"}, 400),
        ("subnet", {"logicalnetwork": "n", "cidr": "10.0.0.0/25"}, 409),
        ("logicalport", {"mac_address": "ff:ff:ff:ff:ff:ff"}, 400),
        ("logicalport", {"logicalnetwork": "n", "subnet": "s", "ip_address": "10.0.0.9"}, 409),
        ("logicalport", {"logicalnetwork": "n", "subnet": "nosuch"}, 404),
    ],
)
def test_a_batch_of_1000_with_a_bad_item(
    controller: Controller, kind: str, wrong: dict[str, Any], status: int, place: int
) -> None:
    items = thousand(kind)
    items[place] |= wrong
    told = refused(controller, f"viperflow/create{kind}s", "json", {BATCH[kind]: items}, status)
    assert told.startswith(f"{BATCH[kind]}[{place}].")


def test_a_batch_of_1000_deletes_with_a_bad_item(controller: Controller) -> None:
    controller.result("viperflow/createlogicalports", ports=thousand("logicalport"))
    ids = [{"id": f"b{i}"} for i in range(1000)]
    told = refused(controller, "viperflow/deletelogicalports", "json", {"ports": [*ids, {"id": "x"}]}, 404)
    assert told == "ports[1000].id: there is no logical port 'x'"
    controller.result("viperflow/deletelogicalports", ports=ids)


def test_a_batch_that_is_too_large(controller: Controller) -> None:
    told = refused(controller, "viperflow/createlogicalports", "json", {"ports": [{}] * 10_001}, 400)
    assert told == "ports has 10001 items, but must have at most 10000 in one call"


def test_a_batch_of_1000_addresses_from_a_small_subnet(controller: Controller) -> None:
    ports = [{"logicalnetwork": "n", "subnet": "s"} for _ in range(1000)]
    told = refused(controller, "viperflow/createlogicalports", "json", {"ports": ports}, 409)
    assert "].subnet: no address is free in subnet 's' (10.0.0.1 to 10.0.0.254)" in told


@pytest.mark.parametrize("value", [5, None, "x", {"type": "subnet"}, {"id": "odd"}])
def test_somebody_wrote_to_our_keys(controller: Controller, value: Any) -> None:
    """Only calls that need the odd value are refused, and they name its key; lists show it as an error."""
    controller.result("kvstorage/set", key="viperflow.logicalport.odd", value=value)
    told = refused(controller, "viperflow/deletelogicalport", "json", {"id": "odd"}, 409)
    assert "the value of 'viperflow.logicalport.odd' cannot be decoded" in told
    [entry] = controller.result("viperflow/listlogicalports", id="odd")
    assert entry == {"id": "odd", "error": told}
    assert controller.call("viperflow/listlogicalports", id="a").status == 200
    controller.result("kvstorage/delete", key="viperflow.logicalport.odd")
