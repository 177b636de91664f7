"""The module as users and other modules call it, on the embedded store."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from vlcp.server.api import BadParameterError, status_of
from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.sdn.plugins.networklocaldriver import NetworkLocalDriver
from vlcp.service.sdn.viperflow import ViperFlow

CONFIG = """
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = '{path}'
"""
PLACE = ("vhost=''", "systemid='%'", "bridge='%'")
LOCAL_MAC = re.compile(r"02(:[0-9a-f]{2}){5}")


class Caller:
    """Calls viperflow's APIs by name."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(self, name: str, /, **parameters: Any) -> Any:
        return await self.server.apis.call("viperflow", name, parameters)

    async def status(self, name: str, /, **parameters: Any) -> int | None:
        """The status of the error that the call must raise."""
        with pytest.raises(Exception) as caught:
            await self(name, **parameters)
        return status_of(caught.value)


async def callers(path: object) -> AsyncIterator[Caller]:
    server = Server(parse(CONFIG.format(path=path)))
    await server.load(ViperFlow)
    await server.load(NetworkLocalDriver)
    try:
        yield Caller(server)
    finally:
        await server.loader.unload_all()


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async for caller in callers(":memory:"):
        yield caller


async def small_network(call: Caller) -> None:
    await call("createphysicalnetwork", type="local", id="p")
    await call("createlogicalnetwork", physicalnetwork="p", id="n", mtu="1450")
    await call("createsubnet", logicalnetwork="n", id="s", cidr="10.0.0.0/24", gateway="10.0.0.1")


async def test_from_nothing_to_a_port_and_back(call: Caller) -> None:
    await small_network(call)
    port = await call("createlogicalport", logicalnetwork="n", subnet="s", hostname="alice", note="x")
    assert str(uuid.UUID(port["id"])) == port["id"]
    assert LOCAL_MAC.fullmatch(port["mac_address"])
    assert (port["ip_address"], port["hostname"], port["note"]) == ("10.0.0.2", "alice", "x")
    assert await call("listlogicalports") == [port]
    assert await call("listlogicalports", logicalnetwork="n", ip_address="10.0.0.2") == [port]
    [network] = await call("listlogicalnetworks", mtu="1450")
    assert (network["id"], network["physicalnetwork"]) == ("n", "p")
    assert port["created"] >= network["created"] > 1_600_000_000_000_000
    for one, object_id in (
        ("logicalport", port["id"]),
        ("subnet", "s"),
        ("logicalnetwork", "n"),
        ("physicalnetwork", "p"),
    ):
        assert await call(f"delete{one}", id=object_id) == {"status": "OK"}
        assert await call(f"list{one}s") == []


async def test_several_at_once(call: Caller) -> None:
    physical = await call(
        "createphysicalnetworks", networks=[{"type": "local", "id": "p"}, {"type": "local"}]
    )
    assert [network["type"] for network in physical] == ["local", "local"]
    await call("createlogicalnetworks", networks=[{"physicalnetwork": "p", "id": name} for name in "nm"])
    subnets = [{"logicalnetwork": name, "id": f"s{name}", "cidr": "10.0.0.0/16"} for name in "nm"]
    assert [subnet["id"] for subnet in await call("createsubnets", subnets=subnets)] == ["sn", "sm"]
    ports = await call("createlogicalports", ports=[{"logicalnetwork": "n", "subnet": "sn"}] * 1000)
    for attribute in ("id", "mac_address", "ip_address"):
        assert len({port[attribute] for port in ports}) == 1000
    assert len({port["version"] for port in ports}) == 1
    assert await call("listlogicalports") == sorted(ports, key=lambda port: str(port["id"]))
    assert await call("deletelogicalports", ports=ports) == {"status": "OK"}
    assert await call("deletesubnets", subnets=subnets) == {"status": "OK"}
    assert await call("deletelogicalnetworks", networks=[{"id": "n"}, {"id": "m"}]) == {"status": "OK"}
    assert await call("deletephysicalnetworks", networks=physical) == {"status": "OK"}


