"""An OVSDB server as the manager of databases sees it: rows, and those who are told of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlcp.link.identity import Identified
from vlcp.wire.ovsdb import RowChange, Uuid


class Ovsdb(Identified):
    """The connection to an OVSDB server beside us; `put_bridge` makes its only bridge."""

    def __init__(self, directory: Path, vhost: str = "") -> None:
        self.peer, self.local = f"unix://{directory}/db.sock", "unix:"
        self.endpoint = f"{directory}/db.sock"
        self.identify(vhost)
        self.target = f"unix:{directory}/of"
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._tell: Callable[[list[RowChange]], None] = lambda changes: None
        self._closed = asyncio.Event()

    def put(self, table: str, uuid: str, row: dict[str, Any] | None) -> None:
        """Put a row in the place of another, None: no row, and tell the monitor."""
        old = self._rows.pop((table, uuid), None)
        if row is not None:
            self._rows[table, uuid] = row
        self._tell([RowChange(table, Uuid(uuid), old, row)])

    def put_bridge(self, datapath_id: int, target: str = "") -> None:
        """The bridge has this datapath id and this controller; the default is us."""
        self.put("Controller", "c", {"target": target or self.target})
        self.put("Interface", "i", {"name": "tap1", "ofport": 1, "external_ids": {"iface-id": "vm1"}})
        self.put("Port", "p", {"interfaces": frozenset(["i"])})
        columns = {"ports": frozenset(["p"]), "controller": frozenset(["c"])}
        self.put("Bridge", "b", {"name": "br0", "datapath_id": f"{datapath_id:016x}", **columns})

    async def monitor(self, _: str, __: object, on_changes: Callable[[list[RowChange]], None]) -> None:
        """Tell all rows now and every change from now on."""
        on_changes([RowChange(table, Uuid(uuid), None, row) for (table, uuid), row in self._rows.items()])
        self._tell = on_changes

    async def call(self, _: str) -> None:
        """Answer an echo. ConnectionError: the connection has ended."""
        if self._closed.is_set():
            raise ConnectionError("closed")

    async def wait_closed(self) -> None:
        """Wait for `close`."""
        await self._closed.wait()

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
