"""Bringing a switch to what is desired: what it holds, what differs, one bundle at a time, and what it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from vlcp.datapath.dump import read_installed
from vlcp.datapath.tables import (
    Change,
    Desired,
    FlowKey,
    Installed,
    Protection,
    difference,
    in_order,
)
from vlcp.datapath.update import describe, message_of
from vlcp.link.openflow import BundleError, OpenFlowConnection

RETRY_REFUSED = 30.0
"""Seconds until a change that the switch refused is tried again."""

ATTEMPTS = 16
"""Bundles that are sent again without what was refused, before the rest waits for the next turn."""

RETRY_REST = 1.0
"""Seconds until that turn."""

TURN = 500
"""Changes that are compared or encoded before others may run."""

LONGEST_MESSAGE = 65535 - 24
"""Bytes of a message that fits into a message of a bundle (ONF extension 230)."""


class Refusal(NamedTuple):
    """A change that the switch refused. `until`: the event loop's time when it is tried again."""

    change: Change
    reason: str
    until: float

    def __str__(self) -> str:
        return f"{describe(self.change)}: {self.reason}"


class Installer:
    """Keeps the books of one switch; `on_retry` is called when something that had to wait may be tried again."""

    def __init__(self, desired: Desired, log: logging.Logger, on_retry: Callable[[], None]) -> None:
        self.installed = Installed()
        self.refused: dict[FlowKey | int, Refusal] = {}
        self.desired = desired
        """What the switch shall hold. It may be exchanged between two calls."""
        self._log = log
        self._on_retry = on_retry
        self._deferred: set[FlowKey | int] = set()
        self._unfinished = False
        self._counts = dict.fromkeys(("bundles", "changes", "dumps", "refused"), 0)

    @property
    def unfinished(self) -> bool:
        """Whether changes were left for the next turn. Those that are refused or protected do not count."""
        return self._unfinished

    async def read(self, connection: OpenFlowConnection) -> None:
        """Ask the switch what it holds; what was known before, and what was refused, is forgotten."""
        installed = await read_installed(connection)
        self._counts["dumps"] += 1
        self.installed = installed
        self.refused.clear()
        self._deferred.clear()

    async def send_everything(self, connection: OpenFlowConnection, protection: Protection) -> int:
        """Send the whole difference; the number of changes. Errors as `OpenFlowConnection.bundle`."""
        self.desired.take_touched()
        return await self._send(connection, self._all_keys(), protection)

    async def send_touched(self, connection: OpenFlowConnection, protection: Protection) -> int:
        """Send what changed since the last time, and what had to wait."""
        keys = self.desired.take_touched() | self._deferred
        return await self._send(connection, keys, protection)

    def statistics(self) -> dict[str, int]:
        """Counts since the start, and how many changes wait."""
        return {**self._counts, "deferred": len(self._deferred)}

    # Comparing.

    def _all_keys(self) -> Iterator[FlowKey | int]:
        """Everything desired or installed, without a large set of both."""
        desired, installed = self.desired, self.installed
        yield from list(desired.groups)
        yield from list(desired.flows)
        yield from (group for group in list(installed.groups) if group not in desired.groups)
        yield from (key for key in list(installed.flows) if key not in desired.flows)

    async def _send(
        self, connection: OpenFlowConnection, keys: Iterable[FlowKey | int], protection: Protection
    ) -> int:
        self._unfinished = False
        changes = await self._differences(keys)
        sending = [change for change in changes.values() if not self._is_protected(change, protection)]
        fresh = [change for change in sending if change.key not in self.refused]
        self._deferred = changes.keys() - {change.key for change in fresh}
        await self._install(connection, in_order(fresh))
        if not self._unfinished:  # what was refused once must not keep others from being tried
            await self._retry(connection, sending)
        return len(fresh)

    async def _retry(self, connection: OpenFlowConnection, changes: Iterable[Change]) -> None:
        """Try again what was refused long enough ago."""
        now = asyncio.get_running_loop().time()
        due = [change for change in changes if self._is_due(change, now)]
        self._deferred.difference_update(change.key for change in due)
        await self._install(connection, in_order(due))

    async def _differences(self, keys: Iterable[FlowKey | int]) -> dict[FlowKey | int, Change]:
        changes: dict[FlowKey | int, Change] = {}
        rest = iter(keys)
        while part := list(islice(rest, TURN)):
            changes.update((change.key, change) for change in difference(self.desired, self.installed, part))
            if self.refused:
                self._forget_refusals(part, changes)
            if len(part) == TURN:
                await asyncio.sleep(0)
        return changes

    def _forget_refusals(self, keys: Iterable[FlowKey | int], changes: dict[FlowKey | int, Change]) -> None:
        """What is not wanted any more, or is wanted differently, is not refused either."""
        for key in keys:
            refusal = self.refused.get(key)
            if refusal is not None and refusal.change != changes.get(key):
                del self.refused[key]

    def _is_protected(self, change: Change, protection: Protection) -> bool:
        return change.value is None and protection.covers(self.installed.get(change.key))

    def _is_due(self, change: Change, now: float) -> bool:
        refusal = self.refused.get(change.key)
        return refusal is not None and now >= refusal.until

    # Sending.

    async def _install(self, connection: OpenFlowConnection, changes: Sequence[Change]) -> None:
        """Send changes as one atomic bundle; what the switch refuses is left out, and tried again later."""
        messages = await self._encode(changes)
        for _ in range(ATTEMPTS):
            if not messages:
                return
            self._counts["bundles"] += 1
            try:
                await connection.bundle([message for _, message in messages])
            except BundleError as error:
                messages = self._without_refused(messages, error)
            else:
                self._acknowledge([change for change, _ in messages])
                return
        self._deferred.update(change.key for change, _ in messages)
        self._unfinished = bool(messages)
        asyncio.get_running_loop().call_later(RETRY_REST, self._on_retry)

    async def _encode(self, changes: Sequence[Change]) -> list[tuple[Change, bytes]]:
        """Changes with their messages. One that no switch could be told is refused here; the others go on."""
        messages = []
        for number, change in enumerate(changes, 1):
            try:
                message = message_of(change).pack()
            except ValueError as error:
                self._refuse(change, str(error))
                continue
            if len(message) > LONGEST_MESSAGE:
                self._refuse(change, f"{len(message)} bytes are too long for a bundle ({LONGEST_MESSAGE})")
                continue
            messages.append((change, message))
            if not number % TURN:
                await asyncio.sleep(0)
        return messages

    def _without_refused(
        self, messages: Sequence[tuple[Change, bytes]], error: BundleError
    ) -> list[tuple[Change, bytes]]:
        refused = {index: str(answer) for index, answer in error.errors if 0 <= index < len(messages)}
        if not refused:
            raise ConnectionError(f"the switch refuses the bundle as a whole: {error}") from error
        for index, reason in refused.items():
            self._refuse(messages[index][0], reason)
        return [message for index, message in enumerate(messages) if index not in refused]

    def _refuse(self, change: Change, reason: str) -> None:
        loop = asyncio.get_running_loop()
        refusal = Refusal(change, reason, loop.time() + RETRY_REFUSED)
        if change.key not in self.refused:
            self._log.error("The switch refuses to %s", refusal)
        self.refused[change.key] = refusal
        self._deferred.add(change.key)
        self._counts["refused"] += 1
        # A timer may come early by the clock's resolution, and there would be no other.
        loop.call_later(RETRY_REFUSED + 0.01, self._on_retry)

    def _acknowledge(self, changes: Sequence[Change]) -> None:
        self.installed.acknowledge(changes)
        self._counts["changes"] += len(changes)
        for change in changes if self.refused else ():
            if self.refused.pop(change.key, None) is not None:
                self._log.info("The switch does not refuse any more to %s", describe(change))
        if self._log.isEnabledFor(logging.DEBUG):
            for change in changes:
                self._log.debug("%s", describe(change))
