"""Where the benchmarks measure: a private Open vSwitch that this process is connected to, and a client of the API.

Everything is timed in this process, by the same clock and in the same event loop: what the controller does, and what
Open vSwitch alone needs for the same change (the floor).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from vlcp.lab import BRIDGE, Hypervisor, Lab
from vlcp.lab.controller import form
from vlcp.link import openflow, ovsdb
from vlcp.link.address import Address
from vlcp.wire.openflow import (
    ApplyActions,
    FlowMod,
    FlowModCommand,
    GotoTable,
    Match,
    Message,
    MultipartReply,
    MultipartRequest,
    SetField,
)
from vlcp.wire.ovsdb import NamedUuid, Operation, RowChange, Uuid, insert, mutate

PREFIX = "bench"
"""Of the labs: what a benchmark that crashed has left is removed by the next one."""

PATIENCE = 60.0
"""Seconds until something that does not happen ends a benchmark."""

_ONF, _FLOW_MONITOR = 0x4F4E4600, 1870
_ADDED, _DELETED = 0, 1
_SPARE_TABLE = 200  # no feature uses it
_DATABASE = "Open_vSwitch"


@contextmanager
def hypervisor() -> Iterator[Hypervisor]:
    """A hypervisor in a lab of its own. This process goes first on a machine that does other things as well."""
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    with Lab(PREFIX) as lab:
        yield lab.add_hypervisor()


class FlowMonitor:
    """Counts the flows that come and go on a bridge, as the switch itself reports them.

    The ONF extension 187 for OpenFlow 1.3, which Open vSwitch offers since 2.16: the switch tells at the end of each
    bundle which flows it has added and deleted.
    """

    def __init__(self) -> None:
        self.added = self.deleted = 0
        self._news = asyncio.Event()

    async def watch(self, connection: openflow.OpenFlowConnection) -> None:
        """Watch all tables. Changes that are made over this connection itself are not reported."""
        connection.on_message = self._take
        empty_match = struct.pack("!HH4x", 1, 4)
        flags = 0b1110  # added, deleted, modified
        everything = struct.pack("!IHHIB3x", 1, flags, 4, 0xFFFFFFFF, 255) + empty_match
        body = struct.pack("!II", _ONF, _FLOW_MONITOR) + everything
        await connection.multipart(MultipartRequest(0xFFFF, 0, body))

    def _take(self, message: Message) -> None:
        if not isinstance(message, MultipartReply):
            return
        body, offset = message.body, 8
        while offset < len(body):
            length, event = struct.unpack_from("!HH", body, offset)
            self.added += event == _ADDED
            self.deleted += event == _DELETED
            offset += length
        self._news.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the counts are as `reached` wants them. TimeoutError: not within `PATIENCE`."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._news.clear()
                await self._news.wait()

    def more(self, flows: int) -> Coroutine[Any, Any, None]:
        """To be awaited: so many flows have been added since this call."""
        target = self.added + flows
        return self.until(lambda: self.added >= target)

    def fewer(self, flows: int) -> Coroutine[Any, Any, None]:
        """To be awaited: so many flows have been deleted since this call."""
        target = self.deleted + flows
        return self.until(lambda: self.deleted >= target)

    async def silence(self, seconds: float = 0.4) -> None:
        """Wait until nothing has changed for a while."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return


