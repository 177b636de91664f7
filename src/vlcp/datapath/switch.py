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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vlcp.datapath.derivation import FREEZE_AFTER, Derivation, OpenStore
from vlcp.datapath.facts import Facts
from vlcp.datapath.install import Installer
from vlcp.datapath.packets import answer, packet_out
from vlcp.datapath.ports import PortTable
from vlcp.datapath.tables import Desired, Installed, Protection
from vlcp.derive.plain import PlainView
from vlcp.derive.plan import Plan
from vlcp.flow import facts as fact_keys
from vlcp.flow.explain import Explanation, explain
from vlcp.flow.rules import Feature, feature_of, scope_of
from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import Message, PacketIn, PortDesc, PortReason, PortStatus

RETRY = 1.0
"""Seconds until a switch that could not be updated is tried again, if it is still connected."""

PATIENCE = 60.0
"""Seconds in which a switch must have told what it holds, and taken what is sent."""


class FeatureError(Exception):
    """Features cannot be exchanged for others: the rules of the new ones fail, for example. The text says why."""


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
        open_store: OpenStore,
    ) -> None:
        self.datapath_id = datapath_id
        self.log = logging.getLogger(f"{__name__}.{datapath_id:016x}")
        self.counters = Counters()
        self._news = asyncio.Event()
        self._rested = asyncio.Condition()
        self._working = False
        self._problem = ""
        self.facts = Facts(self._news.set)
        self.ports = PortTable()
        self._open_store = open_store
        self._derivation = self._derive({})
        self._next: Derivation | None = None
        """What is worked out aside, to take the place of the other."""
        self._exchanging = False
        self._installer = Installer(self.desired, self.log, self._news.set)
        self._connections: list[OpenFlowConnection] = []
        self._synchronised = False
        self._held = True
        self._missing = frozenset[int]()

    def _derive(self, settings: Mapping[str, Any]) -> Derivation:
        return Derivation(self.facts, self._open_store, self._news.set, settings)

    @property
    def desired(self) -> Desired:
        """What the switch shall hold."""
        return self._derivation.desired

    @property
    def _plan(self) -> Plan:
        return self._derivation.plan

    # What happens to the switch.

    def add_feature(self, feature: Feature, settings: Any) -> None:
        """From now on the switch does what this feature wants; its rules read these settings."""
        self.facts.set(fact_keys.settings(feature.name), settings)
        for derivation in self._derivations():
            derivation.add(feature)
        self._missing -= {feature.number}
        self._news.set()

    def remove_feature(self, feature: Feature) -> None:
        """Withdraw all that this feature wants."""
        self.facts.set(fact_keys.settings(feature.name), None)
        for derivation in self._derivations():
            derivation.remove(derivation.features[feature.number])
        self._news.set()

    async def prepare(self, features: Mapping[Feature, Any]) -> None:
        """Work out aside what the switch shall hold with other features in the place of those with their names.

        Returns when it is worked out: then call `exchange` or `discard`. Raises `FeatureError` when a rule fails that
        did not fail before, or when the rules of an earlier exchange still wait for the switch.
        """
        if self._exchanging:
            raise FeatureError(
                f"switch {self.datapath_id:016x} still waits for the rules of an earlier reload"
            )
        new = self._derive({feature.name: settings for feature, settings in features.items()})
        replaced = {feature.name: feature for feature in features}
        for feature in self._derivation.features.values():
            new.add(replaced.get(feature.name, feature))
        self._next = new
        self._news.set()
        async with self._rested:
            await self._rested.wait_for(lambda: new.complete)
        known = {str(cell) for cell in self._derivation.failures()}
        if failures := sorted(f"{cell}: {cell.error!r}" for cell in new.failures() if str(cell) not in known):
            raise FeatureError(
                f"{len(failures)} rules fail on switch {self.datapath_id:016x}, first {failures[0]}"
            )

    async def exchange(self, features: Mapping[Feature, Any]) -> None:
        """Make what was prepared count; the difference goes out as any other does. Returns when it was sent."""
        for feature, settings in features.items():
            self.facts.set(fact_keys.settings(feature.name), settings)
        self._exchanging = True
        self._news.set()
        async with self._rested:
            await self._rested.wait_for(lambda: not self._exchanging)

    def discard(self) -> None:
        """Forget what was prepared; nothing happens if there is nothing, or if it is to count already."""
        if self._next is not None and not self._exchanging:
            self._next.close()
            self._next = None

    def release(self, missing: Iterable[int] = ()) -> None:
        """Every startup module is loaded, or has failed: from now on flows are sent.

        `missing` are numbers of features whose modules have failed: what the switch has of them stays until they come.
        """
        self._held = False
        self._missing = frozenset(missing)
        self._news.set()

    @property
    def connection(self) -> OpenFlowConnection | None:
        """The connection in use: the oldest. Others are spares."""
        return self._connections[0] if self._connections else None

    def connected(self, connection: OpenFlowConnection, ports: Iterable[PortDesc]) -> None:
        """The switch is connected now, with these ports."""
        self._connections.append(connection)
        self.describe(ports)
        self._news.set()

    def describe(self, ports: Iterable[PortDesc]) -> None:
        """The switch has these ports and no others."""
        self.ports.replace(ports)
        here = {port.number: fact_keys.Port(port.name, port.mac) for port in self.ports.all()}
        self.facts.replace(fact_keys.PORTS, here, fact_keys.port)
        self.facts.set(fact_keys.DESCRIBED, True)

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
        self._exchanging = False
        self.discard()
        self._derivation.close()

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
        if self._exchanging:
            self._exchange()
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

    def _derivations(self) -> list[Derivation]:
        return [derivation for derivation in (self._derivation, self._next) if derivation is not None]

    def _take_facts(self) -> None:
        change = self.facts.take()
        if sum(map(len, change.joined.values())) > FREEZE_AFTER:
            gc.freeze()
        for derivation in self._derivations():
            derivation.change(change)

    async def _settle(self) -> None:
        """Work everything out; what the facts say meanwhile is taken in, so that it ends in one state."""
        self._take_facts()
        while True:
            for derivation in self._derivations():
                await derivation.settle(self._take_facts)
            if all(derivation.settled for derivation in self._derivations()):
                return

    def _exchange(self) -> None:
        """What was worked out aside takes the place of what counted until now."""
        old, new, self._next = self._derivation, self._next, None
        self._exchanging = False
        if new is not None:
            new.count()
            new.desired.follow(old.desired)
            self._derivation = new
            self._installer.desired = new.desired
            old.close()

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
        return Protection(self._plan.loading, frozenset(scopes), self._missing)

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
            self.ports.remove(port.number)
            self.facts.set(fact_keys.port(port.number), None)
            self.facts.leave(fact_keys.PORTS, port.number)
        else:
            self.ports.put(port)
            self.facts.set(fact_keys.port(port.number), fact_keys.Port(port.name, port.mac))
            self.facts.join(fact_keys.PORTS, port.number)

    def _packet(self, connection: OpenFlowConnection, message: PacketIn) -> None:
        self.counters.packets += 1
        try:
            effects = answer(PlainView(self._derivation.source), self._derivation.features, message)
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
            "features": sorted(feature.name for feature in self._derivation.features.values()),
            "failed": [f"{cell}: {cell.error}" for cell in self._derivation.failures()],
            "refused": [str(refusal) for refusal in self._installer.refused.values()],
            "problem": self._problem,
            "conflicts": len(self.desired.conflicts),
        }

    def explain(self, cookie: int) -> Explanation | None:
        """Why the flows with this cookie are there; None if the switch shall have none."""
        call = self.desired.causes.get(cookie)
        return None if call is None else explain(call)

    def statistics(self) -> dict[str, int]:
        """Counts since the start."""
        counters = self.counters
        ours = {name: getattr(counters, name) for name in counters.__slots__}
        return ours | self._installer.statistics() | self._plan.graph.statistics()
