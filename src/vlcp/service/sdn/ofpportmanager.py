"""The ports of switches as OpenFlow describes them, for those who ask."""

# ruff: noqa: ASYNC109 - the name of the parameter is a promise to callers

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlcp.datapath.ports import PortTable
from vlcp.server.api import NotFoundError, api
from vlcp.server.module import Module, depend
from vlcp.server.waiting import Timeout
from vlcp.service.connection.users import PortNumber, datapath_number
from vlcp.service.sdn.ofpmanager import OpenflowManager
from vlcp.wire.ethernet import format_mac
from vlcp.wire.openflow import PortDesc

Description = dict[str, Any]


@depend(OpenflowManager)
class OpenflowPortManager(Module):
    """Ports are objects with the names of `ofp_port` (OpenFlow 1.3.5, section 7.2.1): `port_no`, `hw_addr`, `name`,
    `config`, `state`, `curr`, `advertised`, `supported`, `peer`, `curr_speed` and `max_speed` (kbit/s)."""

    service = True

    async def take_over(self, old: Any) -> None:
        """Nothing is its own."""

    @property
    def _switches(self) -> OpenflowManager:
        return self.dependency(OpenflowManager)

    def _ports(self, datapathid: int | str, vhost: str) -> PortTable | None:
        self._switches.check_vhost(vhost)
        return self._switches.ports(datapath_number(datapathid), vhost)

    async def _wait(
        self,
        datapathid: int | str,
        find: Callable[[PortTable], PortDesc | None],
        seconds: float,
        vhost: str,
        what: str,
    ) -> Description:
        number = datapath_number(datapathid)

        def found() -> PortDesc | None:
            ports = self._switches.ports(number, vhost)
            return find(ports) if ports else None

        missing = f"datapath {number:016x} is not connected, or has no port {what}"
        return _described(await self._switches.wait(found, seconds, vhost, missing))

    @api
    def getports(self, datapathid: int | str, vhost: str = "") -> list[Description] | None:
        """Return the ports of a datapath; None: it is not connected."""
        ports = self._ports(datapathid, vhost)
        return None if ports is None else list(map(_described, ports.all()))

    @api
    def getallports(self, vhost: str | None = None) -> list[tuple[int, Description, str]]:
        """Return a datapath id, a port and a virtual host for every port.

        :param vhost: only those of this virtual host; '' for the default one, None for all
        """
        self._switches.check_vhost(vhost)
        return [
            (number, _described(port), name)
            for name, number in self._switches.datapaths(vhost)
            if (ports := self._switches.ports(number, name)) is not None
            for port in ports.all()
        ]

    @api
    def getportbyno(self, datapathid: int | str, portno: PortNumber, vhost: str = "") -> Description | None:
        """Return the port of a datapath with this number; None if there is none."""
        ports = self._ports(datapathid, vhost)
        return _found(ports.numbered(portno) if ports else None)

    @api
    async def waitportbyno(
        self, datapathid: int | str, portno: PortNumber, timeout: Timeout = 30, vhost: str = ""
    ) -> Description:
        """Return the port of a datapath with this number, as soon as it is there; status 504: not within `timeout`
        seconds."""
        return await self._wait(datapathid, lambda ports: ports.numbered(portno), timeout, vhost, str(portno))

    @api
    def getportbyname(self, datapathid: int | str, name: str, vhost: str = "") -> Description | None:
        """Return the port of a datapath with this name; None if there is none."""
        ports = self._ports(datapathid, vhost)
        return _found(ports.named(name) if ports else None)

    @api
    async def waitportbyname(
        self, datapathid: int | str, name: str, timeout: Timeout = 30, vhost: str = ""
    ) -> Description:
        """Return the port of a datapath with this name, as soon as it is there; status 504: not within `timeout`
        seconds."""
        return await self._wait(datapathid, lambda ports: ports.named(name), timeout, vhost, repr(name))

    @api
    async def resync(self, datapathid: int | str, vhost: str = "") -> None:
        """Ask a switch for its ports again; return when they are known."""
        number = datapath_number(datapathid)
        if self._ports(number, vhost) is None:
            raise NotFoundError(f"datapathid: {number:016x} is not connected")
        await self._switches.describe(number, vhost)


def _found(port: PortDesc | None) -> Description | None:
    return None if port is None else _described(port)


def _described(port: PortDesc) -> Description:
    return {
        "port_no": port.number,
        "hw_addr": format_mac(port.mac),
        "name": port.name,
        "config": port.config,
        "state": port.state,
        "curr": port.current,
        "advertised": port.advertised,
        "supported": port.supported,
        "peer": port.peer,
        "curr_speed": port.current_speed,
        "max_speed": port.max_speed,
    }
