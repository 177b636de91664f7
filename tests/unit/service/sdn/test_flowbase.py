"""The features of modules that cannot be loaded, or not again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from vlcp.flow.features import arpresponder
from vlcp.server.config import parse
from vlcp.server.module import Module, ModuleError, depend
from vlcp.server.server import Server
from vlcp.service.sdn.dhcpserver import DHCPServer
from vlcp.service.sdn.flowbase import FlowBase
from vlcp.service.sdn.ofpmanager import OpenflowManager

CONFIG = """
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = ':memory:'
module.jsonrpcserver.url = None
module.openflowserver.url = 'unix://{directory}/of'
module.dhcpserver.serveraddress = 'nowhere'
"""


class Oracle(Module):
    """What a module of flows needs."""

    works: ClassVar[bool] = True

    async def load(self) -> None:
        if not Oracle.works:
            raise OSError("no")


@depend(Oracle)
class Prophet(FlowBase):
    """Brings a feature."""

    feature = arpresponder.FEATURE


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(Oracle, "works", True)
    server = Server(parse(CONFIG.format(directory=tmp_path)))
    await server.load(OpenflowManager)
    yield server
    await server.loader.unload_all()


def features(server: Server) -> set[str]:
    return set(server.module(OpenflowManager)._features)


async def test_a_load_that_fails_before_its_feature_is_there_withdraws_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModuleError, match=r"module\.dhcpserver\.serveraddress = 'nowhere' must be"):
        await server.load(DHCPServer)
    assert "unload failed" not in caplog.text
    assert features(server) == {"arpresponder"}


async def start_again(server: Server) -> None:
    """As a reload does with what has no `take_over`, and what depends on it."""
    for name in ("oracle", "prophet"):
        server.modules[name].reloading = True
    await asyncio.gather(server.loader.unload("oracle"), server.loader.unload("prophet"))


async def test_flows_stay_while_their_module_cannot_be_started_again(server: Server) -> None:
    await server.load(Prophet)
    await start_again(server)
    Oracle.works = False
    for _ in ("new code", "old code"):
        with pytest.raises(ModuleError, match="it depends on 'oracle', which is failed"):
            await server.load(Prophet)
        assert features(server) == {"arpresponder"}
    Oracle.works = True
    await server.load(Prophet)
    assert features(server) == {"arpresponder"}
    await server.unload(Prophet)
    assert features(server) == set()


async def test_rules_that_fail_after_a_restart_do_not_withdraw_the_earlier_ones(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ModuleError("3 rules fail", 409)

    await server.load(Prophet)
    await start_again(server)
    with monkeypatch.context() as patch:
        patch.setattr(OpenflowManager, "exchange_feature", fail)
        with pytest.raises(ModuleError, match="3 rules fail"):
            await server.load(Prophet)
    assert features(server) == {"arpresponder"}
    await server.load(Prophet)
    assert server.modules["prophet"]
