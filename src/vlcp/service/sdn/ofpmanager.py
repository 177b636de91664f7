"""Keeps every connected switch as the loaded features want it."""

# ruff: noqa: ASYNC109 - the name of the parameter is a promise to callers

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from vlcp.datapath.interfaces import Bridge
from vlcp.datapath.ports import PortTable
from vlcp.datapath.switch import FeatureError, Switch
from vlcp.flow.rules import Feature
from vlcp.flow.tables import PATH
from vlcp.link.address import Address, parse
from vlcp.link.openflow import OpenFlowConnection, OpenFlowError
from vlcp.server.api import BadParameterError, NotFoundError, UnavailableError
from vlcp.server.module import ModuleError, api, depend
from vlcp.server.server import Server
from vlcp.server.waiting import Timeout
from vlcp.service.connection.openflowserver import OpenflowServer
from vlcp.service.connection.users import ConnectionUser, datapath_number
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.service.sdn.ovsdbmanager import OVSDBManager
from vlcp.wire.openflow import Message, PortDesc, PortDescRequest, PortStatus, SetConfig, port_entries

EXCHANGE_LIMIT = 20.0
"""Seconds that new rules may take to read and work out what every switch shall hold."""


DESCRIPTIONS = 10
"""How often a switch is asked for its ports when they change while it answers."""


