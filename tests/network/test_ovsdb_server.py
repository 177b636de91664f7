"""OVSDB connections with a real ovsdb-server, and ovs-vsctl as the other who changes the database."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from vlcp.link import address
from vlcp.link import ovsdb as link
from vlcp.link.address import parse
from vlcp.link.jsonrpc import KeepAlive
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.wire import ovsdb
from vlcp.wire.ovsdb import NamedUuid, OvsdbError, Replica, RowChange, Uuid, by_uuid

pytestmark = pytest.mark.network

VSWITCH_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

# Every kind of column: what a replica must follow.
KINDS_SCHEMA = {
    "name": "kinds",
    "version": "1.0.0",
    "tables": {
        "thing": {
            "isRoot": True,
            "columns": {
                "number": {"type": "integer"},
                "ratio": {"type": "real"},
                "flag": {"type": "boolean"},
                "text": {"type": "string"},
                "maybe": {"type": {"key": "string", "min": 0, "max": 1}},
                "friend": {
                    "type": {
                        "key": {"type": "uuid", "refTable": "thing", "refType": "weak"},
                        "min": 0,
                        "max": 1,
                    }
                },
                "numbers": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
                "pair": {"type": {"key": "string", "min": 0, "max": 2}},
                "some": {"type": {"key": "integer", "min": 1, "max": "unlimited"}},
                "friends": {
                    "type": {
                        "key": {"type": "uuid", "refTable": "thing", "refType": "weak"},
                        "min": 0,
                        "max": "unlimited",
                    }
                },
                "labels": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
                "single": {"type": {"key": "string", "value": "integer", "min": 0, "max": 1}},
            },
        }
    },
}


@dataclass
class Server:
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/db"

    def vsctl(self, *arguments: str) -> str:
        command = ["ovs-vsctl", f"--db=unix:{self.directory}/db", "--no-wait", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def start(directory: Path, schema: str, *options: str) -> Server:
    subprocess.run(["ovsdb-tool", "create", f"{directory}/conf.db", schema], check=True)
    command = ["ovsdb-server", f"{directory}/conf.db", f"--remote=punix:{directory}/db"]
    command += [f"--unixctl={directory}/ctl", "--no-chdir", "-vconsole:off", *options]
    server = Server(directory, subprocess.Popen(command))
    deadline = time.monotonic() + 10
    while not (directory / "db").exists():
        assert time.monotonic() < deadline, "ovsdb-server does not start"
        time.sleep(0.01)
    return server


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="odb", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    server = start(directory, VSWITCH_SCHEMA)
    server.vsctl("init")
    yield server
    server.stop()


@pytest.fixture
def kinds(directory: Path) -> Iterator[Server]:
    (directory / "schema").write_text(json.dumps(KINDS_SCHEMA))
    server = start(directory, f"{directory}/schema")
    yield server
    server.stop()


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes is outside of this process
            await asyncio.sleep(0.005)


INTERFACE = {"Interface": ["name", "type", "external_ids", "ofport", "options"]}


async def test_a_port_is_seen_to_come_to_change_and_to_go(server: Server) -> None:
    connection = await link.connect(parse(server.url))
    seen: list[RowChange] = []
    replica = await connection.monitor("Open_vSwitch", INTERFACE, seen.extend)
    assert seen == []

    await asyncio.to_thread(server.vsctl, "add-br", "br0", "--", "add-port", "br0", "p1")
    await eventually(lambda: len(seen) == 2)
    change = next(c for c in seen if c.new is not None and c.new["name"] == "p1")
    assert change.old is None
    assert change.new == {"name": "p1", "type": "", "external_ids": {}, "ofport": None, "options": {}}

    seen.clear()
    await asyncio.to_thread(
        server.vsctl, "set", "interface", "p1", "external_ids:iface-id=x1", "ofport_request=7"
    )
    await eventually(lambda: seen)
    new = {**change.new, "external_ids": {"iface-id": "x1"}}
    assert seen == [RowChange("Interface", change.uuid, change.new, new)]
    assert replica.tables["Interface"][change.uuid] == new

    seen.clear()
    await asyncio.to_thread(server.vsctl, "del-port", "p1")
    await eventually(lambda: seen)
    assert seen == [RowChange("Interface", change.uuid, new, None)]
    assert {row["name"] for row in replica.tables["Interface"].values()} == {"br0"}
    connection.close()
    await connection.wait_closed()


async def test_what_exists_arrives_before_monitor_returns(server: Server) -> None:
    server.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_id=0000000000000001")
    connection = await link.connect(parse(server.url))
    batches: list[list[RowChange]] = []
    await connection.monitor("Open_vSwitch", {"Bridge": ["name", "ports"], **INTERFACE}, batches.append)
    [first] = batches
    assert sorted(change.table for change in first) == ["Bridge", "Interface"]
    [bridge] = [change.new for change in first if change.table == "Bridge" and change.new]
    assert bridge["name"] == "br0"
    assert [type(port) for port in bridge["ports"]] == [Uuid]
    connection.close()


async def test_a_transaction_is_seen_before_its_result(server: Server) -> None:
    connection = await link.connect(parse(server.url))
    seen: list[RowChange] = []
    await connection.monitor("Open_vSwitch", INTERFACE, seen.extend)
    port, interface = NamedUuid("port"), NamedUuid("interface")
    uuid, _, _, count, [row] = await connection.transact(
        "Open_vSwitch",
        ovsdb.insert("Interface", {"name": "p1", "external_ids": {"iface-id": "a"}}, interface),
        ovsdb.insert("Port", {"name": "p1", "interfaces": {interface}}, port),
        ovsdb.insert("Bridge", {"name": "br0", "ports": {port}, "fail_mode": "secure"}, "bridge"),
        ovsdb.mutate("Open_vSwitch", [], [("bridges", "insert", {NamedUuid("bridge")})]),
        ovsdb.select("Bridge", [("name", "==", "br0")], ["name", "fail_mode", "datapath_id"]),
    )
    assert [(change.uuid, change.new and change.new["external_ids"]) for change in seen] == [
        (uuid, {"iface-id": "a"})
    ]
    assert count == 1
    assert row == {"name": "br0", "fail_mode": "secure", "datapath_id": None}
    assert server.vsctl("list-ports", "br0") == "p1"
    connection.close()


async def test_a_refused_operation_is_named_and_nothing_is_done(server: Server) -> None:
    connection = await link.connect(parse(server.url))
    bridge = {"name": "br0", "fail_mode": "perhaps"}
    operations = [
        ovsdb.comment("try"),
        ovsdb.insert("Bridge", bridge, "b"),
        ovsdb.mutate("Open_vSwitch", [], [("bridges", "insert", {NamedUuid("b")})]),
    ]
    with pytest.raises(OvsdbError, match=r"constraint violation: .*\(operation 1, insert Bridge\)") as caught:
        await connection.transact("Open_vSwitch", *operations)
    assert (caught.value.index, caught.value.operation) == (1, operations[1])
    with pytest.raises(OvsdbError, match="timed out") as caught:
        await connection.transact(
            "Open_vSwitch", ovsdb.wait("Bridge", [("name", "==", "br0")], [{"name": "br0"}])
        )
    assert caught.value.index == 0
    dangling = Uuid("01234567-89ab-cdef-0123-456789abcdef")
    with pytest.raises(OvsdbError, match="referential integrity") as caught:
        await connection.transact("Open_vSwitch", ovsdb.update("Open_vSwitch", [], {"bridges": {dangling}}))
    assert caught.value.index is None
    with pytest.raises(OvsdbError, match="unknown database"):
        await connection.get_schema("nothing")
    assert server.vsctl("list-br") == ""
    connection.close()


async def test_a_killed_server_ends_calls_and_connection(server: Server) -> None:
    connection = await link.connect(parse(server.url))
    waiting = ovsdb.wait("Bridge", [], [{"name": "never"}], timeout=None)
    call = asyncio.create_task(connection.transact("Open_vSwitch", waiting))
    await eventually(lambda: connection.statistics()["calls"] == 1)
    server.stop()
    with pytest.raises(ConnectionError, match=server.url):
        await call
    async with asyncio.timeout(5):
        await connection.wait_closed()
    with pytest.raises(ConnectionError):
        await connection.call("list_dbs")


async def test_a_server_that_hangs_is_given_up(server: Server) -> None:
    connection = await link.connect(parse(server.url), keep_alive=KeepAlive(0.1, 0.2))
    await asyncio.sleep(0.5)  # echoes are answered
    assert await connection.call("list_dbs") == ["Open_vSwitch", "_Server"]
    server.process.send_signal(19)  # SIGSTOP
    with pytest.raises(ConnectionError, match=r"no answer to an echo within 0\.2 s"):
        async with asyncio.timeout(5):
            await connection.wait_closed()


async def test_a_server_that_dials_in(directory: Path) -> None:
    accepted: asyncio.Queue[OvsdbConnection] = asyncio.Queue()
    listener = await link.serve(parse("ptcp://127.0.0.1:0"), accepted.put_nowait)
    server = start(directory, VSWITCH_SCHEMA, f"--remote=tcp:127.0.0.1:{listener.address.port}")
    connection = await accepted.get()
    assert connection.peer.startswith("127.0.0.1:")
    assert "Bridge" in (await connection.get_schema("Open_vSwitch")).tables
    listener.close()
    connection.close()
    server.stop()


async def test_without_monitor_cond_the_older_monitor_serves(server: Server) -> None:
    class OldServer(OvsdbConnection):
        async def _request(self, method: str, *rest: Any) -> Any:
            if method == "monitor_cond":
                raise OvsdbError("unknown method")
            return await super()._request(method, *rest)

    _, connection = await address.connect(parse(server.url), OldServer)
    seen: list[RowChange] = []
    server.vsctl(
        "add-br", "br0", "--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "options:a=b"
    )
    replica = await connection.monitor("Open_vSwitch", INTERFACE, seen.extend)
    await asyncio.to_thread(server.vsctl, "set", "interface", "p1", "options:c=d", "type=internal")
    await eventually(lambda: len(seen) == 3)
    assert seen[2].old is not None
    assert seen[2].new == {**seen[2].old, "type": "internal", "options": {"a": "b", "c": "d"}}
    await asyncio.to_thread(server.vsctl, "del-port", "p1")
    await eventually(lambda: len(seen) == 4)
    assert seen[3].new is None
    assert [row["name"] for row in replica.tables["Interface"].values()] == ["br0"]
    connection.close()


# The replica and the database


def random_row(rng: random.Random, things: list[Uuid]) -> dict[str, Any]:
    def some(*atoms: Any) -> frozenset[Any]:
        return frozenset(rng.sample(atoms, rng.randrange(len(atoms) + 1)))

    row: dict[str, Any] = {
        "number": rng.choice([0, 1, -5, 2**62]),
        "ratio": rng.choice([0.0, 0.5, -1e300, 3]),
        "flag": rng.random() < 0.5,
        "text": rng.choice(["", "a", '{"[\\', "é\u20ac\n"]),
        "maybe": rng.choice([None, "", "x"]),
        "friend": rng.choice([None, *things]),
        "numbers": some(1, 2, 3, 4),
        "pair": frozenset(rng.sample("abc", rng.randrange(3))),
        "some": some(1, 2) | {3},
        "friends": some(*things[:4]),
        "labels": {k: rng.choice("xyz") for k in some("a", "b", "c", "d")},
        "single": {k: rng.randrange(3) for k in rng.sample("ab", rng.randrange(2))},
    }
    return {column: row[column] for column in rng.sample(list(row), rng.randrange(1, len(row)))}


def random_operation(rng: random.Random, things: list[Uuid]) -> ovsdb.Operation:
    row = random_row(rng, things)
    if len(things) < 4 or rng.random() < 0.25:
        return ovsdb.insert("thing", row)
    one = by_uuid(rng.choice(things))
    return rng.choice(
        [
            ovsdb.update("thing", one, row),
            ovsdb.update("thing", one, row),
            ovsdb.delete("thing", one),
            ovsdb.mutate("thing", one, [("labels", "insert", {"n": "1"}), ("numbers", "insert", {7})]),
            ovsdb.mutate("thing", one, [("labels", "delete", {"a", "b"}), ("numbers", "delete", {1, 7})]),
        ]
    )


async def contents(connection: OvsdbConnection, columns: list[str]) -> dict[Uuid, Any]:
    [rows] = await connection.transact("kinds", ovsdb.select("thing", columns=["_uuid", *columns]))
    return {row.pop("_uuid"): row for row in rows}


@pytest.mark.parametrize("seed", range(6))
async def test_replicas_equal_the_database_after_random_transactions(kinds: Server, seed: int) -> None:
    rng = random.Random(seed)
    connection = await link.connect(parse(kinds.url))
    schema = await connection.get_schema("kinds")
    columns = [name for name in schema.table("thing").columns if not name.startswith("_")]
    followed: dict[Uuid, Any] = {}

    def follow(changes: list[RowChange]) -> None:
        for change in changes:
            assert followed.get(change.uuid) == change.old
            followed[change.uuid] = change.new
            if change.new is None:
                del followed[change.uuid]

    first = await connection.monitor("kinds", {"thing": columns}, follow)
    for _ in range(60):
        operations = [random_operation(rng, list(followed)) for _ in range(rng.randrange(1, 5))]
        await connection.transact("kinds", *operations)
        assert first.tables["thing"] == followed == await contents(connection, columns)
    assert len(followed) > 2
    late = await connection.monitor("kinds", {"thing": columns}, lambda changes: None)
    assert late.tables == first.tables
    connection.close()


async def test_both_kinds_of_updates_give_the_same_replica(kinds: Server) -> None:
    rng = random.Random(0)
    connection = await link.connect(parse(kinds.url))
    schema = await connection.get_schema("kinds")
    columns = [name for name in schema.table("thing").columns if not name.startswith("_")]
    replica2 = await connection.monitor("kinds", {"thing": columns}, lambda changes: None)
    replica = Replica(schema, {"thing": columns})
    monitor = link._Monitor(replica, replica.read_update, lambda changes: None)
    await connection._start_monitor("monitor", "kinds", {"thing": [{"columns": columns}]}, monitor)
    for _ in range(60):
        await connection.transact("kinds", random_operation(rng, list(replica.tables["thing"])))
        assert replica.tables == replica2.tables
    connection.close()


async def test_thousands_of_rows_leave_the_event_loop_free(server: Server) -> None:
    connection = await link.connect(parse(server.url))
    ports = [NamedUuid(f"p{i}") for i in range(5000)]
    rows = []
    for i, port in enumerate(ports):
        interface = {
            "name": f"port{i}",
            "external_ids": {"iface-id": f"id-{i}", "attached-mac": "02:00:00:00:00:01"},
        }
        rows.append(ovsdb.insert("Interface", interface, f"i{i}"))
        rows.append(ovsdb.insert("Port", {"name": f"port{i}", "interfaces": {NamedUuid(f"i{i}")}}, port))
    rows.append(ovsdb.insert("Bridge", {"name": "br0", "ports": frozenset(ports)}, "b"))
    rows.append(ovsdb.mutate("Open_vSwitch", [], [("bridges", "insert", {NamedUuid("b")})]))
    await connection.transact("Open_vSwitch", *rows)

    held = []  # in CPU time: how busy the machine is does not matter

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            held.append(time.thread_time() - before)

    watching = asyncio.create_task(watch())
    tables = {"Port": ["name", "interfaces"], "Bridge": ["name", "ports"], **INTERFACE}
    gc.disable()  # how long a collection takes depends on all that other tests left in memory
    before = time.thread_time()
    replica = await connection.monitor("Open_vSwitch", tables, lambda changes: None)
    took = time.thread_time() - before
    gc.enable()
    watching.cancel()
    assert len(replica.tables["Interface"]) == 5000
    assert max(held) < min(0.05, took / 2), f"held {max(held):.3f} s of {took:.3f} s"  # the aim is 0.02
    connection.close()
