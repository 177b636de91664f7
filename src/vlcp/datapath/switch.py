"""One switch, from what is known of it and of the network to the flows that it holds.

The switch is identified by its datapath id and outlives its connections. Whatever changes, the same happens: the plan
of rules settles (in slices, so that the event loop is never held for long), and the net difference between desired and
installed goes out as one bundle. One bundle is in flight; what changes meanwhile is merged into the next.

When a connection comes up nothing is deleted first and nothing is replayed: once the startup modules are loaded and all
that the rules read is known, the switch's own tables are dumped, compared, and only the difference is sent. Stopping
sends nothing at all: the flows stay.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vlcp.datapath.dump import read_installed
from vlcp.datapath.facts import Facts, SwitchSource
from vlcp.datapath.packets import answer, packet_out
from vlcp.datapath.tables import Change, Desired, FlowKey, Installed, difference
from vlcp.datapath.update import describe, message_of
from vlcp.derive.plain import PlainView
from vlcp.derive.plan import Plan
from vlcp.derive.view import Source
from vlcp.flow import facts as fact_keys
from vlcp.flow.explain import Explanation, explain
from vlcp.flow.rules import Feature, scope_of
from vlcp.link.openflow import BundleError, OpenFlowConnection
from vlcp.wire.openflow import Message, PacketIn, PortDesc, PortReason, PortStatus

SLICE = 0.005
"""Seconds that settling may hold the event loop."""

RETRY = 1.0
"""Seconds until a switch that did not answer is tried again, if it is still connected."""

RETRY_REFUSED = 30.0
"""Seconds until a flow that the switch refused is tried again."""

FREEZE_AFTER = 5000
"""Cells that must have run in one settling before what they hold is taken out of the cyclic collector's sight."""


