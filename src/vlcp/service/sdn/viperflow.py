"""The API of the network: physical networks and ports, logical networks, subnets and logical ports."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from vlcp.model import params, patches, queries
from vlcp.model.changes.logicalnetworks import (
    create_logical_networks,
    delete_logical_networks,
    update_logical_networks,
)
from vlcp.model.changes.logicalports import create_logical_ports, delete_logical_ports, update_logical_ports
from vlcp.model.changes.physicalnetworks import (
    create_physical_networks,
    delete_physical_networks,
    update_physical_networks,
)
from vlcp.model.changes.physicalports import (
    create_physical_ports,
    delete_physical_ports,
    update_physical_ports,
)
from vlcp.model.changes.subnets import create_subnets, delete_subnets, update_subnets
from vlcp.model.params import Item
from vlcp.server.module import api, depend
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.sdn.networkcalls import Answer, Dictionaries, NetworkCalls, completed, single, with_ids


@depend(ObjectDB)
class ViperFlow(NetworkCalls):
    """Standard network model for L2 SDN.

    Every call is one transaction: all of it happens or nothing does. Attributes that are not known here are kept and
    given back as they are. Errors have status 400 for what is malformed, 404 for what does not exist, 409 for what
    contradicts the present state.
    """

    owns = (
        "vlcp.service.sdn.networkcalls",
        *(
            f"vlcp.model.{name}"
            for name in """answers params patches queries changes.logicalnetworks changes.logicalports
            changes.outcome changes.physicalnetworks changes.physicalports changes.subnets""".split()
        ),
    )

    async def take_over(self, old: ViperFlow) -> None:
        """Everything is in the store; the calls under way end in the old code."""

    # Physical networks

    @api
    async def createphysicalnetwork(self, type: str = "vlan", id: str | None = None, **kwargs: Any) -> Answer:
        """Create a physical network; `type` is one whose driver is loaded. Without `id` it gets a UUID."""
        [answer] = await self._create_physical_networks([single(type=type, id=id, **kwargs)])
        return answer

    @api
    async def createphysicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Create several physical networks: dictionaries of the parameters of createphysicalnetwork."""
        return await self._create_physical_networks(params.batch("networks", networks))

    async def _create_physical_networks(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.physical_networks(with_ids(items), self.kinds, self.transactor.now())
        return await self.write(create_physical_networks, placed)

    @api
    async def updatephysicalnetwork(self, id: str, **kwargs: Any) -> Answer:
        """Change attributes of a physical network; None takes one away. Its type stays."""
        return await self.write_one(
            update_physical_networks,
            self.with_kinds(patches.physical_networks([single(id=id, **kwargs)])),
        )

    @api
    async def updatephysicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Change several physical networks: dictionaries of the parameters of updatephysicalnetwork."""
        return await self.write(
            update_physical_networks,
            self.with_kinds(patches.physical_networks(params.batch("networks", networks))),
        )

    @api
    async def deletephysicalnetwork(self, id: str) -> Answer:
        """Delete a physical network that has no logical networks and no physical ports."""
        return await self.delete(delete_physical_networks, params.ids([single(id=id)]))

    @api
    async def deletephysicalnetworks(self, networks: Dictionaries) -> Answer:
        """Delete several physical networks: dictionaries with the `id` of each."""
        return await self.delete(delete_physical_networks, params.ids(params.batch("networks", networks)))

    @api
    async def listphysicalnetworks(self, id: str | None = None, **kwargs: Any) -> list[Answer]:
        """The physical networks that match `id` and all further attributes; None: the attribute is absent."""
        query = params.query(params.PHYSICAL_NETWORK, None, {"id": id, **kwargs})
        return await self.find(queries.list_physical_networks, query)

    # Physical ports

    @api
    async def createphysicalport(
        self,
        physicalnetwork: str,
        name: str,
        vhost: str = "",
        systemid: str = "%",
        bridge: str = "%",
        **kwargs: Any,
    ) -> Answer:
        """Connect ports of switches to a physical network: those with this name, on every host and bridge by default.

        `vhost`: of the OpenFlow connection. `systemid`: of the switch's database, `%` for any. `bridge`: a bridge's
        name, `%` for any.
        """
        item = single(
            physicalnetwork=physicalnetwork,
            name=name,
            vhost=vhost,
            systemid=systemid,
            bridge=bridge,
            **kwargs,
        )
        [answer] = await self._create_physical_ports([item])
        return answer

    @api
    async def createphysicalports(self, ports: Dictionaries) -> list[Answer]:
        """Create several physical ports: dictionaries of the parameters of createphysicalport."""
        return await self._create_physical_ports(params.batch("ports", ports))

    async def _create_physical_ports(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.physical_ports(items, self.transactor.now())
        return await self.write(create_physical_ports, self.with_kinds(placed))

    @api
    async def updatephysicalport(
        self, name: str, vhost: str = "", systemid: str = "%", bridge: str = "%", **kwargs: Any
    ) -> Answer:
        """Change attributes of a physical port; None takes one away. Its physical network stays."""
        item = single(name=name, vhost=vhost, systemid=systemid, bridge=bridge, **kwargs)
        return await self.write_one(update_physical_ports, self.with_kinds(patches.physical_ports([item])))

    @api
    async def updatephysicalports(self, ports: Dictionaries) -> list[Answer]:
        """Change several physical ports: dictionaries of the parameters of updatephysicalport."""
        return await self.write(
            update_physical_ports, self.with_kinds(patches.physical_ports(params.batch("ports", ports)))
        )

    @api
    async def deletephysicalport(
        self, name: str, vhost: str = "", systemid: str = "%", bridge: str = "%"
    ) -> Answer:
        """Delete a physical port."""
        item = single(name=name, vhost=vhost, systemid=systemid, bridge=bridge)
        return await self.delete(delete_physical_ports, params.port_names([item]))

    @api
    async def deletephysicalports(self, ports: Dictionaries) -> Answer:
        """Delete several physical ports: dictionaries of the parameters of deletephysicalport."""
        return await self.delete(delete_physical_ports, params.port_names(params.batch("ports", ports)))

    @api
    async def listphysicalports(
        self,
        name: str | None = None,
        physicalnetwork: str | None = None,
        vhost: str = "",
        systemid: str = "%",
        bridge: str = "%",
        **kwargs: Any,
    ) -> list[Answer]:
        """The physical ports that match all attributes.

        With `name` it is the one that createphysicalport made from the same `name`, `vhost`, `systemid` and `bridge`;
        without it these three count when they are not left at their defaults.
        """
        given = {"name": name, "vhost": vhost, "systemid": systemid, "bridge": bridge, **kwargs}
        query = params.port_query({"physicalnetwork": physicalnetwork, **given})
        return await self.find(queries.list_physical_ports, query)

    # Logical networks

    @api
    async def createlogicalnetwork(
        self, physicalnetwork: str, id: str | None = None, **kwargs: Any
    ) -> Answer:
        """Create a logical network on a physical network. Without `id` it gets a UUID.

        DHCP attributes for its machines: mtu, dns_nameservers, domain_name, ntp_servers, lease_time (seconds or
        `infinite`), extra_dhcp_options ([[code or OPTION_name, value], ...]).
        """
        item = single(physicalnetwork=physicalnetwork, id=id, **kwargs)
        [answer] = await self._create_logical_networks([item])
        return answer

    @api
    async def createlogicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Create several logical networks: dictionaries of the parameters of createlogicalnetwork."""
        return await self._create_logical_networks(params.batch("networks", networks))

    async def _create_logical_networks(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.logical_networks(with_ids(items), self.transactor.now())
        return await self.write(create_logical_networks, self.with_kinds(placed))

    @api
    async def updatelogicalnetwork(self, id: str, **kwargs: Any) -> Answer:
        """Change attributes of a logical network; None takes one away. Its physical network stays."""
        return await self.write_one(
            update_logical_networks,
            self.with_kinds(patches.logical_networks([single(id=id, **kwargs)])),
        )

    @api
    async def updatelogicalnetworks(self, networks: Dictionaries) -> list[Answer]:
        """Change several logical networks: dictionaries of the parameters of updatelogicalnetwork."""
        return await self.write(
            update_logical_networks,
            self.with_kinds(patches.logical_networks(params.batch("networks", networks))),
        )

    @api
    async def deletelogicalnetwork(self, id: str) -> Answer:
        """Delete a logical network that has no subnets and no logical ports."""
        return await self.delete(delete_logical_networks, params.ids([single(id=id)]))

    @api
    async def deletelogicalnetworks(self, networks: Dictionaries) -> Answer:
        """Delete several logical networks: dictionaries with the `id` of each."""
        return await self.delete(delete_logical_networks, params.ids(params.batch("networks", networks)))

    @api
    async def listlogicalnetworks(
        self, id: str | None = None, physicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The logical networks that match `id`, `physicalnetwork` and all further attributes."""
        given = {"id": id, "physicalnetwork": physicalnetwork, **kwargs}
        query = params.query(params.LOGICAL_NETWORK, "physicalnetwork", given)
        return await self.find(queries.list_logical_networks, query)

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
            [single(logicalnetwork=logicalnetwork, cidr=cidr, id=id, **kwargs)]
        )
        return answer

    @api
    async def createsubnets(self, subnets: Dictionaries) -> list[Answer]:
        """Create several subnets: dictionaries of the parameters of createsubnet."""
        return await self._create_subnets(params.batch("subnets", subnets))

    async def _create_subnets(self, items: Sequence[Item]) -> list[Answer]:
        placed = params.subnets(with_ids(items), self.transactor.now())
        return await self.write(create_subnets, placed)

    @api
    async def updatesubnet(self, id: str, **kwargs: Any) -> Answer:
        """Change attributes of a subnet; None takes one away. Addresses that ports have must remain possible."""
        return await self.write_one(update_subnets, patches.subnets([single(id=id, **kwargs)]))

    @api
    async def updatesubnets(self, subnets: Dictionaries) -> list[Answer]:
        """Change several subnets: dictionaries of the parameters of updatesubnet."""
        return await self.write(update_subnets, patches.subnets(params.batch("subnets", subnets)))

    @api
    async def deletesubnet(self, id: str) -> Answer:
        """Delete a subnet of which no address is taken."""
        return await self.delete(delete_subnets, params.ids([single(id=id)]))

    @api
    async def deletesubnets(self, subnets: Dictionaries) -> Answer:
        """Delete several subnets: dictionaries with the `id` of each."""
        return await self.delete(delete_subnets, params.ids(params.batch("subnets", subnets)))

    @api
    async def listsubnets(
        self, id: str | None = None, logicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The subnets that match `id`, `logicalnetwork` and all further attributes."""
        given = {"id": id, "logicalnetwork": logicalnetwork, **kwargs}
        query = params.query(params.SUBNET, "logicalnetwork", given)
        return await self.find(queries.list_subnets, query)

    # Logical ports

    @api
    async def createlogicalport(
        self, logicalnetwork: str, id: str | None = None, subnet: str | None = None, **kwargs: Any
    ) -> Answer:
        """Create a logical port: the place of one machine, whose interface has the port's id as its `iface-id`.

        Without `id` it gets a UUID. Further parameters: mac_address (default: a random one), ip_address (default: the
        lowest free one of the subnet), hostname, and the DHCP attributes of createlogicalnetwork for this machine.
        """
        item = single(logicalnetwork=logicalnetwork, id=id, subnet=subnet, **kwargs)
        [answer] = await self._create_logical_ports([item])
        return answer

    @api
    async def createlogicalports(self, ports: Dictionaries) -> list[Answer]:
        """Create several logical ports: dictionaries of the parameters of createlogicalport."""
        return await self._create_logical_ports(params.batch("ports", ports))

    async def _create_logical_ports(self, items: Sequence[Item]) -> list[Answer]:
        complete = _with_mac_addresses(with_ids(items))
        placed = params.logical_ports(complete, self.transactor.now())
        return await self.write(create_logical_ports, placed)

    @api
    async def updatelogicalport(self, id: str, **kwargs: Any) -> Answer:
        """Change attributes of a logical port, its addresses too; None takes one away. Its network and subnet stay."""
        return await self.write_one(update_logical_ports, patches.logical_ports([single(id=id, **kwargs)]))

    @api
    async def updatelogicalports(self, ports: Dictionaries) -> list[Answer]:
        """Change several logical ports: dictionaries as for updatelogicalport. Ports may swap their addresses."""
        return await self.write(update_logical_ports, patches.logical_ports(params.batch("ports", ports)))

    @api
    async def deletelogicalport(self, id: str) -> Answer:
        """Delete a logical port and free its addresses."""
        return await self.delete(delete_logical_ports, params.ids([single(id=id)]))

    @api
    async def deletelogicalports(self, ports: Dictionaries) -> Answer:
        """Delete several logical ports: dictionaries with the `id` of each."""
        return await self.delete(delete_logical_ports, params.ids(params.batch("ports", ports)))

    @api
    async def listlogicalports(
        self, id: str | None = None, logicalnetwork: str | None = None, **kwargs: Any
    ) -> list[Answer]:
        """The logical ports that match `id`, `logicalnetwork` and all further attributes."""
        given = {"id": id, "logicalnetwork": logicalnetwork, **kwargs}
        query = params.query(params.LOGICAL_PORT, "logicalnetwork", given)
        return await self.find(queries.list_logical_ports, query)


def _with_mac_addresses(items: Sequence[Item]) -> list[Item]:
    """Each port with a MAC address: a random one that is locally administered (IEEE 802, section 8.4)."""
    return [
        item
        if item.value.get("mac_address") is not None
        else completed(item, "mac_address", (b"\x02" + secrets.token_bytes(5)).hex(":"))
        for item in items
    ]
