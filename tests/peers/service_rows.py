"""Calls of the APIs of everything but stores: the network, modules, servers and switches."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable
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

    def noted(c: Controller, result: Any, id: str) -> bool:
        """It was changed; it goes again."""
        return bool(c.result(f"viperflow/list{kind}s", note="x") == [result]) and bool(deleted(id)(c, result))

    return [
        Over(f"viperflow/create{kind}", good | {"id": "one"}, deleted("one"), bad, status, told),
        Over(f"viperflow/create{kind}s", {several: [good | {"id": "many"}]}, deleted("many"),
             {several: [bad]}, status, f"{several}[0].{told}"),
        Over(f"viperflow/update{kind}", {"id": "first", "note": "x"}, lambda c, r: noted(c, r, "first"),
             {"id": "never"}, 404, "id: there is no ", made("first")),
        Over(f"viperflow/update{kind}s", {several: [{"id": "other", "note": "x"}]},
             lambda c, r: noted(c, r[0], "other"), {several: [{"id": "never"}]}, 404, f"{several}[0].id: there is no ",
             made("other")),
        Over(f"viperflow/delete{kind}", {"id": "old"}, lambda c, r: gone(c, "old"),
             {"id": "never"}, 404, "id: there is no ", made("old")),
        Over(f"viperflow/delete{kind}s", {several: [{"id": "older"}]}, lambda c, r: gone(c, "older"),
             {several: [{"id": "never"}]}, 404, f"{several}[0].id: there is no ", made("older")),
        Over(f"viperflow/list{kind}s", {"id": "here"}, lambda c, r: r[0]["id"] == "here" and deleted("here")(c, r),
             {"id": ["here"]}, 400, "parameter 'id': expected `str | null`", made("here")),
    ]  # fmt: skip


WIRE = {"name": "eth0", "physicalnetwork": "w"}
GONE = "name: there is no physical port 'eth9'"


def _wires(c: Controller, **attributes: Any) -> list[str]:
    """The names of the physical ports with these attributes."""
    return [port["name"] for port in c.result("viperflow/listphysicalports", **attributes)]


def _wire(name: str) -> Calls:
    return (("viperflow/createphysicalport", WIRE | {"name": name}),)


PHYSICAL_PORTS: list[Row] = [
    Over("viperflow/createphysicalport", WIRE | {"bridge": "br0"}, lambda c, r: _wires(c, bridge="br0") == ["eth0"],
         WIRE | {"physicalnetwork": "p"}, 400, "physicalnetwork is 'p', but must be a physical network of another"),
    Over("viperflow/createphysicalports", {"ports": [WIRE | {"name": "eth1"}]}, lambda c, r: "eth1" in _wires(c),
         {"ports": [WIRE | {"physicalnetwork": "q"}]}, 404, "ports[0].physicalnetwork: there is no physical network"),
    Over("viperflow/updatephysicalport", {"name": "eth2", "speed": 10}, lambda c, r: _wires(c, speed=10) == ["eth2"],
         {"name": "eth9"}, 404, GONE, _wire("eth2")),
    Over("viperflow/updatephysicalports", {"ports": [{"name": "eth3", "speed": 9}]},
         lambda c, r: _wires(c, speed=9) == ["eth3"], {"ports": [{"name": "eth9"}]}, 404, f"ports[0].{GONE}",
         _wire("eth3")),
    Over("viperflow/deletephysicalport", {"name": "eth4"}, lambda c, r: _wires(c, name="eth4") == [],
         {"name": "eth9"}, 404, GONE, _wire("eth4")),
    Over("viperflow/deletephysicalports", {"ports": [{"name": "eth5"}]}, lambda c, r: _wires(c, name="eth5") == [],
         {"ports": [{"name": "eth9"}]}, 404, f"ports[0].{GONE}", _wire("eth5")),
    Over("viperflow/listphysicalports", {"name": "eth6"}, lambda c, r: r[0]["physicalnetwork"] == "w",
         {"name": ["eth6"]}, 400, "parameter 'name': expected `str | null`", _wire("eth6")),
]  # fmt: skip


# Modules

AUTOLOAD = "vlcp.service.utils.autoload.AutoLoad"


def _is_active(c: Controller, path: str) -> bool:
    return path in c.result("manager/activemodules").values()


def _is_loaded_again(c: Controller, _: Any) -> bool:
    """One more call makes the module begin anew."""
    before = c.result("manager/status")["autoload"]
    c.result("manager/reloadmodules", pathlist=[AUTOLOAD])
    after = c.result("manager/status")["autoload"]
    return bool(before["state"] == after["state"] == "succeeded" and after["since"] > before["since"])


def _files_are_watched(c: Controller) -> bool:
    return bool(c.result("manager/statistics")["of"]["manager"]["tasks"] == 1)


LOADED: Calls = (("manager/loadmodule", {"path": AUTOLOAD}),)
UNLOADED: Calls = (("manager/unloadmodule", {"path": AUTOLOAD}),)
MODULES: list[Row] = [
    Over("manager/activemodules", {}, lambda c, r: r["autoload"] == AUTOLOAD, *NOTHING_TO_GIVE, LOADED),
    Over("manager/status", {}, lambda c, r: r["autoload"]["state"] == "succeeded", *NOTHING_TO_GIVE, LOADED),
    Over("manager/statistics", {}, lambda c, r: r["apis"]["calls"] > 0 and "webapi" in r["of"], *NOTHING_TO_GIVE),
    Over("manager/reloadmodules", {"pathlist": [AUTOLOAD]}, _is_loaded_again,
         {"pathlist": AUTOLOAD}, 400, "parameter 'pathlist': expected `array`, got `str`; in a query", LOADED),
    Over("manager/enableautoreload", {"enabled": "false"}, lambda c, r: not _files_are_watched(c),
         {"enabled": "maybe"}, 400, "'maybe' is neither true nor false", (("manager/enableautoreload", {}),)),
    Over("manager/loadmodule", {"path": AUTOLOAD}, lambda c, r: _is_active(c, AUTOLOAD),
         {"path": "vlcp.service.utils.autoload.AutoLoat"}, 404, "did you mean", UNLOADED),
    Over("manager/unloadmodule", {"path": AUTOLOAD}, lambda c, r: not _is_active(c, AUTOLOAD),
         {"path": "nosuch.Module"}, 404, "there is no Python module 'nosuch'", LOADED),
]  # fmt: skip


# Servers


def _address(c: Controller, module: str, vhost: str) -> str:
    """The path of the only Unix socket of a virtual host."""
    [server] = c.result(f"{module}/getservers", vhost=vhost)
    return str(server["url"]).removeprefix("unix://")


def _can_connect(c: Controller, module: str, vhost: str = "spare") -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(_address(c, module, vhost))
        except OSError:
            return False
    return True


def _is_shown(c: Controller, module: str) -> bool:
    """A connection that is open is shown, until it is closed."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(_address(c, module, "spare"))
        shown = _until(lambda: len(c.result(f"{module}/getconnections", vhost="spare")) == 1)
    return shown and _until(lambda: c.result(f"{module}/getconnections", vhost="spare") == [])


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _follows(c: Controller, module: str) -> bool:
    """A virtual host that is written into the file is there after the next call."""
    url = f"unix://{c.file.parent}/late{module}"
    with c.file.open("a") as file:
        file.write(f"module.{module}.vhost.late.url = {url!r}\n")
    changed = c.result(f"{module}/updateconfig")
    return bool(changed["added"] == [url] and changed["removed"] == [] and _can_connect(c, module, "late"))


