"""API calls on the network, from what a user gives to what a user gets, over any store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Protocol

from unit.model.dictstore import DictStore
from unit.model.wired import WiredKind
from vlcp.model import answers, params, patches, queries
from vlcp.model.changes.logicalnetworks import (
    create_logical_networks,
    delete_logical_networks,
    update_logical_networks,
)
from vlcp.model.changes.logicalports import create_logical_ports, delete_logical_ports, update_logical_ports
from vlcp.model.changes.outcome import WithKinds
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
from vlcp.model.kinds.local import LocalKind

KINDS = {"local": LocalKind(), "wired": WiredKind()}
NOW = 1_700_000_000_000_000

Dictionaries = Sequence[Mapping[str, Any]]


class Store(Protocol):
    """What runs changes: a `DictStore`, or the store's own transactor."""

    async def run(self, change: Any, params: Any) -> Any: ...


class Calls:
    """Creates, changes, lists and deletes. Ids and MAC addresses that are left out are counted up."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or DictStore()
        self._numbers = count(1)

    def _items(self, name: str, given: Dictionaries, *, mac: bool = False) -> list[params.Item]:
        items = _batch(name, given)
        for item in items:
            number = next(self._numbers)
            item.value.setdefault("id", f"id-{number}")
            if mac:
                item.value.setdefault("mac_address", (0x020000000000 | number).to_bytes(6).hex(":"))
        return items

    async def _write(self, change: Any, request: Any) -> list[dict[str, Any]]:
        result = await self.store.run(change, request)
        return answers.written(result.answer, result.version)

    async def _delete(self, change: Any, name: str, ids: Sequence[str]) -> None:
        await self.store.run(change, params.ids(params.batch(name, [{"id": each} for each in ids])))

    async def physical(self, *networks: Mapping[str, Any]) -> list[dict[str, Any]]:
        items = self._items("networks", networks)
        return await self._write(create_physical_networks, params.physical_networks(items, KINDS, NOW))

    async def logical(self, *networks: Mapping[str, Any]) -> list[dict[str, Any]]:
        placed = params.logical_networks(self._items("networks", networks), NOW)
        return await self._write(create_logical_networks, WithKinds(placed, KINDS))

    async def subnets(self, *subnets: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._write(create_subnets, params.subnets(self._items("subnets", subnets), NOW))

    async def ports(self, *ports: Mapping[str, Any]) -> list[dict[str, Any]]:
        items = self._items("ports", ports, mac=True)
        return await self._write(create_logical_ports, params.logical_ports(items, NOW))

    async def physical_ports(self, *ports: Mapping[str, Any]) -> list[dict[str, Any]]:
        placed = params.physical_ports(_batch("ports", ports), NOW)
        return await self._write(create_physical_ports, WithKinds(placed, KINDS))

    async def update_physical(self, *networks: Mapping[str, Any]) -> list[dict[str, Any]]:
        placed = patches.physical_networks(_batch("networks", networks))
        return await self._write(update_physical_networks, WithKinds(placed, KINDS))

    async def update_physical_ports(self, *ports: Mapping[str, Any]) -> list[dict[str, Any]]:
        placed = patches.physical_ports(_batch("ports", ports))
        return await self._write(update_physical_ports, WithKinds(placed, KINDS))

    async def update_logical(self, *networks: Mapping[str, Any]) -> list[dict[str, Any]]:
        placed = patches.logical_networks(_batch("networks", networks))
        return await self._write(update_logical_networks, WithKinds(placed, KINDS))

    async def update_subnets(self, *subnets: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._write(update_subnets, patches.subnets(_batch("subnets", subnets)))

    async def update_ports(self, *ports: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._write(update_logical_ports, patches.logical_ports(_batch("ports", ports)))

    async def delete_physical_ports(self, *ports: Mapping[str, Any]) -> None:
        await self.store.run(delete_physical_ports, params.port_names(_batch("ports", ports)))

    async def delete_physical(self, *ids: str) -> None:
        await self._delete(delete_physical_networks, "networks", ids)

    async def delete_logical(self, *ids: str) -> None:
        await self._delete(delete_logical_networks, "networks", ids)

    async def delete_subnets(self, *ids: str) -> None:
        await self._delete(delete_subnets, "subnets", ids)

    async def delete_ports(self, *ids: str) -> None:
        await self._delete(delete_logical_ports, "ports", ids)

    async def list_physical(self, **given: Any) -> list[dict[str, Any]]:
        query = params.query(params.PHYSICAL_NETWORK, None, given)
        return (await self.store.run(queries.list_physical_networks, query)).answer

    async def list_physical_ports(self, **given: Any) -> list[dict[str, Any]]:
        """With the defaults that the API has."""
        query = params.port_query({"name": None, "vhost": "", "systemid": "%", "bridge": "%", **given})
        return (await self.store.run(queries.list_physical_ports, query)).answer

    async def list_logical(self, **given: Any) -> list[dict[str, Any]]:
        query = params.query(params.LOGICAL_NETWORK, "physicalnetwork", given)
        return (await self.store.run(queries.list_logical_networks, query)).answer

    async def list_subnets(self, **given: Any) -> list[dict[str, Any]]:
        query = params.query(params.SUBNET, "logicalnetwork", given)
        return (await self.store.run(queries.list_subnets, query)).answer

    async def list_ports(self, **given: Any) -> list[dict[str, Any]]:
        query = params.query(params.LOGICAL_PORT, "logicalnetwork", given)
        return (await self.store.run(queries.list_logical_ports, query)).answer

    async def small_network(self, **subnet: Any) -> None:
        """Physical network p, logical network n, and subnet s: 10.0.0.0/24 unless told otherwise."""
        await self.physical({"id": "p", "type": "local"})
        await self.logical({"id": "n", "physicalnetwork": "p"})
        await self.subnets({"id": "s", "logicalnetwork": "n", "cidr": "10.0.0.0/24", **subnet})


def _batch(name: str, given: Dictionaries) -> list[params.Item]:
    return params.batch(name, [dict(each) for each in given])
