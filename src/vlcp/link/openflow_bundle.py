"""Atomic bundles (ONF extension 230, as Open vSwitch takes it on OpenFlow 1.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count

from vlcp.link.openflow_requests import OpenFlowError, Packable, Queue, Requests, packed
from vlcp.wire.openflow import BundleAdd, BundleCommand, BundleControl, BundleFlag, Error

_FLAGS = BundleFlag.ATOMIC | BundleFlag.ORDERED
_ids = count(1)

_TURN = 500
"""Messages that are packed before others may run."""


class BundleError(Exception):
    """A bundle was refused; nothing was changed. `errors`: (index of the message, the switch's answer).

    The index is -1 when the bundle itself was refused.
    """

    def __init__(self, errors: list[tuple[int, Error]]) -> None:
        shown = "; ".join(f"message {index}: {error}" for index, error in errors[:3])
        more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
        super().__init__(f"the switch refused the bundle: {shown}{more}")
        self.errors = errors


class BundleRun:
    """One bundle, from opening to the end.

    Open vSwitch forgets a message that it cannot decode and would still commit the others, so the bundle is closed
    first, and committed when nothing was refused until then.
    """

    def __init__(self, requests: Requests, queue: Queue) -> None:
        self._requests = requests
        self._queue = queue
        self._id = next(_ids) & 0xFFFFFFFF
        self._errors: list[tuple[int, Error]] = []

    async def run(self, messages: Sequence[Packable]) -> None:
        """`BundleError`: refused. ConnectionError: the connection closed."""
        xids = [self._requests.next_xid() for _ in messages]
        handlers = {xid: partial(self._refused, index) for index, xid in enumerate(xids)}
        with self._requests.errors_of(handlers):
            await self._fill(messages, xids)
            if self._errors:
                self._queue(self._control(BundleCommand.DISCARD_REQUEST).pack(self._requests.next_xid()))
                raise BundleError(self._errors)
            await self._commit()

    async def _fill(self, messages: Sequence[Packable], xids: Sequence[int]) -> None:
        opening, closing = (
            self._control(BundleCommand.OPEN_REQUEST),
            self._control(BundleCommand.CLOSE_REQUEST),
        )
        try:
            with self._requests.expect(opening) as (open_xid, opened):
                with self._requests.expect(closing) as (close_xid, closed):
                    self._queue(opening.pack(open_xid))
                    await self._add_all(messages, xids)
                    self._queue(closing.pack(close_xid))
                    await opened.future
                    await closed.future
        except OpenFlowError as refused:
            raise BundleError(self._errors or [(-1, refused.error)]) from None

    async def _add_all(self, messages: Sequence[Packable], xids: Sequence[int]) -> None:
        for number, (message, xid) in enumerate(zip(messages, xids, strict=True), 1):
            self._queue(self._add(message, xid))
            if not number % _TURN:
                await asyncio.sleep(0)

    async def _commit(self) -> None:
        try:
            await self._requests.answer(self._control(BundleCommand.COMMIT_REQUEST), self._queue)
        except OpenFlowError as refused:
            raise BundleError(self._errors or [(-1, refused.error)]) from None

    def _control(self, command: BundleCommand) -> BundleControl:
        return BundleControl(self._id, command, _FLAGS)

    def _add(self, message: Packable, xid: int) -> bytes:
        return BundleAdd(self._id, _FLAGS, packed(message, xid)).pack(xid)

    def _refused(self, index: int, error: Error) -> None:
        self._errors.append((index, error))
