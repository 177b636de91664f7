"""One switch, from what is known of it and of the network to the flows that it holds.

The switch is identified by its datapath id and outlives its connections; what it shall hold is worked out before the
first of them, from what OVSDB tells. Whatever changes, the same happens: the plan of rules settles (in slices, so that
the event loop is never held for long), and the net difference between desired and installed goes out as one bundle.
One bundle is in flight; what changes meanwhile is merged into the next.

When a connection comes up nothing is deleted first and nothing is replayed: once the startup modules are loaded and all
that the rules read is known, the switch's own tables are dumped, compared, and only the difference is sent. Stopping
sends nothing at all: the flows stay.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vlcp.datapath.facts import Facts, SwitchSource
from vlcp.datapath.install import Installer
from vlcp.datapath.packets import answer, packet_out
from vlcp.datapath.tables import Desired, Installed, Protection
from vlcp.derive.graph import Cell, FailedError
from vlcp.derive.plain import PlainView
from vlcp.derive.plan import Plan
from vlcp.derive.view import Source
from vlcp.flow import facts as fact_keys
from vlcp.flow.explain import Explanation, explain
from vlcp.flow.rules import Feature, feature_of, scope_of
from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import Message, PacketIn, PortDesc, PortReason, PortStatus

SLICE = 0.005
"""Seconds that settling may hold the event loop."""

RETRY = 1.0
"""Seconds until a switch that could not be updated is tried again, if it is still connected."""

PATIENCE = 60.0
"""Seconds in which a switch must have told what it holds, and taken what is sent."""

FREEZE_AFTER = 300
"""Cells that run, or names that join, before the heap is taken out of the cyclic collector's sight: one pass over it
holds the event loop for longer than all the rest."""


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

    packets: int = 0
    answers: int = 0
    failures: int = 0


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
        self._rested = asyncio.Condition()
        self._working = False
        self._problem = ""
        self.facts = Facts(self._news.set)
        self._stored = open_store(self._store_changed)
        self._source = SwitchSource(self.facts, self._stored)
        self.desired = Desired()
        self._installer = Installer(self.desired, self.log, self._news.set)
        self._plan = Plan(self._source, self.desired.exchange)
        self._features: dict[int, Feature] = {}
        self._connections: list[OpenFlowConnection] = []
        self._synchronised = False
        self._held = True

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

    @property
    def connection(self) -> OpenFlowConnection | None:
        """The connection in use: the oldest. Others are spares."""
        return self._connections[0] if self._connections else None

    def connected(self, connection: OpenFlowConnection, ports: Iterable[PortDesc]) -> None:
        """The switch is connected now, with these ports."""
        self._connections.append(connection)
        here = {port.number: fact_keys.Port(port.name, port.mac) for port in ports}
        self.facts.replace(fact_keys.PORTS, here, fact_keys.port)
        self.facts.set(fact_keys.DESCRIBED, True)
        self._news.set()

    def disconnected(self, connection: OpenFlowConnection) -> None:
        """A connection is gone. The facts stay: the switch goes on forwarding."""
        if connection is self.connection:
            self._synchronised = False
        if connection in self._connections:
            self._connections.remove(connection)
        self._news.set()

    def message(self, connection: OpenFlowConnection, message: Message) -> None:
        """The switch says something of its own accord."""
        if isinstance(message, PortStatus):
            self._port_status(message)
        elif isinstance(message, PacketIn) and connection is self.connection:
            self._packet(connection, message)

    def close(self) -> None:
        """Forget the switch. It keeps its flows."""
        self._stored.close()

    async def run(self) -> None:
        """Settle and push, again and again. Whatever fails is logged and tried again."""
        while True:
            await self._news.wait()
            self._news.clear()
            self._working = True
            try:
                await self._turn()
            except Exception as error:
                self._failed(error)
            else:
                self._worked()
            self._working = False
            async with self._rested:
                self._rested.notify_all()

    async def _turn(self) -> None:
        await self._settle()
        if self.connection is not None and not self._held:
            await self._push(self.connection)

    async def wait_settled(self) -> None:
        """Wait until the switch holds everything that is wanted of it, except what `status` says it refuses."""
        async with self._rested:
            await self._rested.wait_for(lambda: self.settled)

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way: no change to work out, nothing unread, nothing unacknowledged."""
        idle = not self._working and not self._news.is_set() and not self._plan.graph.busy
        return self._synchronised and idle and not self._plan.loading and not self._installer.unfinished

    @property
    def installed(self) -> Installed:
        """What the switch is known to hold; while it is not connected, what it held."""
        return self._installer.installed

    # Working out.

    def _store_changed(self, change: StoreChange) -> None:
        self._plan.change(change.keys, change.joined, change.left, change.directories)
        self._news.set()

    async def _settle(self) -> None:
        """Run everything that is stale; what the facts say meanwhile is taken in, so that it ends in one state."""
        change = self.facts.take()
        if sum(map(len, change.joined.values())) > FREEZE_AFTER:
            gc.freeze()
        self._plan.change(*change)
        loop, runs = asyncio.get_running_loop(), self._plan.graph.runs
        started = loop.time()
        for _ in self._plan.steps():
            if loop.time() - started > SLICE:
                if self._plan.graph.runs - runs > FREEZE_AFTER:
                    gc.freeze()
                    runs = self._plan.graph.runs
                self._fetch()
                await asyncio.sleep(0)
                started = loop.time()
                self._plan.change(*self.facts.take())
        self._fetch()
        self._release()

    def _fetch(self) -> None:
        """Ask the store for what is unread. Done early, since who reads the same later need not wait any more."""
        keys, directories = self._plan.take_unread()
        if keys or directories:
            self._stored.want(_of_store(keys), _of_store(directories))

    def _release(self) -> None:
        """Stop watching what nobody reads."""
        keys, directories = self._plan.take_released()
        if keys or directories:
            self._stored.release(_of_store(keys), _of_store(directories))

    # Pushing.

    async def _push(self, connection: OpenFlowConnection) -> None:
        """Bring the switch to what is desired, as far as that is known."""
        async with asyncio.timeout(PATIENCE):
            if self._synchronised:
                await self._installer.send_touched(connection, self._protection())
            elif not self._plan.loading:
                await self._synchronise(connection)

    async def _synchronise(self, connection: OpenFlowConnection) -> None:
        await self._installer.read(connection)
        if connection is not self.connection:
            return
        self._synchronised = True
        found, wanted = len(self.installed), len(self.desired.flows) + len(self.desired.groups)
        sent = await self._installer.send_everything(connection, self._protection())
        self.log.info(
            "Switch connected: %d flows and groups found, %d wanted, difference of %d sent",
            found,
            wanted,
            sent,
        )

    def _protection(self) -> Protection:
        """Nothing is deleted while something is unread; nor what a call may want that cannot be worked out.

        The value that a failed call keeps does not say: it may be from before the switch told its ports.
        """
        calls = [cell.call for cell in self._plan.affected()]
        scopes = {feature_of(call).number << 24 | scope_of(call[1:]) for call in calls}
        return Protection(self._plan.loading, frozenset(scopes))

    def _failed(self, error: Exception) -> None:
        """Whatever happened: the switch is dumped and compared again soon."""
        self._synchronised = False
        self.counters.failures += 1
        problem = str(error) or type(error).__name__
        asyncio.get_running_loop().call_later(RETRY, self._news.set)
        if problem == self._problem:
            return
        self._problem = problem
        if isinstance(error, ConnectionError | TimeoutError):
            self.log.warning("The switch could not be updated: %s", problem)
        else:
            self.log.error("The switch could not be updated", exc_info=error)

    def _worked(self) -> None:
        if self._problem and self._synchronised:
            self._problem = ""
            self.log.info("The switch could be updated again")

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
            "connected": self.connection is not None,
            "settled": self.settled,
            "flows": len(self.desired.flows),
            "groups": len(self.desired.groups),
            "features": sorted(feature.name for feature in self._features.values()),
            "failed": [f"{cell}: {cell.error}" for cell in self._first_failures()],
            "refused": [str(refusal) for refusal in self._installer.refused.values()],
            "problem": self._problem,
            "conflicts": len(self.desired.conflicts),
        }

    def _first_failures(self) -> Iterator[Cell]:
        """Calls that failed by themselves, not because they read one that failed; kept by the plan or not."""
        for cell in self._plan.graph.unsettled:
            if cell.error is not None and not isinstance(cell.error, FailedError):
                yield cell

    def explain(self, cookie: int) -> Explanation | None:
        """Why the flows with this cookie are there; None if the switch shall have none."""
        call = self.desired.causes.get(cookie)
        return None if call is None else explain(call)

    def statistics(self) -> dict[str, int]:
        """Counts since the start."""
        counters = self.counters
        ours = {name: getattr(counters, name) for name in counters.__slots__}
        return ours | self._installer.statistics() | self._plan.graph.statistics()


def _of_store(keys: Iterable[Any]) -> list[str]:
    return [key for key in keys if isinstance(key, str)]
