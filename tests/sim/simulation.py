"""A controller's data plane with everything around it: a store in memory, rows of OVSDB, a fake switch on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any

from sim.fakeswitch import FakeSwitch
from vlcp.datapath.facts import SwitchSource
from vlcp.datapath.interfaces import MONITORED, Interfaces
from vlcp.datapath.switch import Switch
from vlcp.datapath.tables import Desired
from vlcp.derive.plain import recompute
from vlcp.flow.features import arpresponder, dhcpserver, ioprocessing, l2switch
from vlcp.flow.leases import Settings
from vlcp.flow.rules import Feature
from vlcp.link.address import Address, Listener
from vlcp.link.openflow import OpenFlowConnection, serve
from vlcp.model import codec, keys
from vlcp.model.objects import LogicalNetwork, LogicalPort, NetworkPort, Stored, Subnet
from vlcp.store.contract import StoreUnavailableError
from vlcp.store.memory import MemoryBackend
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Outcome, Transactor
from vlcp.wire.openflow import PortDescRequest, port_entries
from vlcp.wire.ovsdb import RowChange, Uuid

FEATURES: dict[Feature, Any] = {
    ioprocessing.FEATURE: None,
    l2switch.FEATURE: None,
    arpresponder.FEATURE: None,
    dhcpserver.FEATURE: Settings(),
}
"""Every feature with its settings."""

DATAPATH = 1


class Database:
    """The rows of OVSDB that say what is plugged into one bridge. Each change is the list that a monitor tells."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._ports: set[str] = set()
        self.put("Bridge", "br0", self._bridge())

    def _bridge(self) -> dict[str, Any]:
        empty: dict[str, Any] = dict.fromkeys(MONITORED["Bridge"], frozenset())
        return {**empty, "name": "br0", "datapath_id": f"{DATAPATH:016x}", "ports": frozenset(self._ports)}

    def put(self, table: str, uuid: str, row: dict[str, Any] | None) -> RowChange:
        """Put a row in the place of another; None: no row."""
        old = self._rows.pop((table, uuid), None)
        if row is not None:
            self._rows[table, uuid] = row
        return RowChange(table, Uuid(uuid), old, row)

    def everything(self) -> list[RowChange]:
        """What a new monitor is told at first."""
        return [RowChange(table, Uuid(uuid), None, row) for (table, uuid), row in self._rows.items()]

    def plug(self, name: str, iface_id: str, ofport: int | None) -> list[RowChange]:
        """An interface is on the bridge, or has another iface-id or port than before."""
        row = {"name": name, "ofport": ofport, "external_ids": {"iface-id": iface_id}}
        changes = [self.put("Interface", name, row)]
        if name not in self._ports:
            self._ports.add(name)
            changes.append(self.put("Port", name, {"interfaces": frozenset([name])}))
            changes.append(self.put("Bridge", "br0", self._bridge()))
        return changes

    def unplug(self, name: str) -> list[RowChange]:
        """An interface is gone."""
        self._ports.discard(name)
        return [
            self.put("Bridge", "br0", self._bridge()),
            self.put("Port", name, None),
            self.put("Interface", name, None),
        ]


