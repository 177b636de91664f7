"""What the configuration of a server module means: virtual hosts, inheritance, settings of protocols."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from vlcp.server.config import Config, ConfigError, parse
from vlcp.server.server import Server
from vlcp.service.connection import protocols
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.openflowserver import OpenflowServer
from vlcp.service.connection.places import Level, ServerSettings, levels
from vlcp.service.connection.protocols import Http, JsonRpc, OpenFlow, Ovsdb


def read(text: str, protocol: type[protocols.Protocol] = OpenFlow) -> dict[str, Level[ServerSettings]]:
    """The levels of a module `m`, by their virtual hosts."""
    found = levels(parse(text, "x.conf"), "m", ServerSettings, lambda settings: protocol)
    return {level.vhost: level for level in found}


def urls(text: str) -> dict[str, list[str]]:
    return {name: [str(place.address) for place in level.places()] for name, level in read(text).items()}


def test_url_and_urls_of_every_level() -> None:
    assert urls("") == {"": ["tcp://:6653"]}
    assert urls("module.m.url = None") == {"": []}
    text = """module.m.urls = ['tcp://a', 'tcp:///', 'tcp://a:6653']
module.m.vhost.b.url = 'ssl://b'
module.m.vhost.b.vhost.c.urls = ('unix:///c',)
module.m.vhost.empty.client = False"""
    assert urls(text) == {
        "": ["tcp://:6653", "tcp://a:6653"],
        "b": ["ssl://b:6653"],
        "c": ["unix:///c"],
        "empty": [],
    }


def test_virtual_hosts_in_one_dictionary() -> None:
    assert urls("module.m.vhost = {'my-host': {'url': 'tcp://h:1'}}")["my-host"] == ["tcp://h:1"]


def test_everything_but_urls_comes_from_the_level_around() -> None:
    text = """module.m.key = 'k'
module.m.certificate = 'c'
module.m.client = True
module.m.url = 'tcp://h'
module.m.vhost.a.ca_certs = 'ca'
module.m.vhost.a.vhost.b.key = None
module.m.vhost.a.vhost.b.client = False"""
    found = {name: level.settings for name, level in read(text).items()}
    assert [(s.key, s.certificate, s.ca_certs, s.client) for s in found.values()] == [
        ("k", "c", None, True),
        ("k", "c", "ca", True),
        (None, "c", "ca", False),
    ]
    assert found["b"].url is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("module.m.url = 'zk://h'", "x.conf:1: module.m.url: 'zk://h' is not an address: it must be scheme://"),
        ("module.m.vhost.a.urls = ['tcp://h', 'udp://h']", "x.conf:1: module.m.vhost.a.urls: 'udp://h' is not"),
        ("module.m.vhost.a.url = 5", "x.conf:1: module.m.vhost.a.url = 5: expected `str | null`"),
        ("module.m.vhost = 5", "x.conf:1: module.m.vhost = 5: expected `object`"),
        ("module.m.vhost.a = 5", "x.conf:1: module.m.vhost.a = 5: expected a dictionary"),
        ("module.m.vhost.a.client = 'x'", "x.conf:1: module.m.vhost.a.client = 'x': expected `bool`"),
        ("module.m.client = True", "module.m.url = 'tcp:///': a client needs a host, tcp://host:port"),
        ("module.m.bindaddress = 'h'", "x.conf:1: module.m.bindaddress = 'h': expected an IP address"),
        ("module.m.bindaddress = 5", "x.conf:1: module.m.bindaddress = 5: expected an IP address"),
        ("module.m.bindaddress = [(2, ('::1', 70000))]", "('::1', 70000))]: expected an IP address"),
        ("module.m.mode = 600", "x.conf:1: module.m.mode = 600: expected `int` <= 511"),
        ("protocol.default.backlogsize = 99999999999", "backlogsize = 99999999999: expected `int` <= 2147483647"),
        ("module.m.protocol = 5", "x.conf:1: module.m.protocol = 5: expected"),
        ("module.m.protocol.hellotimeout = 0", "x.conf:1: module.m.protocol.hellotimeout = 0: expected `float` > 0"),
        ("module.m.vhost.a.protocol.openflow.backlogsize = 'x'", "x.conf:1: module.m.vhost.a.protocol.openflow.backl"),
        ("protocol.default.backlogsize = 0", "x.conf:1: protocol.default.backlogsize = 0: expected `int` >= 1"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_place(line: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        urls(line)
    assert told in str(caught.value)


def test_our_own_end() -> None:
    v4, v6 = socket.AF_INET, socket.AF_INET6
    for value, expected in (
        ("'192.0.2.1'", ((v4, "192.0.2.1", 0),)),
        ("['::1', '192.0.2.1']", ((v6, "::1", 0), (v4, "192.0.2.1", 0))),
        (f"[({v4.value}, '192.0.2.1'), ({v6.value}, ('::1', 99))]", ((v4, "192.0.2.1", 0), (v6, "::1", 99))),
    ):
        assert read(f"module.m.bindaddress = {value}")[""].bind() == expected


def test_a_protocols_settings_are_looked_for_from_the_inside_out() -> None:
    text = """protocol.default.backlogsize = 1