@depend(OpenflowServer, OVSDBManager, ObjectDB)
class OpenflowManager(ConnectionUser[OpenFlowConnection]):
    """One `Switch` for each datapath that was ever connected or is awaited, and the features of the loaded modules."""

    service = True
    source = OpenflowServer

    class Settings(ConnectionUser.Settings, frozen=True, kw_only=True):
        """The keys of `module.openflowmanager.*`."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._switches: dict[int, Switch] = {}
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._awaited: dict[int, str] = {}
        """Switches that were never connected -> the database that names us as their controller."""
        self._features: dict[str, tuple[Feature, Any]] = {}
        self._newcomers: dict[str, tuple[Feature, Any]] = {}
        self._exchange: asyncio.Future[None] | None = None

    async def load(self) -> None:
        """Take every switch that connects; flows are sent once the modules that shall be there are loaded."""
        self.dependency(OpenflowServer).handle(OpenFlowConnection, self._serve, self.settings.vhosts())
        self.dependency(OVSDBManager).follow_bridges(self._follow_bridges)

    async def unload(self) -> None:
        """Leave the switches as they are."""
        await super().unload()
        self.dependency(OpenflowServer).release(self._serve)
        await self.cancel_tasks()
        for switch in self._switches.values():
            switch.close()

    def add_feature(self, feature: Feature, settings: Any) -> None:
        """Every switch does what this feature wants from now on; its rules read these settings."""
        self._features[feature.name] = feature, settings
        for switch in self._switches.values():
            switch.add_feature(feature, settings)

    async def exchange_feature(self, feature: Feature, settings: Any) -> None:
        """Put a feature in the place of the one with its name, on every switch or on none; the difference is sent.

        Those that come together, because one reload brings them, make one difference. Raises `ModuleError` when a rule
        of the new ones fails.
        """
        if not self.has_feature(feature):
            raise ModuleError(
                f"feature {feature.name!r} has another name than before: unload and load its module", 409
            )
        self._newcomers[feature.name] = feature, settings
        if self._exchange is None:
            self._exchange = asyncio.get_running_loop().create_future()
            self.spawn(self._exchange_all(self._exchange), name="exchange features")
        await asyncio.shield(self._exchange)

    async def _exchange_all(self, done: asyncio.Future[None]) -> None:
        await asyncio.sleep(0)  # the others of the same reload are begun in the same turn of the event loop
        (newcomers, self._newcomers), self._exchange = (self._newcomers, {}), None
        try:
            await self._exchange_features(newcomers)
        except ModuleError as error:
            done.set_exception(error)
        finally:
            if not done.done():
                done.set_result(None)

    async def _exchange_features(self, newcomers: Mapping[str, tuple[Feature, Any]]) -> None:
        features, switches = dict(newcomers.values()), self.switches()
        try:
            async with asyncio.timeout(EXCHANGE_LIMIT):
                await asyncio.gather(*(switch.prepare(features) for switch in switches))
        except FeatureError as error:
            raise ModuleError(str(error), 409) from None
        except TimeoutError:
            raise ModuleError(f"the rules still wait for the store after {EXCHANGE_LIMIT:g} s", 503) from None
        else:
            if gone := sorted(newcomers.keys() - self._features.keys()):
                raise ModuleError(f"unloaded meanwhile: {', '.join(gone)}", 409)
            old, self._features = self._features, {**self._features, **newcomers}
            with contextlib.suppress(TimeoutError):  # what cannot be sent now is sent when it can
                async with asyncio.timeout(EXCHANGE_LIMIT):
                    await asyncio.gather(*(switch.exchange(features) for switch in switches))
            for switch in self.switches():
                if switch not in switches:  # it came meanwhile, with the old features
                    for name, (feature, settings) in newcomers.items():
                        switch.remove_feature(old[name][0])
                        switch.add_feature(feature, settings)
        finally:
            for switch in switches:
                switch.discard()

    def has_feature(self, feature: Feature) -> bool:
        """Whether there is a feature of this name."""
        return feature.name in self._features

    def remove_feature(self, feature: Feature) -> None:
        """Withdraw what this feature wants from every switch."""
        del self._features[feature.name]
        for switch in self._switches.values():
            switch.remove_feature(feature)

    def switches(self) -> list[Switch]:
        """All switches, connected or not."""
        return list(self._switches.values())

    async def _release(self, switch: Switch) -> None:
        """Let it send when all modules are loaded: those of the startup, or those that a reload starts again."""
        await self.server.ready.wait()
        if not self.server.stopping:  # as it does when modules are missing that must be there
            switch.release(self._missing())

    def _missing(self) -> set[int]:
        """The features of modules that could not be loaded: their flows stay as they are."""
        failed = [record.cls for record in self.server.loader.records() if record.failed_to_load]
        features = [getattr(cls, "feature", None) for cls in failed]
        return {feature.number for feature in features if isinstance(feature, Feature)}

    def _switch(self, datapath_id: int) -> Switch:
        switch = self._switches.get(datapath_id)
        if switch is None:
            switch = Switch(datapath_id, self.dependency(ObjectDB).mirror.reader)
            self._switches[datapath_id] = switch
            for feature, settings in self._features.values():
                switch.add_feature(feature, settings)
            self.dependency(OVSDBManager).attach(datapath_id, switch.facts)
            name = f"switch {datapath_id:016x}"
            self.spawn(self._release(switch), name=f"{name}: wait for all modules", background=True)
            self._runs[datapath_id] = self.spawn(switch.run(), name=name, background=True)
        return switch

    def _follow_bridges(self, database: str, bridges: Sequence[Bridge]) -> None:
        """Dial the bridges beside us that name us as their controller: after we were away, Open vSwitch itself would
        come back only after seconds. Its own connection is a spare then. What they shall hold is worked out at once.
        """
        server = self.dependency(OpenflowServer)
        ours = {bridge: vhost for bridge in bridges if (vhost := self._named_by(bridge)) is not None}
        dialled = database.startswith("unix://")
        for bridge, vhost in ours.items() if dialled else ():
            if bridge.datapath_id not in self._switches:
                self._awaited[bridge.datapath_id] = database
            if self._switch(bridge.datapath_id).connection is None:
                path = PurePath(parse(database).path).with_name(f"{bridge.name}.mgmt")
                server.reach(Address("unix", path=str(path)), vhost)
        self._forget_awaited(database, {bridge.datapath_id for bridge in ours})

    def _named_by(self, bridge: Bridge) -> str | None:
        """The virtual host of ours that a bridge names as one of its controllers."""
        names = map(self.dependency(OpenflowServer).named_by, bridge.controllers)
        served = self.settings.vhosts()
        return next(
            (vhost for vhost in names if vhost is not None and (served is None or vhost in served)), None
        )

    def _forget_awaited(self, database: str, named: Container[int]) -> None:
        """Forget the switches that this database does not name any more, and that never came."""
        gone = [number for number, by in self._awaited.items() if by == database and number not in named]
        for number in gone:
            del self._awaited[number]
            self.dependency(OVSDBManager).detach(number)
            self._runs.pop(number).cancel()
            self._switches.pop(number).close()

    async def _serve(self, connection: OpenFlowConnection) -> None:
        """Use a main connection of a switch until it ends; what else the switch opens is only kept alive."""
        if connection.auxiliary_id:
            await self._use(connection)
            return
        # A management connection gets no packets and port changes unless it says how much of a packet it takes.
        connection.send(SetConfig())
        ports = await _ports(connection)
        switch = self._switch(connection.datapath_id)
        self._awaited.pop(connection.datapath_id, None)
        switch.connected(connection, ports)

        def take(message: Message) -> None:
            switch.message(connection, message)
            if isinstance(message, PortStatus):
                self.changes.tell()

        connection.on_message = take
        try:
            await self._use(connection)
        finally:
            switch.disconnected(connection)

    async def _use(self, connection: OpenFlowConnection) -> None:
        """Show the connection until it ends."""
        self.connections.add(connection)
        self.changes.tell()
        try:
            await connection.wait_closed()
        finally:
            self.connections.discard(connection)
            self.changes.tell()

    # Connections and ports

    def datapaths(self, vhost: str | None) -> list[tuple[str, int]]:
        """Pairs of a virtual host and the id of a datapath that is connected there."""
        return list(dict.fromkeys((each.vhost, each.datapath_id) for each in self.connections.all(vhost)))

    def find(self, datapath_id: int, auxiliary_id: int, vhost: str) -> OpenFlowConnection | None:
        """The connection in use: the oldest of those with these ids."""
        wanted = datapath_id, auxiliary_id
        found = (
            each for each in self.connections.all(vhost) if (each.datapath_id, each.auxiliary_id) == wanted
        )
        return next(found, None)

    def ports(self, datapath_id: int, vhost: str) -> PortTable | None:
        """The ports of a switch; None while it is not connected."""
        connected = self.find(datapath_id, 0, vhost) is not None
        return self._switches[datapath_id].ports if connected else None

    async def describe(self, datapath_id: int, vhost: str) -> None:
        """Ask a switch that is connected for its ports. Raises `UnavailableError` when it is not any more.

        If the ports never rest, what the switch has told of its own accord is what is known.
        """
        connection, switch = self.find(datapath_id, 0, vhost), self._switches[datapath_id]
        for _ in range(DESCRIPTIONS):
            changes = switch.ports.changes
            try:
                if connection is None:
                    raise ConnectionError("it is not connected")
                ports = await _ports(connection)
            except (ConnectionError, OpenFlowError) as error:
                raise UnavailableError(f"switch {datapath_id:016x}: {error}") from None
            if changes == switch.ports.changes:  # otherwise the description may be the older news
                switch.describe(ports)
                self.changes.tell()
                return

    @api
    def getconnections(self, datapathid: int | str, vhost: str = "") -> list[OpenFlowConnection]:
        """Return all connections of a datapath, auxiliary ones and spares too, the oldest first."""
        self.check_vhost(vhost)
        number = datapath_number(datapathid)
        return [each for each in self.connections.all(vhost) if each.datapath_id == number]

    @api
    def getconnection(
        self, datapathid: int | str, auxiliaryid: int = 0, vhost: str = ""
    ) -> OpenFlowConnection | None:
        """Return the connection of a datapath that is in use; None if there is none.

        :param auxiliaryid: 0 for the main connection
        """
        self.check_vhost(vhost)
        return self.find(datapath_number(datapathid), auxiliaryid, vhost)

    @api
    async def waitconnection(
        self, datapathid: int | str, auxiliaryid: int = 0, timeout: Timeout = 30, vhost: str = ""
    ) -> OpenFlowConnection:
        """Return the connection of a datapath, as soon as there is one; status 504: not within `timeout` seconds.

        :param auxiliaryid: 0 for the main connection
        """
        number = datapath_number(datapathid)
        missing = f"datapath {number:016x} is not connected"
        return await self.wait(lambda: self.find(number, auxiliaryid, vhost), timeout, vhost, missing)

    @api
    def status(self) -> list[dict[str, Any]]:
        """Return the state of every switch: connected, settled, counts of flows, what failed or was refused."""
        return [switch.status() for switch in self._switches.values()]

    @api
    def explain(self, cookie: int | str) -> dict[str, Any]:
        """Return why the flows with this cookie are there: the feature, its rule in a sentence, and for what.

        :param cookie: as a number, or as text such as 0x18ebc47278ebc47
        """
        try:
            number = int(cookie, 0) if isinstance(cookie, str) else cookie
        except ValueError:
            raise BadParameterError(f"cookie: {cookie!r} is not a number such as 0x18ebc47278ebc47") from None
        for switch in self._switches.values():
            if (found := switch.explain(number)) is not None:
                return found._asdict()
        raise NotFoundError(f"no flow that a switch shall have has the cookie {number:#x}")

    @api
    def lastacquiredtables(
        self, vhost: str = ""
    ) -> tuple[list[tuple[str, int]], dict[str, list[tuple[str, int]]]]:
        """Return the tables of the pipeline with their numbers, in all and by path ('' is the main path).

        :param vhost: tables are the same for every virtual host
        """
        tables = [(table.name.lower(), table.value) for table in PATH]
        return tables, {"": tables}

    def statistics(self) -> dict[str, Any]:
        """Figures of every switch."""
        switches = {f"{number:016x}": switch.statistics() for number, switch in self._switches.items()}
        return {**super().statistics(), "switches": switches}


async def _ports(connection: OpenFlowConnection) -> list[PortDesc]:
    """The ports of a switch, as it describes them."""
    return [port for body in await connection.multipart(PortDescRequest()) for port in port_entries(body)]
