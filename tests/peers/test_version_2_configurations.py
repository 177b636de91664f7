"""Configuration files written for VLCP 2.2.1 start unchanged, as far as this version has their modules."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from peers.controller import Controller

LAYER_2 = (
    "sdn.viperflow.ViperFlow sdn.ioprocessing.IOProcessing sdn.l2switch.L2Switch manage.modulemanager.Manager"
    " manage.webapi.WebAPI utils.autoload.AutoLoad sdn.vxlancast.VXLANCast sdn.arpresponder.ARPResponder"
    " sdn.dhcpserver.DHCPServer"
)
LAYER_3 = f"{LAYER_2} sdn.icmpresponder.ICMPResponder sdn.l3router.L3Router sdn.vrouterapi.VRouterApi"
DOCKER = "vlcp_docker.dockerplugin.DockerPlugin"


def paths(names: str) -> tuple[str, ...]:
    return tuple(f"vlcp.service.{name}" for name in names.split())


STARTUP = {
    "layer 2": paths(LAYER_2),
    "layer 3": paths(LAYER_3),
    "forwarder": paths(LAYER_3),
    "Docker": (*paths(LAYER_3), DOCKER),
}
FORWARDER = """module.ioprocessing.enable_router_forward = True
module.l3router.enable_router_forward = True
"""
SAMPLE = """module.jsonrpcserver.ovsdb=True
module.jsonrpcserver.client=True
module.jsonrpcserver.url='unix:///var/run/openvswitch/db.sock'
module.httpserver.url=None
module.httpserver.vhost.api.url='tcp://localhost:8081'
module.httpserver.vhost.docker.url='unix:///run/docker/plugins/vlcp.sock'
module.zookeeperdb.url='tcp://192.0.2.2:2181,192.0.2.3:2181,192.0.2.4:2181/'
proxy.kvstorage='vlcp.service.connection.zookeeperdb.ZooKeeperDB'
proxy.updatenotifier='vlcp.service.connection.zookeeperdb.ZooKeeperDB'
server.logging.version=1
server.logging.formatters={'file':{'format':'%(asctime)s %(levelname)s %(name)s: %(message)s'}}
server.logging.handlers={'daily':{'class':'logging.handlers.TimedRotatingFileHandler',
                                  'formatter':'file',
                                  'filename':'/var/log/vlcp.log',
                                  'when':'midnight',
                                  'interval':1,
                                  'backupCount':7}}
server.logging.root={'level':'INFO',
                     'handlers':['daily']}
module.l2switch.learning=False
module.l2switch.nxlearn=False
module.vxlancast.learning=False
module.vxlancast.prepush=True
"""
"""The keys of the sample files of 2.2.1: they differ in `server.startup` and in what makes a forwarder."""

NEEDS = {
    "viperflow": "objectdb",
    "ioprocessing": "openflowportmanager ovsdbportmanager objectdb",
    "l2switch": "openflowportmanager objectdb",
    "arpresponder": "openflowportmanager objectdb",
    "dhcpserver": "openflowportmanager objectdb arpresponder",
    "icmpresponder": "openflowportmanager objectdb",
    "l3router": "arpresponder icmpresponder objectdb",
    "vrouterapi": "objectdb",
    "vxlancast": "openflowportmanager objectdb ovsdbportmanager",
    "dockerplugin": "httpserver objectdb viperflow ovsdbmanager",
    "webapi": "httpserver",
    "autoload": "networklocaldriver networknativedriver networkvlandriver networkvxlandriver",
    "objectdb": "kvstorage updatenotifier",
    "openflowportmanager": "openflowmanager",
    "openflowmanager": "openflowserver",
    "ovsdbportmanager": "ovsdbmanager",
    "ovsdbmanager": "jsonrpcserver",
}
"""What 2.2.1 loads for a module, as its `manager/activemodules` tells."""
ABSENT = {
    "networknativedriver", "networkvlandriver", "networkvxlandriver", "vxlancast", "icmpresponder", "l3router",
    "vrouterapi", "dockerplugin",
}  # fmt: skip
"""Modules of these files that this version does not have."""


def present(path: str) -> bool:
    package, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(package), name)
    except ModuleNotFoundError:
        return False


def closure(names: Iterable[str]) -> set[str]:
    """Module names with all that they need."""
    found = set(names)
    while more := {below for name in found for below in NEEDS.get(name, "").split()} - found:
        found |= more
    return found


@pytest.mark.parametrize("kind", STARTUP)
def test_a_sample_configuration_of_version_2_loads_the_same_modules(kind: str, tmp_path: Path) -> None:
    startup = STARTUP[kind]
    loadable = tuple(path for path in startup if present(path))
    assert {path.rpartition(".")[2].lower() for path in set(startup) - set(loadable)} <= ABSENT
    elsewhere = (
        "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
        "proxy.updatenotifier = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
        f"module.jsonrpcserver.url = 'unix://{tmp_path}/db.sock'\n"
        "module.openflowserver.url = 'tcp://localhost:0'\n"
        f"module.httpserver.vhost.docker.url = 'unix://{tmp_path}/plugins/vlcp.sock'\n"
        f"server.logging.handlers = {{'daily': {{'class': 'logging.handlers.TimedRotatingFileHandler',"
        f" 'formatter': 'file', 'filename': '{tmp_path}/vlcp.log', 'when': 'midnight'}}}}\n"
    )
    sample = SAMPLE + (FORWARDER if kind == "forwarder" else "")
    controller = Controller(tmp_path, loadable, elsewhere, sample=sample)
    try:
        active = controller.result("manager/activemodules")
        states = {name: module["state"] for name, module in controller.result("manager/status").items()}
    finally:
        assert controller.end() == 0
    expected = closure(path.rpartition(".")[2].lower() for path in startup)
    assert set(active) == {*(expected - ABSENT), "embeddeddb"}, json.dumps(active, indent=1)
    assert set(states.values()) == {"succeeded"}
    log = (tmp_path / "vlcp.log").read_text()
    assert "unknown key" not in log
    assert "Traceback" not in log + controller.log()