protocol.openflow.hellotimeout = 2
module.m.protocol.hellotimeout = 3
module.m.protocol.openflow.keepalivetimeout = 4
module.m.vhost.a.protocol.hellotimeout = 5
module.m.vhost.a.vhost.b.protocol.openflow.hellotimeout = 6
module.m.vhost.a.vhost.b.protocol.hellotimeout = 7"""
    found = {name: level.protocol for name, level in read(text).items()}
    values = [
        (p.backlogsize, p.hellotimeout, p.keepalivetimeout) for p in found.values() if isinstance(p, OpenFlow)
    ]
    assert values == [(1, 3, 4), (1, 5, 4), (1, 6, 4)]


def test_defaults_of_a_protocol_hide_those_of_all_protocols() -> None:
    config: Config = parse("protocol.default.keepalivetime = 99\nprotocol.jsonrpc.messagelimit = 50")
    found: list[Any] = [
        (p.keepalivetime, p.allowedrequests, p.messagelimit, p.persist)
        for p in (protocols.settings(config, cls, ("module.m",)) for cls in (JsonRpc, Ovsdb))
        if isinstance(p, JsonRpc)
    ]
    assert found == [(99, None, 50, True), (10, ("echo",), 50, True)]


def test_default_ports_may_be_set() -> None:
    assert read("", Http)[""].protocol.ssldefaultport == 443
    text = "protocol.openflow.defaultport = 6633\nmodule.m.urls = ['ssl://h']"
    assert urls(text)[""] == ["tcp://:6633", "ssl://h:6633"]
    level = read("module.m.url = 'ssl:///'\nmodule.m.urls = ['tcp:///']", Http)[""]
    assert [place.address.port for place in level.places()] == [443, 80]


@pytest.mark.parametrize(
    ("cls", "line", "told"),
    [
        (HttpServer, "module.httpserver.client = True", "x.conf:1: module.httpserver.client = True: HTTP servers only"),
        (OpenflowServer, "protocol.openflow.allowedversions = (1, 5)", "must hold 4, which is OpenFlow 1.3"),
        (JsonRPCServer, "module.jsonrpcserver.vhost.v.ovsdb = 3", "x.conf:1: module.jsonrpcserver.vhost.v.ovsdb = 3"),
    ],
)  # fmt: skip
def test_what_one_module_refuses(cls: Any, line: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cls(Server(parse(line, "x.conf")))
    assert told in str(caught.value)


def test_unknown_keys_of_virtual_hosts_are_told() -> None:
    config = parse("module.httpserver.url = None\nmodule.httpserver.vhost.api.rul = 'tcp:///'", "x.conf")
    HttpServer(Server(config))
    assert config.unread() == ["module.httpserver.vhost.api.rul"]
