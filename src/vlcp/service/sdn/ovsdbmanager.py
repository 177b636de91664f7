"""Follows the databases of Open vSwitch: which bridges there are, and what is plugged into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlcp.datapath.facts import Facts
from vlcp.datapath.interfaces import MONITORED, Bridge, Interfaces
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.server.module import Module, depend
from vlcp.server.server import Server
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.peerserver import BoundSettings
from vlcp.wire.ovsdb import RowChange

_DATABASE = "Open_vSwitch"

BridgeHandler = Callable[[str, Sequence[Bridge]], None]
"""Told of the bridges of a database, by the address of the database, whenever they change."""


@depend(JsonRPCServer)
class OVSDBManager(Module):
    """Keeps the facts of every switch as its database says."""

    service = True

    class Settings(BoundSettings, frozen=True, kw_only=True):
        """The keys of `module.ovsdbmanager.*`."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._databases: dict[Interfaces, str] = {}
        self._on_bridges: BridgeHandler | None = None
        self._facts: dict[int, Facts] = {}

    async def load(self) -> None:
        """Follow every database that is connected."""
        self.dependency(JsonRPCServer).handle(OvsdbConnection, self._follow, self.settings.vhosts())

    async def unload(self) -> None:
        """Follow no more."""
        self.dependency(JsonRPCServer).release(self._follow)

    def attach(self, datapath_id: int, facts: Facts) -> None:
        """Keep the facts of a switch up to date from now on."""
        self._facts[datapath_id] = facts
        for database in self._databases:
            database.attach(datapath_id, facts)

    def detach(self, datapath_id: int) -> None:
        """Leave the facts of a switch as they are from now on."""
        del self._facts[datapath_id]
        for database in self._databases:
            database.detach(datapath_id)

    def follow_bridges(self, handler: BridgeHandler) -> None:
        """Tell this handler which bridges there are, now and whenever that changes."""
        self._on_bridges = handler
        for database in self._databases:
            self._tell_bridges(database)

    async def _follow(self, connection: OvsdbConnection) -> None:
        database = Interfaces()

        def apply(changes: list[RowChange]) -> None:
            database.apply(changes)
            if any(change.table in ("Bridge", "Controller") for change in changes):
                self._tell_bridges(database)

        await connection.monitor(_DATABASE, MONITORED, apply)
        # Attached only now: the facts of an earlier connection hold until the database has been read.
        self._databases[database] = connection.peer
        for datapath_id, facts in self._facts.items():
            database.attach(datapath_id, facts)
        self._tell_bridges(database)
        try:
            await connection.wait_closed()
        finally:
            del self._databases[database]
            connection.close()  # what it monitors ends with it

    def _tell_bridges(self, database: Interfaces) -> None:
        if self._on_bridges is not None and database in self._databases:
            self._on_bridges(self._databases[database], database.bridges())

    def statistics(self) -> dict[str, Any]:
        """The bridges of every database, by name."""
        bridges = [name for database in self._databases for name in database.datapaths().values()]
        return {**super().statistics(), "bridges": bridges}
