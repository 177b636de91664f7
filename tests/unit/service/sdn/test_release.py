"""When a switch may be sent anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlcp.datapath.switch import Switch
from vlcp.server.config import parse
from vlcp.server.module import Module, depend, module_path
from vlcp.server.server import Server
from vlcp.service.sdn.arpresponder import ARPResponder
from vlcp.service.sdn.ofpmanager import OpenflowManager

CONFIG = """
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = ':memory:'
module.jsonrpcserver.url = None
module.openflowserver.url = 'unix://{directory}/of'
server.requireall = True
"""


class Works(Module):
    """Has nothing to do."""


class Fails(Module):
    """Cannot be loaded."""

    async def load(self) -> None:
        raise OSError("no")


@depend(OpenflowManager)
class Knows(Module):
    """Knows a switch."""

    async def load(self) -> None:
        self.dependency(OpenflowManager)._switch(1)


@pytest.mark.parametrize(("other", "released", "status"), [(Works, [1], 0), (Fails, [], 1)])
async def test_nothing_is_sent_when_a_module_is_missing_that_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: type[Module], released: list[int], status: int
) -> None:
    config = parse(CONFIG.format(directory=tmp_path))
    config.override("server.startup", (module_path(Knows), module_path(other)), "test")
    server, seen = Server(config), list[int]()

    def release(switch: Switch, missing: set[int]) -> None:
        seen.append(switch.datapath_id)
        server.stop("it is seen")

    monkeypatch.setattr(Switch, "release", release)
    assert await server.run() == status
    assert seen == released


class Broken(ARPResponder):
    """A module of the data plane that cannot be loaded."""

    async def load(self) -> None:
        raise OSError("no")


async def test_a_switch_is_told_which_features_could_not_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse(CONFIG.format(directory=tmp_path) + "server.requireall = False\n")
    config.override("server.startup", (module_path(Knows), module_path(Broken)), "test")
    server, seen = Server(config), list[set[int]]()

    def release(switch: Switch, missing: set[int]) -> None:
        seen.append(missing)
        server.stop("it is seen")

    monkeypatch.setattr(Switch, "release", release)
    assert await server.run() == 0
    assert seen == [{ARPResponder.feature.number}]