def listeners(module: str) -> list[Row]:
    """The APIs of a module that listens, with the virtual host `spare` of its own."""
    spare = {"vhost": "spare"}
    wrong = ({"vhost": "nosuch"}, 404, f"vhost: {module} has no virtual host 'nosuch'; it has ")
    start: Calls = ((f"{module}/startlisten", spare),)
    stop: Calls = ((f"{module}/stoplisten", spare),)
    return [
        Over(f"{module}/getservers", spare, lambda c, r: [s["listening"] for s in r] == [True], *wrong, start),
        Over(f"{module}/stoplisten", spare, lambda c, r: r == 1 and not _can_connect(c, module), *wrong, start),
        Over(f"{module}/startlisten", spare, lambda c, r: r == 1 and _can_connect(c, module), *wrong, stop),
        Over(f"{module}/getconnections", spare, lambda c, r: r == [] and _is_shown(c, module), *wrong, start),
        Over(f"{module}/updateconfig", {}, lambda c, r: r["added"] == [] and _follows(c, module), *NOTHING_TO_GIVE),
    ]  # fmt: skip


SERVERS: list[Row] = [
    row for name in ("httpserver", "jsonrpcserver", "openflowserver") for row in listeners(name)
]


# Other controllers; here it is the same one


def _call(module: str) -> dict[str, Any]:
    return {"remote_module": module, "method": "get", "timeout": "5", "params": {"key": "remote"}}


REMOTE: list[Row] = [
    Over("remotecall/call", _call("knowledge"), lambda c, r: r == "near", _call("nosuch"), 404, "knowledge",
         (("knowledge/set", {"key": "remote", "value": "near"}),)),
]  # fmt: skip


# Files


def _serves_more(c: Controller, _: Any) -> bool:
    """A directory that is written into the configuration is served after the next call."""
    (c.file.parent / "late").mkdir()
    (c.file.parent / "late" / "a.txt").write_text("here")
    [server] = c.result("httpserver/getservers", vhost="")
    url = str(server["url"]).replace("tcp:", "http:") + "/late/a.txt"
    with c.file.open("a") as file:
        file.write("module.static.dirs = ('late',)\n")
    c.result("static/updateconfig")
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bool(answer.read() == b"here")


FILES: list[Row] = [Over("static/updateconfig", {}, _serves_more, *NOTHING_TO_GIVE)]
