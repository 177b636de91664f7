"""Follows the databases of Open vSwitch: which bridges there are, and what is plugged into them."""

from __future__ import annotations

from typing import Any

from vlcp.datapath.facts import Facts
from vlcp.datapath.interfaces import MONITORED, Interfaces
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.server.module import Module, depend
from vlcp.server.server import Server
from vlcp.service.connection.jsonrpcserver import JsonRPCServer

_DATABASE = "Open_vSwitch"


@depend(JsonRPCServer)
class OVSDBManager(Module):
    """Keeps the facts of every switch as its database says."""

    service = True

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._databases: list[Interfaces] = []
        self._facts: dict[int, Facts] = {}

    async def load(self) -> None:
        """Follow every database that is connected."""
        self.dependency(JsonRPCServer).handle(self._follow)

    async def unload(self) -> None:
        """Follow no more."""
        self.dependency(JsonRPCServer).handle(None)

    def attach(self, datapath_id: int, facts: Facts) -> None:
        """Keep the facts of a switch up to date from now on."""
        self._facts[datapath_id] = facts
        for database in self._databases:
            database.attach(datapath_id, facts)

    async def _follow(self, connection: OvsdbConnection) -> None:
        database = Interfaces()
        await connection.monitor(_DATABASE, MONITORED, database.apply)
        # Attached only now: the facts of an earlier connection hold until the database has been read.
        self._databases.append(database)
        for datapath_id, facts in self._facts.items():
            database.attach(datapath_id, facts)
        try:
            await connection.wait_closed()
        finally:
            self._databases.remove(database)

    def statistics(self) -> dict[str, Any]:
        """The bridges of every database, by name."""
        bridges = [name for database in self._databases for name in database.datapaths().values()]
        return {**super().statistics(), "bridges": bridges}
