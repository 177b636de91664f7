"""Keys without effect are told: mistyped ones with what is near, those of earlier versions with the reason."""

import logging

import pytest

from vlcp.server.config import Config, ConfigError, parse
from vlcp.server.dropped import ABSENT, DROPPED
from vlcp.server.keys import Report, reason
from vlcp.server.module import Module
from vlcp.server.server import Server


class Lamp(Module):
    class Settings(Module.Settings, frozen=True, kw_only=True):
        light: int = 1

    settings: Settings


def tell(config: Config) -> None:
    """Let a server with one module tell about its keys."""
    server = Server(config)
    server.keys.process()
    Lamp(server)
    config.get("proxy.kvstorage")
    config.settings(Lamp.Settings, "protocol.http", "protocol.default")
    server.keys.module("lamp")
    server.keys.rest()
    server.keys.rest()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("module.lamp.lihgt = 1", "unknown key module.lamp.lihgt; did you mean module.lamp.light?"),
        ("module.lmap.light = 1", "no module 'lmap' is loaded; did you mean module.lamp?"),
        ("module.default.loadtimout = 1", "unknown key module.default.loadtimout; did you mean module.default.load"),
        ("modul.lamp.light = 1", "unknown key modul.*; did you mean module?"),
        ("server.startpu = ()", "unknown key server.startpu; did you mean server.startup?"),
        ("protocol.htp.light = 1", "unknown key protocol.htp; did you mean protocol.http?"),
        ("protocol.http.lite = 1", "unknown key protocol.http.lite; did you mean protocol.http.light?"),
        ("proxy.kvstorag = 'x'", "unknown key proxy.kvstorag; did you mean proxy.kvstorage?"),
    ],
)  # fmt: skip
def test_mistakes(caplog: pytest.LogCaptureFixture, line: str, expected: str) -> None:
    tell(parse(f"\n{line}", "x.conf"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"x.conf:2: {expected}")


@pytest.mark.parametrize(
    "line",
    [
        "module.static.dir = 'x'",
        "module.default.loadtimeout = 5",
        "protocol.openflow.debugging = True",
        "proxy.memorystorage = 'x'",
        "jsonformat.humanread = False",
        "server.startup = ('a.B',)",
        "server.logging.root = {}",
    ],
)
def test_what_may_be_right_is_no_mistake(caplog: pytest.LogCaptureFixture, line: str) -> None:
    tell(parse(line))
    assert caplog.records == []


def test_keys_of_earlier_versions_have_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    text = "server.lockpriority = 1\nserver.timerpriority = 2\nmodule.lamp.forcestop = False\nmodule.vxlancast.x = 1"
    with caplog.at_level(logging.INFO):
        tell(parse(text))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            f"without effect, {reason('server.lockpriority')}: server.lockpriority, server.timerpriority",
        ),
        ("INFO", "without effect, unloading a module always ends its tasks: module.lamp.forcestop"),
        ("INFO", "without effect, this version has nothing that reads it: module.vxlancast.x"),
    ]


def test_a_virtual_host_has_the_keys_of_its_module() -> None:
    assert reason("module.httpserver.vhost.a.vhost.b.connmanage") == reason("module.httpserver.connmanage")
    assert reason("module.httpserver.connmanage") is not None
    assert reason("module.httpserver.vhost.a.conmanage") is None


def test_a_value_where_keys_belong() -> None:
    with pytest.raises(ConfigError, match=r"x.conf:1: protocol = 5: expected a dictionary"):
        Report(parse("protocol = 5", "x.conf")).process()


def test_every_reason_is_a_text_that_goes_on_after_a_comma() -> None:
    for text in (*DROPPED.values(), *ABSENT.values()):
        assert text[0].islower()
        assert text[-1] != "."