class StoredFacts(Source, Protocol):
    """The store's mirror, as a switch needs it."""

    def want(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def release(self, keys: Iterable[str] = (), directories: Iterable[str] = ()) -> None: ...

    def close(self) -> None: ...


class StoreChange(Protocol):
    """What the store's mirror says has changed."""

    @property
    def keys(self) -> Iterable[str]: ...

    @property
    def joined(self) -> Mapping[Any, Iterable[str]]: ...

    @property
    def left(self) -> Mapping[Any, Iterable[str]]: ...

    @property
    def directories(self) -> Iterable[str]: ...


@dataclass(slots=True)
class Counters:
    """What a switch has done so far."""

    bundles: int = 0
    changes: int = 0
    dumps: int = 0
    refused: int = 0
    packets: int = 0
    answers: int = 0


class Switch:
    """Keeps one switch as the network wants it. `run` does the work, until it is cancelled."""

    def __init__(
        self,
        datapath_id: int,
        open_store: Callable[[Callable[[StoreChange], None]], StoredFacts],
    ) -> None:
        self.datapath_id = datapath_id
        self.log = logging.getLogger(f"{__name__}.{datapath_id:016x}")
        self.counters = Counters()
        self._news = asyncio.Event()
        self._acknowledged = asyncio.Condition()
        self.facts = Facts(self._news.set)
        self._stored = open_store(self._store_changed)
        self._source = SwitchSource(self.facts, self._stored)
        self.desired = Desired()
        self.installed = Installed()
        self._plan = Plan(self._source, self.desired.exchange)
        self._features: dict[int, Feature] = {}
        self._connection: OpenFlowConnection | None = None
        self._synchronised = False
        self._held = True
        self._deferred: set[FlowKey | int] = set()
        self._refused: dict[FlowKey | int, float] = {}

    # What happens to the switch.

    def add_feature(self, feature: Feature, settings: Any) -> None:
        """From now on the switch does what this feature wants; its rules read these settings."""
        self._features[feature.number] = feature
        self.facts.set(fact_keys.settings(feature.name), settings)
        for root in feature.roots:
            self._plan.add_root(root)
        self._news.set()

    def remove_feature(self, feature: Feature) -> None:
        """Withdraw all that this feature wants."""
        del self._features[feature.number]
        self.facts.set(fact_keys.settings(feature.name), None)
        for root in feature.roots:
            self._plan.remove_root(root)
        self._news.set()

    def release(self) -> None:
        """Every startup module is loaded: from now on flows are sent."""
        self._held = False
        self._news.set()

    def connected(self, connection: OpenFlowConnection, ports: Iterable[PortDesc]) -> None:
        """The switch is connected now, with these ports."""
        self._connection = connection
        self._synchronised = False
        here = {port.number: fact_keys.Port(port.name, port.mac) for port in ports}
        self.facts.replace(fact_keys.PORTS, here, fact_keys.port)
        self._news.set()

    def disconnected(self, connection: OpenFlowConnection) -> None:
        """A connection is gone. The facts stay: the switch goes on forwarding."""
        if self._connection is connection:
            self._connection = None
            self._synchronised = False

    def message(self, connection: OpenFlowConnection, message: Message) -> None:
        """The switch says something of its own accord."""
        if connection is not self._connection:
            return
        if isinstance(message, PortStatus):
            self._port_status(message)
        elif isinstance(message, PacketIn):
            self._packet(connection, message)

    def close(self) -> None:
        """Forget the switch. It keeps its flows."""
        self._stored.close()

    async def run(self) -> None:
        """Settle and push, again and again."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._settle()
            self._fetch()
            if self._connection is not None and not self._held:
                await self._push(self._connection)

    async def wait_settled(self) -> None:
        """Wait until the switch holds everything that is wanted of it."""
        async with self._acknowledged:
            await self._acknowledged.wait_for(lambda: self.settled)

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way: no change to work out, nothing unread, nothing unacknowledged."""
        idle = not self._news.is_set() and not self._plan.graph.busy and not self._plan.loading
        return self._synchronised and idle and not self._deferred

    # Working out.

    def _store_changed(self, change: StoreChange) -> None:
        self._plan.change(change.keys, change.joined, change.left, change.directories)
        self._news.set()

    async def _settle(self) -> None:
        self._plan.change(*self.facts.take())
        loop, runs = asyncio.get_running_loop(), self._plan.graph.runs
        started = loop.time()
        for _ in self._plan.steps():
            if loop.time() - started > SLICE:
                await asyncio.sleep(0)
                started = loop.time()
        if self._plan.graph.runs - runs > FREEZE_AFTER:
            gc.freeze()

    def _fetch(self) -> None:
        """Ask the store for what is unread, and stop watching what nobody reads."""
        keys, directories = self._plan.take_unread()
        if keys or directories:
            self._stored.want(_of_store(keys), _of_store(directories))
        keys, directories = self._plan.take_released()
        if keys or directories:
            self._stored.release(_of_store(keys), _of_store(directories))

    # Pushing.

    async def _push(self, connection: OpenFlowConnection) -> None:
        """Bring the switch to what is desired, as far as that is known."""
        try:
            if not self._synchronised:
                await self._synchronise(connection)
            elif not self._plan.graph.busy:
                await self._send(connection, self.desired.take_touched())
        except (ConnectionError, TimeoutError) as error:
            self._synchronised = False
            self.log.warning("The switch could not be updated: %s", error or type(error).__name__)
            asyncio.get_running_loop().call_later(RETRY, self._news.set)
            return
        async with self._acknowledged:
            self._acknowledged.notify_all()

    async def _synchronise(self, connection: OpenFlowConnection) -> None:
        if self._plan.loading or self._plan.graph.busy:
            return
        self.desired.take_touched()
        self.installed = await read_installed(connection)
        self.counters.dumps += 1
        if connection is not self._connection:
            return
        self._refused.clear()
        self._deferred.clear()
        keys = {*self.desired.flows, *self.desired.groups, *self.installed.keys()}
        self._synchronised = True
        sent = await self._send(connection, keys)
        self.log.info(
            "Switch connected: %d flows and groups found, %d wanted, difference of %d sent",
            len(self.installed.keys()),
            len(self.desired.flows) + len(self.desired.groups),
            sent,
        )

    async def _send(self, connection: OpenFlowConnection, keys: set[FlowKey | int]) -> int:
        """Send the difference at these keys, and at those that had to wait."""
        keys |= self._deferred
        changes = difference(self.desired, self.installed, keys, self._protected())
        sending = [change for change in changes if self._may_send(change)]
        self._deferred = {change.key for change in changes} - {change.key for change in sending}
        if sending:
            await self._bundle(connection, sending)
        return len(sending)

    async def _bundle(self, connection: OpenFlowConnection, changes: list[Change]) -> None:
        """Send changes as one atomic bundle; what the switch refuses is left out, and tried again later."""
        self.counters.bundles += 1
        try:
            await connection.bundle([message_of(change) for change in changes])
        except BundleError as error:
            refused = {index for index, _ in error.errors if 0 <= index < len(changes)}
            if not refused:
                raise ConnectionError(f"the switch refuses every change: {error}") from error
            self._refuse([changes[index] for index in refused], error)
            rest = [change for index, change in enumerate(changes) if index not in refused]
            if rest:
                await self._bundle(connection, rest)
            return
        self.installed.acknowledge(changes)
        for change in changes:
            self._refused.pop(change.key, None)
        self.counters.changes += len(changes)
        if self.log.isEnabledFor(logging.DEBUG):
            for change in changes:
                self.log.debug("%s", describe(change))

    def _refuse(self, changes: list[Change], error: BundleError) -> None:
        loop = asyncio.get_running_loop()
        self.counters.refused += len(changes)
        for change in changes:
            self._refused[change.key] = loop.time()
            self._deferred.add(change.key)
            self.log.error("The switch refuses to %s: %s", describe(change), error)
        loop.call_later(RETRY_REFUSED, self._news.set)

    def _may_send(self, change: Change) -> bool:
        """Nothing is deleted while something is unread; what was refused waits for its time."""
        if change.value is None and self._plan.loading:
            return False
        refused = self._refused.get(change.key)
        return refused is None or asyncio.get_running_loop().time() - refused >= RETRY_REFUSED

    def _protected(self) -> set[int]:
        """Feature and scope of every rule call that failed without a value: its installed flows stay."""
        return {
            cell.call[0].feature.number << 24 | scope_of(cell.call[1:])
            for cell in self._plan.failed
            if not cell.has_value
        }

    # What the switch says.

    def _port_status(self, message: PortStatus) -> None:
        port = message.port
        if message.reason == PortReason.DELETE:
            self.facts.set(fact_keys.port(port.number), None)
            self.facts.leave(fact_keys.PORTS, port.number)
        else:
            self.facts.set(fact_keys.port(port.number), fact_keys.Port(port.name, port.mac))
            self.facts.join(fact_keys.PORTS, port.number)

    def _packet(self, connection: OpenFlowConnection, message: PacketIn) -> None:
        self.counters.packets += 1
        try:
            effects = answer(PlainView(self._source), self._features, message)
        except Exception:
            self.log.exception("A packet could not be answered (table %d)", message.table)
            return
        self.counters.answers += len(effects)
        connection.send(*(packet_out(effect) for effect in effects))

    # What the operator sees.

    def status(self) -> dict[str, Any]:
        """The state of this switch, for people and for JSON."""
        return {
            "datapath_id": f"{self.datapath_id:016x}",
            "connected": self._connection is not None,
            "settled": self.settled,
            "flows": len(self.desired.flows),
            "groups": len(self.desired.groups),
            "features": sorted(feature.name for feature in self._features.values()),
            "failed": [f"{cell}: {cell.error}" for cell in self._plan.failed],
            "refused": len(self._refused),
            "conflicts": len(self.desired.conflicts),
        }

    def explain(self, cookie: int) -> Explanation | None:
        """Why the flows with this cookie are there; None if the switch shall have none."""
        call = self.desired.causes.get(cookie)
        return None if call is None else explain(call)

    def statistics(self) -> dict[str, int]:
        """Counts since the start."""
        counters = self.counters
        return {name: getattr(counters, name) for name in counters.__slots__} | self._plan.graph.statistics()


def _of_store(keys: Iterable[Any]) -> list[str]:
    return [key for key in keys if isinstance(key, str)]
