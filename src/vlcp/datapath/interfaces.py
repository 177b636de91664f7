"""From rows of OVSDB to facts of bridges: which interface with which `iface-id` is on which bridge, by which port.

Columns: see ovs-vswitchd.conf.db(5), tables Open_vSwitch, Bridge, Controller, Port and Interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vlcp.datapath.facts import Facts
from vlcp.derive.view import Unread
from vlcp.flow import facts as keys
from vlcp.flow.facts import Interface
from vlcp.wire.ovsdb import RowChange

MONITORED = {
    "Open_vSwitch": ["external_ids"],
    "Bridge": ["name", "datapath_id", "ports", "controller"],
    "Controller": ["target"],
    "Port": ["interfaces"],
    "Interface": ["name", "type", "ofport", "ifindex", "external_ids"],
}
"""Tables and columns that `Interfaces.apply` needs."""

Row = Mapping[str, Any]
Record = dict[str, Any]
Location = tuple[int, str]
"""Datapath id and iface-id."""


class Bridge(NamedTuple):
    """A bridge that runs. `controllers`: the targets it was told to connect to, such as `tcp:127.0.0.1:6653`."""

    datapath_id: int
    name: str
    controllers: frozenset[str]
    uuid: str


class _Ports(NamedTuple):
    """UUIDs of the interfaces of one bridge that have an OpenFlow port."""

    by_name: dict[str, str]
    by_number: dict[int, str]


class Interfaces:
    """Follows one OVSDB and keeps the facts of every attached bridge as the rows say."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in MONITORED}
        self._bridge_of: dict[str, str] = {}
        self._port_of: dict[str, str] = {}
        self._located: dict[str, tuple[Location, Interface]] = {}
        self._at: dict[Location, dict[str, Interface]] = {}
        self._attached: dict[int, Facts] = {}
        self._ports: dict[int, _Ports] = {}
        """Datapath id -> the ports, of bridges that were asked for since the last change."""

    def attach(self, datapath_id: int, facts: Facts) -> None:
        """Keep these facts up to date; what they said before of interfaces is replaced."""
        self._attached[datapath_id] = facts
        if datapath_id in self.datapaths():
            self._tell_all(datapath_id, facts)

    def detach(self, datapath_id: int) -> None:
        """The bridge's facts stay as they are from now on."""
        self._attached.pop(datapath_id, None)

    def datapaths(self) -> dict[int, str]:
        """Datapath id -> name of every bridge."""
        return {bridge.datapath_id: bridge.name for bridge in self.bridges()}

    def bridges(self) -> list[Bridge]:
        """Every bridge that has a datapath id."""
        targets = {uuid: row["target"] for uuid, row in self._rows["Controller"].items()}
        found = []
        for uuid, row in self._rows["Bridge"].items():
            number = _datapath_id(row)
            if number is not None:
                told = frozenset(targets[uuid] for uuid in _uuids(row, "controller") if uuid in targets)
                found.append(Bridge(number, row["name"], told, uuid))
        return found

    @property
    def system_id(self) -> str | None:
        """What the database calls its machine, `external_ids:system-id`."""
        rows = self._rows["Open_vSwitch"].values()
        return next((row["external_ids"].get("system-id") for row in rows), None)

    def bridge(self, datapath_id: int) -> Bridge | None:
        """The bridge with this datapath id."""
        return next((bridge for bridge in self.bridges() if bridge.datapath_id == datapath_id), None)

    def ports(self, datapath_id: int) -> list[Record]:
        """The interfaces of a bridge that have an OpenFlow port, by its number.

        A record has `name`, `ofport`, `_uuid`, `external_ids`, `ifindex` (None: none), `type`, and as `id` the
        `iface-id` or None.
        """
        return [self._record(uuid) for uuid in self._indexed(datapath_id).by_number.values()]

    def port_named(self, datapath_id: int, name: str) -> Record | None:
        """The port of a bridge with this name."""
        uuid = self._indexed(datapath_id).by_name.get(name)
        return None if uuid is None else self._record(uuid)

    def port_numbered(self, datapath_id: int, number: int) -> Record | None:
        """The port of a bridge with this number."""
        uuid = self._indexed(datapath_id).by_number.get(number)
        return None if uuid is None else self._record(uuid)

    def port_of(self, iface_id: str) -> tuple[int, Record] | None:
        """The datapath id and the record of a port that has an `iface-id`; of several the one that is used."""
        for datapath_id in self.datapaths():
            chosen = self._chosen((datapath_id, iface_id))
            if chosen is not None and chosen.ofport is not None:
                candidates = self._at[datapath_id, iface_id]
                return datapath_id, self._record(next(u for u, each in candidates.items() if each is chosen))
        return None

    def _indexed(self, datapath_id: int) -> _Ports:
        if datapath_id not in self._ports:
            ports = _Ports({}, {})
            for ofport, name, uuid in sorted(self._numbered(datapath_id)):
                ports.by_name[name] = ports.by_number[ofport] = uuid
            self._ports[datapath_id] = ports
        return self._ports[datapath_id]

    def _numbered(self, datapath_id: int) -> Iterator[tuple[int, str, str]]:
        bridge = self.bridge(datapath_id)
        for port in _uuids(self._rows["Bridge"][bridge.uuid] if bridge else None, "ports"):
            for uuid in _uuids(self._rows["Port"].get(port), "interfaces"):
                row = self._rows["Interface"].get(uuid)
                if row is not None and row["ofport"] and row["ofport"] > 0:
                    yield row["ofport"], row["name"], uuid

    def _record(self, uuid: str) -> Record:
        row = self._rows["Interface"][uuid]
        external_ids = dict(row["external_ids"])
        return {
            "name": row["name"],
            "ofport": row["ofport"],
            "_uuid": uuid,
            "external_ids": external_ids,
            "ifindex": row.get("ifindex"),
            "type": row.get("type", ""),
            "id": external_ids.get("iface-id"),
        }

    def apply(self, changes: Iterable[RowChange]) -> None:
        """Take changes of rows, in their order."""
        self._ports.clear()
        touched: set[str] = set()
        for change in changes:
            touched |= self._apply(change)
        known = [number for number, facts in self._attached.items() if number in self.datapaths()]
        for number in known:
            self._attached[number].know(keys.INTERFACES)
        for uuid in touched:
            self._locate(uuid)

    def _apply(self, change: RowChange) -> set[str]:
        """Put one change into the tables; the interfaces that it may concern."""
        table, uuid = change.table, str(change.uuid)
        rows = self._rows[table]
        before, now = rows.pop(uuid, None), change.new
        if now is not None:
            rows[uuid] = now
        if table == "Interface":
            return {uuid}
        if table in ("Controller", "Open_vSwitch"):
            return set()
        if table == "Port":
            return _reassign(self._port_of, uuid, _uuids(before, "interfaces"), _uuids(now, "interfaces"))
        ports, ports_before = _uuids(now, "ports"), _uuids(before, "ports")
        moved = _reassign(self._bridge_of, uuid, ports_before, ports)
        if before is None or now is None or _datapath_id(before) != _datapath_id(now):
            moved = set(ports | ports_before)
        return {
            interface for port in moved for interface in _uuids(self._rows["Port"].get(port), "interfaces")
        }

    def _locate(self, uuid: str) -> None:
        before, now = self._located.get(uuid), self._location(uuid)
        if before == now:
            return
        if before is not None:
            del self._located[uuid]
            self._at[before[0]].pop(uuid, None)
            self._tell(before[0])
        if now is not None:
            self._located[uuid] = now
            self._at.setdefault(now[0], {})[uuid] = now[1]
            self._tell(now[0])

    def _location(self, uuid: str) -> tuple[Location, Interface] | None:
        row = self._rows["Interface"].get(uuid)
        iface_id = row["external_ids"].get("iface-id") if row else None
        bridge = self._rows["Bridge"].get(self._bridge_of.get(self._port_of.get(uuid, ""), ""))
        datapath_id = _datapath_id(bridge) if bridge else None
        if row is None or not iface_id or datapath_id is None:
            return None
        ofport = row["ofport"]
        return (datapath_id, iface_id), Interface(row["name"], ofport if ofport and ofport > 0 else None)

    def _tell(self, location: Location) -> None:
        datapath_id, iface_id = location
        interface = self._chosen(location)
        facts = self._attached.get(datapath_id)
        if facts is None:
            return
        before: Interface | None = facts.get(keys.interface(iface_id))
        if before is not None and before.ofport is not None:
            self._forget_port(facts, before.ofport, iface_id)
        facts.set(keys.interface(iface_id), interface)
        if interface is None:
            facts.leave(keys.INTERFACES, iface_id)
            return
        if before is None:
            facts.join(keys.INTERFACES, iface_id)
        if interface.ofport is not None:
            facts.set(keys.iface_id_at(interface.ofport), iface_id)

    def _tell_all(self, datapath_id: int, facts: Facts) -> None:
        facts.know(keys.INTERFACES)
        told = facts.members(keys.INTERFACES)
        assert not isinstance(told, Unread)
        here = {iface_id for number, iface_id in self._at if number == datapath_id}
        for iface_id in here.union(told):
            self._tell((datapath_id, iface_id))

    @staticmethod
    def _forget_port(facts: Facts, ofport: int, iface_id: str) -> None:
        """The interface is not at this port any more; another one may be there already."""
        if facts.get(keys.iface_id_at(ofport)) == iface_id:
            facts.set(keys.iface_id_at(ofport), None)

    def _chosen(self, location: Location) -> Interface | None:
        """Of several interfaces with one iface-id the one with the lowest port; the others are not used."""
        candidates = self._at.get(location)
        if not candidates:
            self._at.pop(location, None)
            return None
        return min(
            candidates.values(), key=lambda found: (found.ofport is None, found.ofport or 0, found.name)
        )


def _reassign(owner_of: dict[str, str], owner: str, before: frozenset[str], now: frozenset[str]) -> set[str]:
    """Members of an owner's set changed; the ones that came or went."""
    for member in before - now:
        if owner_of.get(member) == owner:
            del owner_of[member]
    for member in now - before:
        owner_of[member] = owner
    return set(before ^ now)


def _uuids(row: Row | None, column: str) -> frozenset[str]:
    return frozenset(map(str, row[column])) if row else frozenset()


def _datapath_id(row: Row) -> int | None:
    text = row["datapath_id"]
    return int(text, 16) if text else None
