"""Who writes next: one queue per key, so that transactions of one process do not fail on each other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping

from vlcp.store.contract import Entry


class Turn:
    """A place in the queues of some keys. `handed` holds what predecessors wrote there, None for a deleted key."""

    def __init__(self, keys: frozenset[str]) -> None:
        self.keys = keys
        self.handed: dict[str, Entry | None] = {}
        self.blocked = 0
        self.ready: asyncio.Future[None] | None = None


class Turns:
    """The queues. A turn joins all of its queues at once, so no two can wait for each other in a circle."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Turn]] = {}
        self._waiting = 0
        self._waited = 0

    async def enter(self, keys: Iterable[str]) -> Turn:
        """Wait until the turn is first in the queue of every key. The caller must `leave`."""
        turn = Turn(frozenset(keys))
        for key in turn.keys:
            queue = self._queues.setdefault(key, deque())
            turn.blocked += bool(queue)
            queue.append(turn)
        if turn.blocked:
            await self._wait(turn)
        return turn

    def leave(self, turn: Turn, written: Mapping[str, Entry | None]) -> None:
        """Give the keys to the next in line, and tell them what was written."""
        for key in turn.keys:
            queue = self._queues[key]
            first = queue[0] is turn
            queue.remove(turn)
            if not queue:
                del self._queues[key]
            elif first:
                known = written if key in written else turn.handed
                if key in known:
                    queue[0].handed[key] = known[key]
                self._unblock(queue[0])

    def statistics(self) -> dict[str, int]:
        return {
            "queued_keys": len(self._queues),
            "waiting_turns": self._waiting,
            "waited_turns": self._waited,
        }

    async def _wait(self, turn: Turn) -> None:
        turn.ready = asyncio.get_running_loop().create_future()
        self._waiting += 1
        self._waited += 1
        try:
            await turn.ready
        except BaseException:
            self.leave(turn, {})
            raise
        finally:
            self._waiting -= 1

    @staticmethod
    def _unblock(turn: Turn) -> None:
        turn.blocked -= 1
        if not turn.blocked and turn.ready is not None and not turn.ready.done():
            turn.ready.set_result(None)