class Bridge:
    """The bridge of a hypervisor, with this process connected to its database and twice to its OpenFlow socket."""

    def __init__(self, database: ovsdb.OvsdbConnection, switch: openflow.OpenFlowConnection) -> None:
        self.database, self.switch = database, switch
        self.flows = FlowMonitor()
        self._row: Uuid | None = None
        self._ofports: dict[str, int] = {}
        self._ports: dict[str, Uuid] = {}
        self._news = asyncio.Event()

    async def follow(self) -> None:
        """From now on know which interface has which OpenFlow port."""
        columns = {"Bridge": ["name"], "Port": ["name"], "Interface": ["name", "ofport"]}
        await self.database.monitor(_DATABASE, columns, self._take)

    def _take(self, changes: list[RowChange]) -> None:
        for table, uuid, old, new in changes:
            row: Any = new or old
            if table == "Bridge":
                self._row = uuid
            elif table == "Port":
                self._ports[row["name"]] = uuid
            elif new is None:
                self._ofports.pop(row["name"], None)
            elif isinstance(row["ofport"], int) and row["ofport"] > 0:
                self._ofports[row["name"]] = row["ofport"]
        self._news.set()

    async def plug(self, *names: str, identified: bool = True) -> list[int]:
        """Add internal ports in one transaction and wait for their OpenFlow ports.

        `identified`: with their own name as `iface-id`, so that a controller cares for them.
        """
        operations: list[Operation] = []
        for number, name in enumerate(names):
            identity = {"iface-id": name} if identified else {}
            interface = {"name": name, "type": "internal", "external_ids": identity}
            port = {"name": name, "interfaces": frozenset([NamedUuid(f"i{number}")])}
            operations += [
                insert("Interface", interface, f"i{number}"),
                insert("Port", port, f"p{number}"),
            ]
        ports = frozenset(NamedUuid(f"p{number}") for number in range(len(names)))
        await self._change(*operations, self._on_bridge("insert", ports))
        await self._until(lambda: all(name in self._ofports for name in names))
        return [self._ofports[name] for name in names]

    async def unplug(self, *names: str) -> None:
        """Remove ports in one transaction."""
        ports = frozenset(self._ports.pop(name) for name in names)
        await self._change(self._on_bridge("delete", ports))
        await self._until(lambda: not any(name in self._ofports for name in names))

    def _on_bridge(self, mutator: str, ports: frozenset[Any]) -> Operation:
        assert self._row is not None
        return mutate("Bridge", [("_uuid", "==", self._row)], [("ports", mutator, ports)])

    async def _change(self, *operations: Operation) -> None:
        await self.database.transact(
            _DATABASE, *operations, mutate("Open_vSwitch", [], [("next_cfg", "+=", 1)])
        )

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def add_flows(self, count: int, first: int = 0) -> None:
        """Add flows in a table that nobody uses, as one bundle; they differ in what they match from `first` on."""
        await self.switch.bundle([_flow(first + number) for number in range(count)])

    async def clear(self) -> None:
        """Delete the flows of `add_flows`."""
        self.switch.send(FlowMod(command=FlowModCommand.DELETE, table=_SPARE_TABLE))
        await self.switch.barrier()

    async def time_floor(self, flows: int) -> float:
        """Milliseconds that the switch needs for so many flows in one bundle, until it reports them."""
        started = time.perf_counter()
        reported = self.flows.more(flows)
        await self.add_flows(flows)
        await reported
        elapsed = time.perf_counter() - started
        await self.clear()
        return elapsed * 1e3


def _flow(number: int) -> Message:
    """A flow of the kind that a port has: two fields matched, a register set, on to the next table."""
    instructions = (ApplyActions((SetField("reg6", number),)), GotoTable(_SPARE_TABLE + 1))
    return FlowMod(table=_SPARE_TABLE, match=Match(reg5=7, eth_dst=number), instructions=instructions)


@asynccontextmanager
async def attached(hypervisor: Hypervisor) -> AsyncIterator[Bridge]:
    """Connect to the bridge of a hypervisor."""
    sockets = hypervisor.run_directory
    openflow_address = Address("unix", path=f"{sockets}/{BRIDGE}.mgmt")
    database = await ovsdb.connect(Address("unix", path=f"{sockets}/db.sock"))
    switch, watcher = [await openflow.connect(openflow_address) for _ in range(2)]
    bridge = Bridge(database, switch)
    await bridge.follow()
    await bridge.flows.watch(watcher)
    try:
        yield bridge
    finally:
        for connection in (database, switch, watcher):
            connection.close()
            await connection.wait_closed()


class Client:
    """One kept-alive HTTP connection to the API of a controller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to `http://host:port`."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26))

    async def call(self, target: str, /, **parameters: object) -> Any:
        """Call `module/api`, give the result of the answer. RuntimeError: it was refused."""
        body = form(parameters).encode()
        head = (
            f"POST /{target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        answer = json.loads(await self._reader.readexactly(int(headers["content-length"])))
        if status.split()[1] != "200":
            raise RuntimeError(f"{target}: {answer.get('error', answer)}")
        return answer["result"]

    async def close(self) -> None:
        """End the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def make_network(client: Client) -> dict[str, str]:
    """A local network with room for 4000 ports; the parameters that its ports have in common."""
    await client.call("viperflow/createphysicalnetwork", type="local", id="here")
    await client.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
    await client.call("viperflow/createsubnet", logicalnetwork="blue", id="blue-subnet", cidr="10.100.0.0/20")
    return {"logicalnetwork": "blue", "subnet": "blue-subnet"}


async def until_settled(client: Client, bridge: Bridge) -> None:
    """Wait until the switch holds all that the controller wants."""
    async with asyncio.timeout(PATIENCE):
        while not all(switch["settled"] for switch in await client.call("openflowmanager/status")):
            await bridge.flows.silence(0.05)
    await bridge.flows.silence()


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used, from proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def timed(work: Coroutine[Any, Any, object]) -> float:
    """Milliseconds until the work is done."""
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1e3


def median(values: Iterable[float]) -> float:
    """The median of measured values."""
    return statistics.median(values)


def show(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: the first column to the left, numbers to the right, with a digit that means something."""
    lines = [list(head), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for first, *others in lines:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]), *cells, sep="  ", flush=True)


def show_load() -> None:
    """Print how busy the machine is with other things: who reads the figures needs to know."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
