"""The API of the network: physical and logical networks, subnets and logical ports."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vlcp.model import answers, params, queries
from vlcp.model.changes.logicalnetworks import (
    NewLogicalNetworks,
    create_logical_networks,
    delete_logical_networks,
)
from vlcp.model.changes.logicalports import create_logical_ports, delete_logical_ports
from vlcp.model.changes.outcome import ChangeView, Outcome
from vlcp.model.changes.physicalnetworks import create_physical_networks, delete_physical_networks
from vlcp.model.changes.subnets import create_subnets, delete_subnets
from vlcp.model.kinds import Kinds
from vlcp.model.params import Item, Placed, Query
from vlcp.server.module import Module, api, depend
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.sdn.networkdriver import NetworkDriver
from vlcp.store.transaction import Transactor

P = TypeVar("P")

Answer = dict[str, Any]
Dictionaries = list[dict[str, Any]]


@depend(ObjectDB)
class ViperFlow(Module):
    """Standard network model for L2 SDN.

    Every call is one transaction: all of it happens or nothing does. Attributes that are not known here are kept and
    given back as they are. Errors have status 400 for what is malformed, 404 for what does not exist, 409 for what
    contradicts the present state.
    """

    owns = tuple(
        f"vlcp.model.{name}"
        for name in """answers params queries changes.logicalnetworks changes.logicalports changes.outcome
        changes.physicalnetworks changes.subnets""".split()
    )

    async def take_over(self, old: ViperFlow) -> None:
        """Everything is in the store; the calls under way end in the old code."""

    @property
    def _transactor(self) -> Transactor:
        return self.dependency(ObjectDB).transactor

    @property
    def kinds(self) -> Kinds:
        """The kinds of physical networks whose drivers are loaded."""
        drivers = [module for module in self.server.modules.values() if isinstance(module, NetworkDriver)]
        return {driver.kind.name: driver.kind for driver in drivers}

    async def _create(self, change: Callable[[ChangeView, P], Outcome], request: P) -> list[Answer]:
        result = await self._transactor.run(change, request)
        return answers.created(result.answer, result.version)

    async def _delete(
        self, change: Callable[[ChangeView, Sequence[Placed[str]]], Outcome], items: Sequence[Item]
    ) -> Answer:
        await self._transactor.run(change, params.ids(items))
        return dict(answers.DONE)

    async def _list(self, find: Callable[[ChangeView, Query], Outcome], query: Query) -> list[Answer]:
        answer: list[Answer] = (await self._transactor.run(find, query)).answer
        return answer

    # Physical networks

    @api
    async def createphysicalnetwork(self, type: str = "vlan", id: str | None = None, **kwargs: Any) -> Answer:
        """Create a physical network; `type` is one whose driver is loaded. Without `id` it gets a UUID."""
        [answer] = await self._create_physical_networks([_single(type=type, id=id, **kwargs)])
        return answer

    @api
    async def createphysicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Create several physical networks: dictionaries of the parameters of createphysicalnetwork."""
        return await self._create_physical_networks(params.batch("networks", networks))

    async def _create_physical_networks(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.physical_networks(_with_ids(items), self.kinds, self._transactor.now())
        return await self._create(create_physical_networks, placed)

    @api
    async def deletephysicalnetwork(self, id: str) -> Answer:
        """Delete a physical network that has no logical networks and no physical ports."""
        return await self._delete(delete_physical_networks, [_single(id=id)])

    @api
    async def deletephysicalnetworks(self, networks: Dictionaries) -> Answer:
        """Delete several physical networks: dictionaries with the `id` of each."""
        return await self._delete(delete_physical_networks, params.batch("networks", networks))

    @api
    async def listphysicalnetworks(self, id: str | None = None, **kwargs: Any) -> list[Answer]:
        """The physical networks that match `id` and all further attributes; None: the attribute is absent."""
        query = params.query(params.PHYSICAL_NETWORK, None, {"id": id, **kwargs})
        return await self._list(queries.list_physical_networks, query)

    # Logical networks

    @api
    async def createlogicalnetwork(
        self, physicalnetwork: str, id: str | None = None, **kwargs: Any
    ) -> Answer:
        """Create a logical network on a physical network. Without `id` it gets a UUID.

        DHCP attributes for its machines: mtu, dns_nameservers, domain_name, ntp_servers, lease_time (seconds or
        `infinite`), extra_dhcp_options ([[code or OPTION_name, value], ...]).
        """
        item = _single(physicalnetwork=physicalnetwork, id=id, **kwargs)
        [answer] = await self._create_logical_networks([item])
        return answer

    @api
    async def createlogicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Create several logical networks: dictionaries of the parameters of createlogicalnetwork."""
        return await self._create_logical_networks(params.batch("networks", networks))

    async def _create_logical_networks(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.logical_networks(_with_ids(items), self._transactor.now())
        return await self._create(create_logical_networks, NewLogicalNetworks(placed, self.kinds))

    @api
    async def deletelogicalnetwork(self, id: str) -> Answer:
        """Delete a logical network that has no subnets and no logical ports."""
        return await self._delete(delete_logical_networks, [_single(id=id)])

    @api
    async def deletelogicalnetworks(self, networks: Dictionaries) -> Answer:
        """Delete several logical networks: dictionaries with the `id` of each."""
        return await self._delete(delete_logical_networks, params.batch("networks", networks))

    @api
    async def listlogicalnetworks(
        self, id: str | None = None, physicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The logical networks that match `id`, `physicalnetwork` and all further attributes."""
        given = {"id": id, "physicalnetwork": physicalnetwork, **kwargs}
        query = params.query(params.LOGICAL_NETWORK, "physicalnetwork", given)
        return await self._list(queries.list_logical_networks, query)

    # Subnets

    @api
    async def createsubnet(
        self, logicalnetwork: str, cidr: str, id: str | None = None, **kwargs: Any
    ) -> Answer:
        """Create a subnet of a logical network. Without `id` it gets a UUID.

        Further parameters: gateway, allocated_start and allocated_end (the addresses that ports get, by default all of
        the prefix), host_routes ([[destination CIDR, next hop], ...]), isexternal, pre_host_config, dhcp_enabled,
        dhcp_server, and the DHCP attributes of createlogicalnetwork, which go before those of the network.
        """
        [answer] = await self._create_subnets(
            [_single(logicalnetwork=logicalnetwork, cidr=cidr, id=id, **kwargs)]
        )
        return answer

    @api
    async def createsubnets(self, subnets: Dictionaries) -> list[Answer]:
        """Create several subnets: dictionaries of the parameters of createsubnet."""
        return await self._create_subnets(params.batch("subnets", subnets))

    async def _create_subnets(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.subnets(_with_ids(items), self._transactor.now())
        return await self._create(create_subnets, placed)

    @api
    async def deletesubnet(self, id: str) -> Answer:
        """Delete a subnet of which no address is taken."""
        return await self._delete(delete_subnets, [_single(id=id)])

    @api
    async def deletesubnets(self, subnets: Dictionaries) -> Answer:
        """Delete several subnets: dictionaries with the `id` of each."""
        return await self._delete(delete_subnets, params.batch("subnets", subnets))

    @api
    async def listsubnets(
        self, id: str | None = None, logicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The subnets that match `id`, `logicalnetwork` and all further attributes."""
        given = {"id": id, "logicalnetwork": logicalnetwork, **kwargs}
        query = params.query(params.SUBNET, "logicalnetwork", given)
        return await self._list(queries.list_subnets, query)

    # Logical ports

    @api
    async def createlogicalport(
        self, logicalnetwork: str, id: str | None = None, subnet: str | None = None, **kwargs: Any
    ) -> Answer:
        """Create a logical port: the place of one machine, whose interface has the port's id as its `iface-id`.

        Without `id` it gets a UUID. Further parameters: mac_address (default: a random one), ip_address (default: the
        lowest free one of the subnet), hostname, and the DHCP attributes of createlogicalnetwork for this machine.
        """
        item = _single(logicalnetwork=logicalnetwork, id=id, subnet=subnet, **kwargs)
        [answer] = await self._create_logical_ports([item])
        return answer

    @api
    async def createlogicalports(self, ports: Dictionaries) -> list[Answer]:
        """Create several logical ports: dictionaries of the parameters of createlogicalport."""
        return await self._create_logical_ports(params.batch("ports", ports))

    async def _create_logical_ports(self, items: Sequence[Item]) -> list[Answer]:
        complete = _with_mac_addresses(_with_ids(items))
        placed = params.logical_ports(complete, self._transactor.now())
        return await self._create(create_logical_ports, placed)

    @api
    async def deletelogicalport(self, id: str) -> Answer:
        """Delete a logical port and free its addresses."""
        return await self._delete(delete_logical_ports, [_single(id=id)])

    @api
    async def deletelogicalports(self, ports: Dictionaries) -> Answer:
        """Delete several logical ports: dictionaries with the `id` of each."""
        return await self._delete(delete_logical_ports, params.batch("ports", ports))

    @api
    async def listlogicalports(
        self, id: str | None = None, logicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The logical ports that match `id`, `logicalnetwork` and all further attributes."""
        given = {"id": id, "logicalnetwork": logicalnetwork, **kwargs}
        query = params.query(params.LOGICAL_PORT, "logicalnetwork", given)
        return await self._list(queries.list_logical_ports, query)


def _single(**values: Any) -> Item:
    """The object of a call for one."""
    return Placed("", values)


def _with_ids(items: Sequence[Item]) -> list[Item]:
    """Each object with an id of its own; now, so that a change that runs again gives the same one."""
    return [
        item if item.value.get("id") is not None else _with(item, "id", str(uuid.uuid4())) for item in items
    ]


def _with_mac_addresses(items: Sequence[Item]) -> list[Item]:
    """Each port with a MAC address: a random one that is locally administered (IEEE 802, section 8.4)."""
    return [
        item
        if item.value.get("mac_address") is not None
        else _with(item, "mac_address", (b"\x02" + secrets.token_bytes(5)).hex(":"))
        for item in items
    ]


def _with(item: Item, name: str, value: str) -> Item:
    return Placed(item.place, {**item.value, name: value})