async def test_statuses(call: Caller) -> None:
    assert await call.status("createphysicalnetwork", id="p") == 400, (
        "the default type, vlan, has no driver here"
    )
    assert await call.status("createphysicalnetworks", networks=[{"id": "p"}]) == 400
    assert await call.status("createlogicalnetwork", physicalnetwork="p") == 404
    assert await call.status("deletephysicalnetwork", id="p") == 404
    await small_network(call)
    assert await call.status("createsubnet", logicalnetwork="n", cidr="10.0.0.0/25") == 409
    assert await call.status("createsubnet", logicalnetwork="n", cidr="10.1.0.0") == 400
    assert await call.status("createsubnet", logicalnetwork="n") == 400
    assert await call.status("deletelogicalnetwork", id="n") == 409
    assert await call.status("createlogicalports", ports="x") == 400
    assert await call.status("listlogicalports", id=["x"]) == 400
    with pytest.raises(BadParameterError, match="missing parameter 'id'"):
        await call("deletesubnet")


async def test_types_come_and_go_with_their_drivers(call: Caller) -> None:
    await call.server.unload(NetworkLocalDriver)
    with pytest.raises(Exception, match=r"type is 'local': no network driver .* loaded types: none"):
        await call("createphysicalnetwork", type="local")


async def test_calls_at_once(call: Caller) -> None:
    """A change that had to run again answers what it wrote, not what it first generated."""
    await small_network(call)
    answers = await asyncio.gather(
        *(call("createlogicalport", logicalnetwork="n", subnet="s") for _ in range(50)),
        *(call("createlogicalports", ports=[{"logicalnetwork": "n", "subnet": "s"}] * 3) for _ in range(10)),
    )
    ports = [*answers[:50], *(port for answer in answers[50:] for port in answer)]
    assert len({port["ip_address"] for port in ports}) == 80
    assert await call("listlogicalports") == sorted(ports, key=lambda port: str(port["id"]))


async def test_networks_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "vlcp.db"
    async for call in callers(path):
        await small_network(call)
        written = await call(
            "createlogicalport", logicalnetwork="n", subnet="s", id="alice", domain_name=None
        )
    async for call in callers(path):
        assert await call("listlogicalports") == [written]
        assert written["domain_name"] is None
        following = await call("createlogicalport", logicalnetwork="n", subnet="s")
        assert following["ip_address"] == "10.0.0.3"


async def test_parameters_are_those_of_the_module_list(call: Caller) -> None:
    details = await call("discover", details=True)
    shown = {
        name: [
            parameter["name"] + (f"={parameter['default']!r}" if parameter["optional"] else "")
            for parameter in entry["parameters"]
        ]
        + ["**"] * entry["extraparameters"]
        for name, entry in details.items()
        if name != "discover"
    }
    assert shown == {
        "createphysicalnetwork": ["type='vlan'", "id=None", "**"],
        "createphysicalnetworks": ["networks"],
        "updatephysicalnetwork": ["id", "**"],
        "updatephysicalnetworks": ["networks"],
        "deletephysicalnetwork": ["id"],
        "deletephysicalnetworks": ["networks"],
        "listphysicalnetworks": ["id=None", "**"],
        "createphysicalport": ["physicalnetwork", "name", *PLACE, "**"],
        "createphysicalports": ["ports"],
        "updatephysicalport": ["name", *PLACE, "**"],
        "updatephysicalports": ["ports"],
        "deletephysicalport": ["name", *PLACE],
        "deletephysicalports": ["ports"],
        "listphysicalports": ["name=None", "physicalnetwork=None", *PLACE, "**"],
        "createlogicalnetwork": ["physicalnetwork", "id=None", "**"],
        "createlogicalnetworks": ["networks"],
        "updatelogicalnetwork": ["id", "**"],
        "updatelogicalnetworks": ["networks"],
        "deletelogicalnetwork": ["id"],
        "deletelogicalnetworks": ["networks"],
        "listlogicalnetworks": ["id=None", "physicalnetwork=None", "**"],
        "createsubnet": ["logicalnetwork", "cidr", "id=None", "**"],
        "createsubnets": ["subnets"],
        "updatesubnet": ["id", "**"],
        "updatesubnets": ["subnets"],
        "deletesubnet": ["id"],
        "deletesubnets": ["subnets"],
        "listsubnets": ["id=None", "logicalnetwork=None", "**"],
        "createlogicalport": ["logicalnetwork", "id=None", "subnet=None", "**"],
        "createlogicalports": ["ports"],
        "updatelogicalport": ["id", "**"],
        "updatelogicalports": ["ports"],
        "deletelogicalport": ["id"],
        "deletelogicalports": ["ports"],
        "listlogicalports": ["id=None", "logicalnetwork=None", "**"],
    }
    assert all(entry["description"] for entry in details.values())
