"""A bridge of a private Open vSwitch: ports plugged and flows added as fast as the switch can, without a controller."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from testbed.flowmonitor import PATIENCE, FlowMonitor
from vlcp.lab import BRIDGE, Hypervisor, Lab
from vlcp.link import openflow, ovsdb
from vlcp.link.address import Address
from vlcp.wire.openflow import ApplyActions, FlowMod, FlowModCommand, GotoTable, Match, Message, SetField
from vlcp.wire.ovsdb import NamedUuid, Operation, RowChange, Uuid, insert, mutate

PREFIX = "bench"
"""Of the labs: what a benchmark that crashed has left is removed by the next one."""

_SPARE_TABLE = 200  # no feature uses it
_DATABASE = "Open_vSwitch"
_MONITORED = {
    "Open_vSwitch": ["next_cfg", "cur_cfg"],
    "Bridge": ["name"],
    "Port": ["name"],
    "Interface": ["name", "ofport"],
}


@contextmanager
def hypervisor() -> Iterator[Hypervisor]:
    """A hypervisor in a lab of its own. This process goes first on a machine that does other things as well."""
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    with Lab(PREFIX) as lab:
        yield lab.add_hypervisor()


class Bridge:
    """The bridge of a hypervisor, with this process connected to its database and twice to its OpenFlow socket."""

    def __init__(self, database: ovsdb.OvsdbConnection, switch: openflow.OpenFlowConnection) -> None:
        self.database, self.switch = database, switch
        self.flows = FlowMonitor()
        self._row: Uuid | None = None
        self._at_rest = True
        self._ofports: dict[str, int] = {}
        self._ports: dict[str, Uuid] = {}
        self._news = asyncio.Event()

    async def follow(self) -> None:
        """From now on know which interface has which OpenFlow port."""
        await self.database.monitor(_DATABASE, _MONITORED, self._take)

    def _take(self, changes: list[RowChange]) -> None:
        for table, uuid, old, new in changes:
            row: Any = new or old
            if table == "Open_vSwitch":
                self._at_rest = row["cur_cfg"] >= row["next_cfg"]
            elif table == "Bridge":
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
        """Remove ports in one transaction, and wait until the switch has done it."""
        ports = frozenset(self._ports.pop(name) for name in names)
        await self._change(self._on_bridge("delete", ports))
        await self.rest()

    async def rest(self) -> None:
        """Wait until the switch has carried out all of its database; see `cur_cfg` in ovs-vswitchd.conf.db(5)."""
        await self._until(lambda: self._at_rest)

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
