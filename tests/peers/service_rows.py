"""Calls of the APIs of everything but stores: the network, modules, servers and switches."""

from __future__ import annotations

import time
from typing import Any

from peers.controller import Controller
from peers.every_api import NOTHING_TO_GIVE, Calls, Check, Over, Row

# The network

GOOD: dict[str, dict[str, Any]] = {
    "physicalnetwork": {"type": "local"},
    "logicalnetwork": {"physicalnetwork": "p"},
    "subnet": {"logicalnetwork": "n", "cidr": "10.77.0.0/24"},
    "logicalport": {"logicalnetwork": "n"},
}
"""Kind of object -> what a call to create one needs."""
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "physicalnetwork": ({"type": "nosuch"}, 400, "type is 'nosuch'"),
    "logicalnetwork": (
        {"physicalnetwork": "nosuch"},
        404,
        "physicalnetwork: there is no physical network 'nosuch'",
    ),
    "subnet": ({"logicalnetwork": "n", "cidr": "10.77.0.0/33"}, 400, "cidr is '10.77.0.0/33'"),
    "logicalport": ({"logicalnetwork": "n", "subnet": "nosuch"}, 404, "subnet: there is no subnet 'nosuch'"),
}
"""What must be wrong about it."""
SEVERAL = {
    "physicalnetwork": "networks",
    "logicalnetwork": "networks",
    "subnet": "subnets",
    "logicalport": "ports",
}


def objects_of(kind: str) -> list[Row]:
    """The APIs of one kind of object."""
    good, (bad, status, told), several = GOOD[kind], BAD[kind], SEVERAL[kind]

    def ids(c: Controller, *wanted: str) -> bool:
        found = [item["id"] for item in c.result(f"viperflow/list{kind}s")]
        return all(each in found for each in wanted)

    def gone(c: Controller, id: str) -> bool:
        return bool(c.result(f"viperflow/list{kind}s", id=id) == [])

    def made(id: str) -> Calls:
        return ((f"viperflow/create{kind}", good | {"id": id}),)

    def deleted(id: str) -> Check:  # so that the next subnet can have the prefix
        return lambda c, r: ids(c, id) and c.call(f"viperflow/delete{kind}", id=id).status == 200

    return [
        Over(f"viperflow/create{kind}", good | {"id": "one"}, deleted("one"), bad, status, told),
        Over(f"viperflow/create{kind}s", {several: [good | {"id": "many"}]}, deleted("many"),
             {several: [bad]}, status, f"{several}[0].{told}"),
        Over(f"viperflow/delete{kind}", {"id": "old"}, lambda c, r: gone(c, "old"),
             {"id": "never"}, 404, "id: there is no ", made("old")),
        Over(f"viperflow/delete{kind}s", {several: [{"id": "older"}]}, lambda c, r: gone(c, "older"),
             {several: [{"id": "never"}]}, 404, f"{several}[0].id: there is no ", made("older")),
        Over(f"viperflow/list{kind}s", {"id": "here"}, lambda c, r: r[0]["id"] == "here" and deleted("here")(c, r),
             {"id": ["here"]}, 400, "parameter 'id': expected `str | null`", made("here")),
    ]  # fmt: skip


# Modules

AUTOLOAD = "vlcp.service.utils.autoload.AutoLoad"


def _is_active(c: Controller, path: str) -> bool:
    return path in c.result("manager/activemodules").values()


LOADED: Calls = (("manager/loadmodule", {"path": AUTOLOAD}),)
UNLOADED: Calls = (("manager/unloadmodule", {"path": AUTOLOAD}),)
MODULES: list[Row] = [
    Over("manager/activemodules", {}, lambda c, r: r["autoload"] == AUTOLOAD, *NOTHING_TO_GIVE, LOADED),
    Over("manager/status", {}, lambda c, r: r["autoload"]["state"] == "succeeded", *NOTHING_TO_GIVE, LOADED),
    Over("manager/statistics", {}, lambda c, r: r["apis"]["calls"] > 0 and "webapi" in r["of"], *NOTHING_TO_GIVE),
    Over("manager/loadmodule", {"path": AUTOLOAD}, lambda c, r: _is_active(c, AUTOLOAD),
         {"path": "vlcp.service.utils.autoload.AutoLoat"}, 404, "did you mean", UNLOADED),
    Over("manager/unloadmodule", {"path": AUTOLOAD}, lambda c, r: not _is_active(c, AUTOLOAD),
         {"path": "nosuch.Module"}, 404, "there is no Python module 'nosuch'", LOADED),
]  # fmt: skip


# Servers


def _listening(c: Controller, module: str, vhost: str) -> list[bool]:
    return [server["listening"] for server in c.result(f"{module}/getservers", vhost=vhost)]


def listeners(module: str) -> list[Row]:
    """The APIs of a module that listens, with the virtual host `spare` of its own."""
    spare = {"vhost": "spare"}
    wrong = ({"vhost": 5}, 400, "parameter 'vhost': expected `str | null`")
    start: Calls = ((f"{module}/startlisten", spare),)
    stop: Calls = ((f"{module}/stoplisten", spare),)
    return [
        Over(f"{module}/getservers", spare, lambda c, r: [s["listening"] for s in r] == [True], *wrong, start),
        Over(f"{module}/stoplisten", spare, lambda c, r: r == 1 and _listening(c, module, "spare") == [False],
             *wrong, start),
        Over(f"{module}/startlisten", spare, lambda c, r: r == 1 and _listening(c, module, "spare") == [True],
             *wrong, stop),
    ]  # fmt: skip


def _knows_client(c: Controller, result: list[dict[str, Any]]) -> bool:
    """An HTTP connection that is open is shown."""
    with c.connect() as client:
        port = client.getsockname()[1]
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if str(port) in str(c.result("httpserver/getconnections", vhost="api")):
                return result != []
    return False


SERVERS: list[Row] = [
    *listeners("httpserver"),
    Over("httpserver/getconnections", {"vhost": "api"}, _knows_client,
         {"vhosts": "api"}, 400, "unknown parameter 'vhosts'; did you mean vhost?"),
]  # fmt: skip


# Switches

SWITCHES: list[Row] = [
    Over("openflowmanager/status", {}, lambda c, r: [(s["datapath_id"], s["connected"]) for s in r] == [
        (f"{0x1d:016x}", True)], *NOTHING_TO_GIVE),
    Over("openflowmanager/explain", {"cookie": "0x100000000000000"}, lambda c, r: r["feature"] == "ioprocessing",
         {"cookie": "a flow"}, 400, "cookie: 'a flow' is not a number"),
    Over("openflowmanager/lastacquiredtables", {}, lambda c, r: r[0] == r[1][""] and r[0][0][1] == 0,
         {"vhost": 5}, 400, "parameter 'vhost': expected `str`"),
]  # fmt: skip


# Other controllers; here it is the same one


def _call(module: str) -> dict[str, Any]:
    return {"remote_module": module, "method": "get", "timeout": "5", "params": {"key": "remote"}}


REMOTE: list[Row] = [
    Over("remotecall/call", _call("knowledge"), lambda c, r: r == "near", _call("nosuch"), 404, "knowledge",
         (("knowledge/set", {"key": "remote", "value": "near"}),)),
]  # fmt: skip