class Simulation:
    """One `Switch` over a real mirror and transactor; the fake switch dials it. `start` and `stop` may alternate."""

    def __init__(self, path: str, features: Iterable[Feature] = FEATURES) -> None:
        self.path = path
        self.backend = MemoryBackend()
        self.database = Database()
        self.fake = FakeSwitch(path, DATAPATH)
        self.features = list(features)
        self.missing = set[int]()
        """Numbers of features whose modules could not be loaded."""
        self.connections: list[OpenFlowConnection] = []
        self._sessions: set[asyncio.Task[None]] = set()
        self._marks = count()

    # The life of the controller.

    async def start(self, *, ovsdb: bool = True, store: bool = True) -> None:
        """Start the controller. `ovsdb`: it knows the database; `store`: the store can be reached."""
        await (self.backend.open() if store else self.backend.close())
        self.mirror = Mirror(self.backend, codec.decode)
        self.transactor = Transactor(self.backend, self.mirror, codec.encode)
        await self.mirror.start()
        self.switch = Switch(DATAPATH, self.mirror.reader)
        for feature in self.features:
            self.switch.add_feature(feature, FEATURES.get(feature))
        self.interfaces = Interfaces()
        self.interfaces.attach(DATAPATH, self.switch.facts)
        if ovsdb:
            self.follow_ovsdb()
        self.switch.release(self.missing)
        self.run = asyncio.create_task(self.switch.run(), name="switch")
        self.listener: Listener = await serve(Address("punix", path=self.path), self._accept)

    def follow_ovsdb(self) -> None:
        """The database is connected now."""
        self.interfaces.apply(self.database.everything())

    async def stop(self) -> None:
        """Stop the controller. The switch and the store go on."""
        assert not self.run.done(), "the switch's task has ended"
        self.listener.close()
        for connection in self.connections:
            connection.close()
        self.run.cancel()
        await asyncio.wait([self.run, *self._sessions])
        await self.fake.disconnect()
        self.switch.close()
        self.transactor.close()
        await self.mirror.stop()

    def _accept(self, connection: OpenFlowConnection) -> None:
        self.connections.append(connection)
        session = asyncio.create_task(self._serve(connection), name="connection")
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, connection: OpenFlowConnection) -> None:
        try:
            bodies = await connection.multipart(PortDescRequest())
            self.switch.connected(connection, (port for body in bodies for port in port_entries(body)))
            connection.on_message = partial(self.switch.message, connection)
            await connection.wait_closed()
        except ConnectionError:
            pass
        finally:
            self.switch.disconnected(connection)
            self.connections.remove(connection)

    # What happens to the network.

    async def write(self, writes: dict[str, Any]) -> None:
        """Write keys to the store as one transaction; None deletes."""
        await self.transactor.run(lambda view, params: Outcome(params), writes)

    async def put_network(self, name: str, number: int, **more: Any) -> None:
        """A logical network and its subnet, named alike."""
        more = {"gateway": "10.0.0.1", **more}
        subnet = Subnet(
            id=name,
            logicalnetwork=name,
            cidr="10.0.0.0/16",
            allocated_start="10.0.0.1",
            allocated_end="10.0.255.254",
            **more,
        )
        network = LogicalNetwork(id=name, physicalnetwork="p", number=number)
        await self.write({keys.logical_network(name): network, keys.subnet(name): subnet})

    async def put_ports(self, network: str, *numbers: int) -> None:
        """Logical ports `vm<number>` with addresses made of the number."""
        writes: dict[str, Any] = {}
        for number in numbers:
            writes |= port_writes(network, number)
        await self.write(writes)

    async def delete_port(self, network: str, number: int) -> None:
        """A logical port goes."""
        await self.write(dict.fromkeys(port_writes(network, number)))

    def plug(self, number: int, *, iface_id: str = "", ofport: int = 0) -> None:
        """Interface `tap<number>` with a port on the switch; the iface-id is `vm<number>` unless it says otherwise."""
        ofport = ofport or number
        self.fake.add_port(ofport, f"tap{number}")
        self.interfaces.apply(self.database.plug(f"tap{number}", iface_id or f"vm{number}", ofport))

    def unplug(self, number: int) -> None:
        """The interface goes, and its port with it."""
        for ofport, port in list(self.fake.ports.items()):
            if port.name == f"tap{number}":
                self.fake.remove_port(ofport)
        self.interfaces.apply(self.database.unplug(f"tap{number}"))

    def add_feature(self, feature: Feature) -> None:
        """Load a feature."""
        self.features.append(feature)
        self.switch.add_feature(feature, FEATURES.get(feature))

    def remove_feature(self, feature: Feature) -> None:
        """Unload a feature."""
        self.features.remove(feature)
        self.switch.remove_feature(feature)

    # What must be.

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)

    async def settled(self, seconds: float = 10.0) -> None:
        """Wait until all that happened so far has reached the controller, and the switch is as it shall be."""
        async with asyncio.timeout(seconds):
            while not await self._heard():  # noqa: ASYNC110 - it asks, nothing tells
                await asyncio.sleep(0.005)
            await self.switch.wait_settled()

    async def _heard(self) -> bool:
        """Whether the controller knows all that the store and the fake switch have told so far."""
        mark = self.mirror.reader(lambda change: None)
        try:
            await mark.ready([f"mark{next(self._marks)}"])  # read together with all that was notified before
            [connection] = self.connections
            await connection.barrier()
        except (ValueError, ConnectionError, StoreUnavailableError):
            return False
        finally:
            mark.close()
        return [connection] == self.connections and self.fake.connected

    async def check(self) -> None:
        """Everything has settled: what is installed is what is wanted, and what is wanted is what it must be."""
        await self.settled()
        status, desired, tables = self.switch.status(), self.switch.desired, self.fake.tables
        assert (status["failed"], status["refused"], status["conflicts"]) == ([], [], 0)
        fresh = await self.fresh()
        assert desired.flows == fresh.flows
        assert desired.groups == fresh.groups
        assert self.switch.installed.flows == desired.flows == tables.flows
        assert self.switch.installed.groups == desired.groups
        assert {number: (0, buckets) for number, buckets in desired.groups.items()} == tables.groups

    async def fresh(self) -> Desired:
        """What the switch must hold, worked out from nothing: straight from the store and the facts."""
        snapshot = await self.backend.read(self.backend.keys())
        entries = {key: entry for key, entry in snapshot.entries.items() if entry is not None}
        source = SwitchSource(
            self.switch.facts,
            StoredValues({key: codec.decode(key, entry.value) for key, entry in entries.items()}),
        )
        roots = [(root, ()) for feature in self.features for root in feature.roots]
        desired = Desired()
        for call, products in recompute(source, roots).items():
            desired.exchange(call, (), products)
        return desired


class StoredValues:
    """A source over all that is in the store."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._members: dict[str, set[str]] = {}
        for key in values:
            directory, slash, name = key.rpartition("/")
            if slash:
                self._members.setdefault(directory + slash, set()).add(name)

    def get(self, key: Any) -> Any:
        return self._values.get(key)

    def members(self, directory: Any) -> Any:
        return self._members.get(directory, set())


def port_writes(network: str, number: int) -> dict[str, Stored]:
    """The keys of a logical port `vm<number>`."""
    mac = "02:00:00:00:" + f"{number >> 8:02x}:{number & 255:02x}"
    address = f"10.0.{number >> 8}.{number & 255}"
    port = LogicalPort(
        id=f"vm{number}", logicalnetwork=network, mac_address=mac, subnet=network, ip_address=address
    )
    summary = NetworkPort(mac=mac, ip=address, subnet=network)
    return {
        keys.logical_port(port.id): port,
        keys.member(keys.ports_of(network), port.id): summary,
    }
