"""The ports of bridges as OVSDB tells them, for those who ask."""

# ruff: noqa: ASYNC109 - the name of the parameter is a promise to callers

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlcp.datapath.interfaces import Record
from vlcp.server.api import NotFoundError, UnavailableError, api
from vlcp.server.module import Module, depend
from vlcp.server.waiting import Timeout
from vlcp.service.connection.users import PortNumber, datapath_number
from vlcp.service.sdn.ovsdbmanager import OVSDBManager, Owner


@depend(OVSDBManager)
class OVSDBPortManager(Module):
    """Ports are records with `name`, `ofport`, `_uuid`, `external_ids`, `ifindex`, `type`, and `id`, their `iface-id`.
    An interface without OpenFlow port is none."""

    service = True

    async def take_over(self, old: Any) -> None:
        """Nothing is its own."""

    @property
    def _databases(self) -> OVSDBManager:
        return self.dependency(OVSDBManager)

    def _owner(self, datapathid: int | str, vhost: str) -> Owner | None:
        self._databases.check_vhost(vhost)
        return self._databases.owner(datapath_number(datapathid), vhost)

    async def _wait(
        self,
        datapathid: int | str,
        find: Callable[[Owner], Record | None],
        seconds: float,
        vhost: str,
        what: str,
    ) -> Record:
        number = datapath_number(datapathid)

        def found() -> Record | None:
            owner = self._databases.owner(number, vhost)
            return find(owner) if owner else None

        missing = f"datapath {number:016x} has no port {what} in a database that is connected"
        return await self._databases.wait(found, seconds, vhost, missing)

    @api
    def getports(self, datapathid: int | str, vhost: str = "") -> list[Record] | None:
        """Return the ports of a datapath, by their numbers; None: it is in no database that is connected."""
        owner = self._owner(datapathid, vhost)
        return owner.database.ports(owner.bridge.datapath_id) if owner else None

    @api
    def getallports(self, vhost: str | None = None) -> list[tuple[int, Record, str]]:
        """Return a datapath id, a port and a virtual host for every port.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        self._databases.check_vhost(vhost)
        return [
            (bridge.datapath_id, port, connection.vhost)
            for connection, database, bridge in self._databases.owners(vhost)
            for port in database.ports(bridge.datapath_id)
        ]

    @api
    def getportbyid(self, id: str, vhost: str = "") -> tuple[int, Record] | None:
        """Return the datapath id and the port whose `iface-id` this is; None if there is none."""
        self._databases.check_vhost(vhost)
        return self._of_id(id, vhost)

    @api
    async def waitportbyid(self, id: str, timeout: Timeout = 30, vhost: str = "") -> tuple[int, Record]:
        """Return the datapath id and the port whose `iface-id` this is, as soon as it is there; status 504: not within
        `timeout` seconds."""
        missing = f"no interface with an OpenFlow port has the iface-id {id!r}"
        return await self._databases.wait(lambda: self._of_id(id, vhost), timeout, vhost, missing)

    def _of_id(self, id: str, vhost: str) -> tuple[int, Record] | None:
        found = (database.port_of(id) for _, database in self._databases.databases(vhost))
        return next((port for port in found if port is not None), None)

    @api
    def getportbyname(self, datapathid: int | str, name: str, vhost: str = "") -> Record | None:
        """Return the port of a datapath with this name; None if there is none."""
        owner = self._owner(datapathid, vhost)
        return _named(owner, name) if owner else None

    @api
    async def waitportbyname(
        self, datapathid: int | str, name: str, timeout: Timeout = 30, vhost: str = ""
    ) -> Record:
        """Return the port of a datapath with this name, as soon as it is there; status 504: not within `timeout`
        seconds."""
        return await self._wait(datapathid, lambda owner: _named(owner, name), timeout, vhost, repr(name))

    @api
    def getportbyno(self, datapathid: int | str, portno: PortNumber, vhost: str = "") -> Record | None:
        """Return the port of a datapath with this OpenFlow number; None if there is none."""
        owner = self._owner(datapathid, vhost)
        return _numbered(owner, portno) if owner else None

    @api
    async def waitportbyno(
        self, datapathid: int | str, portno: PortNumber, timeout: Timeout = 30, vhost: str = ""
    ) -> Record:
        """Return the port of a datapath with this OpenFlow number, as soon as it is there; status 504: not within
        `timeout` seconds."""
        return await self._wait(
            datapathid, lambda owner: _numbered(owner, portno), timeout, vhost, str(portno)
        )

    @api
    async def resync(self, datapathid: int | str, vhost: str = "") -> None:
        """Return when the ports of a datapath are those that its database has now."""
        if (owner := self._owner(datapathid, vhost)) is None:
            number = datapath_number(datapathid)
            raise NotFoundError(f"datapathid: {number:016x} is in no database that is connected")
        try:  # what the server told before it answers has been taken then
            await owner.connection.call("echo")
        except ConnectionError as error:
            raise UnavailableError(f"the connection to the database ended: {error}") from None


def _named(owner: Owner, name: str) -> Record | None:
    return owner.database.port_named(owner.bridge.datapath_id, name)


def _numbered(owner: Owner, number: int) -> Record | None:
    """Reserved numbers are those of OpenFlow 1.0 in OVSDB, the local port 65534 for example."""
    return owner.database.port_numbered(owner.bridge.datapath_id, number & 0xFFFF)
