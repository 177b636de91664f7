"""Which bridges mean us when they name their controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vlcp.link.address import Address, parse
from vlcp.server.config import parse as parse_config
from vlcp.server.server import Server
from vlcp.service.connection.openflowserver import OpenflowServer


@pytest.fixture
async def tcp() -> AsyncIterator[tuple[OpenflowServer, Address]]:
    server = Server(parse_config("module.openflowserver.url = 'tcp://127.0.0.1:0'"))
    module = OpenflowServer(server)
    await module.load()
    (server_at,) = module.getservers()
    yield module, parse(server_at["url"])
    await module.unload()
    await module.cancel_tasks()


async def test_loopback_targets_with_our_port_mean_us(tcp: tuple[OpenflowServer, Address]) -> None:
    module, here = tcp
    for target in (f"tcp:127.0.0.1:{here.port}", f"tcp:localhost:{here.port}", f"tcp:[::1]:{here.port}"):
        assert module.named_by(target) == "", target


async def test_other_targets_do_not(tcp: tuple[OpenflowServer, Address]) -> None:
    module, here = tcp
    others = (f"tcp:10.0.0.1:{here.port}", f"ssl:127.0.0.1:{here.port}", "tcp:127.0.0.1:1", "tcp:127.0.0.1")
    for target in (*others, "unix:/run/x", "ptcp:6653", "tcp:[", ""):
        assert module.named_by(target) is None, target


async def test_a_unix_socket_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "of.sock"
    module = OpenflowServer(Server(parse_config(f"module.openflowserver.url = 'unix://{path}'")))
    assert module.named_by(f"unix:{path}") is None  # it does not listen yet
    await module.load()
    assert module.named_by(f"unix:{path}") == ""
    assert module.named_by(f"unix:{path}2") is None
    assert module.named_by("tcp:127.0.0.1:6653") is None
    await module.unload()
    await module.cancel_tasks()


async def test_a_peer_that_cannot_be_reached_does_no_harm(
    tcp: tuple[OpenflowServer, Address], tmp_path: Path
) -> None:
    module, _ = tcp
    module.reach(parse(f"unix://{tmp_path}/nobody.mgmt"))
    for task in tuple(module._tasks):
        await task
