"""Follows the databases of Open vSwitch: which bridges there are, and what is plugged into them."""

# ruff: noqa: ASYNC109 - the name of the parameter is a promise to callers

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from vlcp.datapath.facts import Facts
from vlcp.datapath.interfaces import MONITORED, Bridge, Interfaces
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.server.api import UnavailableError, api
from vlcp.server.module import depend
from vlcp.server.server import Server
from vlcp.server.waiting import Timeout
from vlcp.service.connection.jsonrpcserver import JsonRPCServer
from vlcp.service.connection.users import ConnectionUser, datapath_number
from vlcp.wire.ovsdb import RowChange

_DATABASE = "Open_vSwitch"

BridgeHandler = Callable[[str, Sequence[Bridge]], None]
"""Told of the bridges of a database, by the address of the database, whenever they change."""
BridgeTuple = tuple[int, str, str]
"""Datapath id, name, UUID."""


class Owner(NamedTuple):
    """A bridge, and the connection to its database with what that says."""

    connection: OvsdbConnection
    database: Interfaces
    bridge: Bridge


@depend(JsonRPCServer)
class OVSDBManager(ConnectionUser[OvsdbConnection]):
    """Keeps the facts of every switch as its database says."""

    service = True
    source = JsonRPCServer

    class Settings(ConnectionUser.Settings, frozen=True, kw_only=True):
        """The keys of `module.ovsdbmanager.*`."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._databases: dict[OvsdbConnection, Interfaces] = {}
        self._on_bridges: BridgeHandler | None = None
        self._facts: dict[int, Facts] = {}

    async def load(self) -> None:
        """Follow every database that is connected."""
        self.dependency(JsonRPCServer).handle(OvsdbConnection, self._follow, self.settings.vhosts())

    async def unload(self) -> None:
        """Follow no more."""
        await super().unload()
        self.dependency(JsonRPCServer).release(self._follow)

    def attach(self, datapath_id: int, facts: Facts) -> None:
        """Keep the facts of a switch up to date from now on."""
        self._facts[datapath_id] = facts
        for database in self._databases.values():
            database.attach(datapath_id, facts)

    def detach(self, datapath_id: int) -> None:
        """Leave the facts of a switch as they are from now on."""
        del self._facts[datapath_id]
        for database in self._databases.values():
            database.detach(datapath_id)

    def follow_bridges(self, handler: BridgeHandler) -> None:
        """Tell this handler which bridges there are, now and whenever that changes."""
        self._on_bridges = handler
        for connection in self._databases:
            self._tell_bridges(connection)

    async def _follow(self, connection: OvsdbConnection) -> None:
        database = Interfaces()

        def apply(changes: list[RowChange]) -> None:
            database.apply(changes)
            connection.known_as = {"systemid": database.system_id}
            if any(change.table in ("Bridge", "Controller") for change in changes):
                self._tell_bridges(connection)
            self.changes.tell()

        connection.known_as = {"systemid": None}
        await connection.monitor(_DATABASE, MONITORED, apply)
        # Attached only now: the facts of an earlier connection hold until the database has been read.
        self._databases[connection] = database
        self.connections.add(connection)
        for datapath_id, facts in self._facts.items():
            database.attach(datapath_id, facts)
        self._tell_bridges(connection)
        self.changes.tell()
        try:
            await connection.wait_closed()
        finally:
            self.connections.discard(connection)
            del self._databases[connection]
            self.changes.tell()
            connection.close()  # what it monitors ends with it

    def _tell_bridges(self, connection: OvsdbConnection) -> None:
        if self._on_bridges is not None and connection in self._databases:
            self._on_bridges(connection.peer, self._databases[connection].bridges())

    # Finding

    def databases(self, vhost: str | None) -> list[tuple[OvsdbConnection, Interfaces]]:
        """The databases of a virtual host, None: of all; the newest connection first."""
        return [(each, self._databases[each]) for each in reversed(self.connections.all(vhost))]

    def owners(self, vhost: str | None) -> list[Owner]:
        """Every bridge; if several connections tell of it in one virtual host, with the newest."""
        found: dict[tuple[str, int], Owner] = {}
        for connection, database in self.databases(vhost):
            for bridge in database.bridges():
                found.setdefault((connection.vhost, bridge.datapath_id), Owner(connection, database, bridge))
        return list(found.values())

    def owner(self, datapath_id: int, vhost: str) -> Owner | None:
        """The bridge with this datapath id."""
        owners = self.owners(vhost)
        return next((owner for owner in owners if owner.bridge.datapath_id == datapath_id), None)

    def datapaths(self, vhost: str | None) -> list[tuple[str, int]]:
        """Pairs of a virtual host and a datapath id."""
        return [(owner.connection.vhost, owner.bridge.datapath_id) for owner in self.owners(vhost)]

    def _bridge(self, connection: OvsdbConnection, **wanted: str) -> int | None:
        """The datapath id of the bridge with this `name` or `uuid`."""
        if connection not in self._databases:
            raise UnavailableError(f"connection {connection.id!r} has ended")
        [(field, value)] = wanted.items()
        bridges = self._databases[connection].bridges()
        return next((bridge.datapath_id for bridge in bridges if getattr(bridge, field) == value), None)

    # What users call

    @api
    def getconnection(self, datapathid: int | str, vhost: str = "") -> OvsdbConnection | None:
        """Return the connection to the database that a datapath is in; None if there is none."""
        self.check_vhost(vhost)
        owner = self.owner(datapath_number(datapathid), vhost)
        return owner.connection if owner else None

    @api
    async def waitconnection(
        self, datapathid: int | str, timeout: Timeout = 30, vhost: str = ""
    ) -> OvsdbConnection:
        """Return the connection to the database that a datapath is in, as soon as there is one; status 504: not within
        `timeout` seconds."""
        return (await self.wait_owner(datapath_number(datapathid), timeout, vhost)).connection

    async def wait_owner(self, number: int, seconds: float, vhost: str) -> Owner:
        """The bridge with this datapath id, as soon as there is one."""
        missing = f"datapath {number:016x} is in no database that is connected"
        return await self.wait(lambda: self.owner(number, vhost), seconds, vhost, missing)

    @api
    def getbridges(self, connection: Any) -> list[BridgeTuple]:
        """Return the bridges that a connection tells of: datapath id, name and UUID of each.

        :param connection: one of getallconnections, or its `id`
        """
        return list(map(_tuple, self._databases[self.given(connection)].bridges()))

    @api
    def getbridge(self, connection: Any, name: str) -> int | None:
        """Return the datapath id of the bridge with this name; None if there is none."""
        return self._bridge(self.given(connection), name=name)

    @api
    def getbridgebyuuid(self, connection: Any, uuid: str) -> int | None:
        """Return the datapath id of the bridge with this UUID; None if there is none."""
        return self._bridge(self.given(connection), uuid=uuid)

    @api
    async def waitbridge(self, connection: Any, name: str, timeout: Timeout = 30) -> int:
        """Return the datapath id of the bridge with this name, as soon as it is there; status 504: not within `timeout`
        seconds, 503: the connection ended."""
        c = self.given(connection)
        missing = f"there is no bridge {name!r} on connection {c.id!r}"
        return await self.wait(lambda: self._bridge(c, name=name), timeout, None, missing)

    @api
    async def waitbridgebyuuid(self, connection: Any, uuid: str, timeout: Timeout = 30) -> int:
        """Return the datapath id of the bridge with this UUID, as soon as it is there; status 504: not within `timeout`
        seconds, 503: the connection ended."""
        c = self.given(connection)
        missing = f"there is no bridge with the UUID {uuid!r} on connection {c.id!r}"
        return await self.wait(lambda: self._bridge(c, uuid=uuid), timeout, None, missing)

    @api
    def getsystemids(self, vhost: str = "") -> list[str]:
        """Return the `external_ids:system-id` of the databases that are connected and have one."""
        self.check_vhost(vhost)
        return [system_id for _, system_id in self._system_ids(vhost)]

    @api
    def getallsystemids(self) -> list[tuple[str, str]]:
        """Return pairs of a virtual host and a system id that is connected there."""
        return self._system_ids(None)

    def _system_ids(self, vhost: str | None) -> list[tuple[str, str]]:
        ids = ((each.vhost, database.system_id) for each, database in self.databases(vhost))
        return list(dict.fromkeys((name, system_id) for name, system_id in ids if system_id is not None))

    @api
    def getconnectionbysystemid(self, systemid: str, vhost: str = "") -> OvsdbConnection | None:
        """Return the newest connection to the database with this system id; None if there is none."""
        self.check_vhost(vhost)
        return self._of_system(systemid, vhost)

    @api
    async def waitconnectionbysystemid(
        self, systemid: str, timeout: Timeout = 30, vhost: str = ""
    ) -> OvsdbConnection:
        """Return the newest connection to the database with this system id, as soon as there is one; status 504: not
        within `timeout` seconds."""
        missing = f"system {systemid!r} is not connected"
        return await self.wait(lambda: self._of_system(systemid, vhost), timeout, vhost, missing)

    def _of_system(self, system_id: str, vhost: str) -> OvsdbConnection | None:
        found = (each for each, database in self.databases(vhost) if database.system_id == system_id)
        return next(found, None)

    @api
    def getallbridges(self, vhost: str | None = None) -> list[BridgeTuple]:
        """Return the bridges that all connections tell of: datapath id, name and UUID of each.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        self.check_vhost(vhost)
        return [_tuple(owner.bridge) for owner in self.owners(vhost)]

    @api
    def getbridgeinfo(self, datapathid: int | str, vhost: str = "") -> tuple[str, str | None, str] | None:
        """Return name, system id and UUID of the bridge with this datapath id; None if there is none."""
        self.check_vhost(vhost)
        owner = self.owner(datapath_number(datapathid), vhost)
        return _info(owner) if owner else None

    @api
    async def waitbridgeinfo(
        self, datapathid: int | str, timeout: Timeout = 30, vhost: str = ""
    ) -> tuple[str, str | None, str]:
        """Return name, system id and UUID of the bridge with this datapath id, as soon as it is there; status 504: not
        within `timeout` seconds."""
        return _info(await self.wait_owner(datapath_number(datapathid), timeout, vhost))

    def statistics(self) -> dict[str, Any]:
        """The bridges of every database, by name."""
        bridges = [name for database in self._databases.values() for name in database.datapaths().values()]
        return {**super().statistics(), "bridges": bridges}


def _tuple(bridge: Bridge) -> BridgeTuple:
    return bridge.datapath_id, bridge.name, bridge.uuid


def _info(owner: Owner) -> tuple[str, str | None, str]:
    return owner.bridge.name, owner.database.system_id, owner.bridge.uuid
