"""The modules, APIs, parameters and defaults are those that users of earlier versions know; deviations are listed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from peers.controller import Controller
from peers.every_module import ENDS, KNOWN, everything, exists, name

NOT_YET = frozenset(
    """
    vlcp.service.connection.redisdb.RedisDB
    vlcp.service.connection.zookeeperdb.ZooKeeperDB
    vlcp.service.kvdb.redisnotifier.RedisNotifier
    vlcp.service.sdn.freearp.FreeARP
    vlcp.service.sdn.icmpresponder.ICMPResponder
    vlcp.service.sdn.l3router.L3Router
    vlcp.service.sdn.plugins.networknativedriver.NetworkNativeDriver
    vlcp.service.sdn.plugins.networkvlandriver.NetworkVlanDriver
    vlcp.service.sdn.plugins.networkvxlandriver.NetworkVxlanDriver
    vlcp.service.sdn.vrouterapi.VRouterApi
    vlcp.service.sdn.vtepcontroller.VtepController
    vlcp.service.sdn.vxlancast.VXLANCast
    vlcp.service.sdn.vxlanvtep.VXLANVtep
    vlcp_docker.dockerplugin.DockerPlugin
    """.split()
)
"""Loading paths that lead nowhere in this version. Who adds one takes it off this list."""

MISSING = {
    "arpresponder": "createproxyarp removeproxyarp",
    "dhcpserver": "gettablerequest",
    "ioprocessing": "flowready",
    "l2switch": "gettablerequest",
    "openflowmanager": "acquiretable unacquiretable",
}
"""Module -> its APIs that are not there in this version."""

OURS = {
    "manager": {
        "status": "why a module is not there, without reading the log",
        "statistics": "figures for people who watch a running controller",
    },
    "openflowmanager": {
        "status": "whether the switches have what they shall have",
        "explain": "why a flow is there",
    },
}
"""Module -> API that earlier versions do not have -> why we do."""

OUR_PARAMETERS = {
    "updatenotifier/createnotifier": {"vhost": "stores have virtual hosts, and any may be the notifier"},
}
"""Module/API -> parameter that earlier versions do not have -> why we do."""


class Parameter(NamedTuple):
    """A parameter as callers see it; `default` is meaningless unless it is optional."""

    name: str
    optional: bool
    default: Any = None


class Api(NamedTuple):
    """What an API takes; `extra`: any further parameters."""

    parameters: tuple[Parameter, ...]
    extra: bool


def known_api(signature: str) -> Api:
    """From the text of a signature, such as `(key, timeout=None, **kwargs)`."""
    function = ast.parse(f"def api{signature}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    names = [argument.arg for argument in function.args.args]
    defaults = [ast.literal_eval(default) for default in function.args.defaults]
    required = len(names) - len(defaults)
    optional = [
        Parameter(*pair) for pair in zip(names[required:], [True] * len(defaults), defaults, strict=True)
    ]
    return Api((*(Parameter(each, False) for each in names[:required]), *optional), bool(function.args.kwarg))


def shown_api(details: dict[str, Any]) -> Api:
    """From what `discover` shows."""
    parameters = (Parameter(p["name"], p["optional"], p.get("default")) for p in details["parameters"])
    return Api(tuple(parameters), details["extraparameters"])


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with everything(tmp_path_factory.mktemp("agreement")) as running:
        yield running


def existing() -> list[str]:
    """The loading paths of modules that can be called."""
    return [path for path in KNOWN["modules"] if path not in (*NOT_YET, ENDS)]


def test_the_loading_paths() -> None:
    assert {path for path in KNOWN["modules"] if not exists(path)} == NOT_YET
    assert all(map(exists, KNOWN["proxies"]))


def test_all_are_loaded(controller: Controller) -> None:
    status = controller.result("manager/status")
    states = {name(path): status.get(name(path), {}) for path in (*existing(), *KNOWN["proxies"])}
    assert {module: state for module, state in states.items() if state.get("state") != "succeeded"} == {}


def differences(module: str, shown: dict[str, Any], known: dict[str, str]) -> dict[str, tuple[Api, Api]]:
    """What is shown of the APIs that both know, and what is known, where they differ."""
    found = {}
    for api in known.keys() & shown.keys():
        own = OUR_PARAMETERS.get(f"{module}/{api}", {})
        parameters, extra = shown_api(shown[api])
        theirs = Api(tuple(each for each in parameters if not (each.name in own and each.optional)), extra)
        if theirs != known_api(known[api]):
            found[api] = theirs, known_api(known[api])
    return found


@pytest.mark.parametrize("path", existing(), ids=name)
def test_the_apis(controller: Controller, path: str) -> None:
    module, known = name(path), KNOWN["modules"][path]
    shown = controller.result(f"{module}/discover", details="true")
    assert known.keys() - shown.keys() == set(MISSING.get(module, "").split())
    assert shown.keys() - known.keys() - {"discover"} == set(OURS.get(module, {}))
    assert differences(module, shown, known) == {}


@pytest.mark.parametrize("path", KNOWN["proxies"], ids=name)
def test_the_proxies(controller: Controller, path: str) -> None:
    """A proxy offers what it is known for; the store of one machine has no servers that it is connected to."""
    [known] = [apis for known, apis in KNOWN["modules"].items() if name(known) == KNOWN["proxies"][path]]
    shown = controller.result(f"{name(path)}/discover", details="true")
    assert known.keys() - shown.keys() <= {
        "getservers", "stoplisten", "startlisten", "updateconfig", "getconnections",
    }  # fmt: skip
    assert differences(name(path), shown, known) == {}


def test_the_lists_name_what_is_known() -> None:
    apis = {name(path): apis.keys() for path, apis in KNOWN["modules"].items()}
    assert KNOWN["modules"].keys() >= NOT_YET
    assert {
        module for module, missing in MISSING.items() if not set(missing.split()) <= apis[module]
    } == set()


def test_descriptions_are_there(controller: Controller) -> None:
    for module in controller.result("manager/activemodules"):
        shown = controller.result(f"{module}/discover")
        assert {api for api, text in shown.items() if not text} == set(), module
