"""The event loop is held and let go."""

from __future__ import annotations

import asyncio
import threading
import time

from vlcp.console.hold import Hold

LIMIT = 10.0


async def begin_together(hold: Hold, *holders: object) -> None:
    """Hold the loop from several threads before it can notice the first."""
    asyncio.get_running_loop().call_later(0, time.sleep, 0.2)
    await asyncio.gather(*(asyncio.to_thread(hold.begin, holder) for holder in holders))


async def test_two_that_hold_at_once_are_let_go_at_once() -> None:
    hold = Hold(asyncio.get_running_loop(), LIMIT)
    ended = threading.Timer(0.5, hold.end)
    ended.start()
    begun = time.monotonic()
    await begin_together(hold, "a", "b")
    await asyncio.sleep(0.1)
    assert 0.2 < time.monotonic() - begun < LIMIT / 2
    assert not hold.active
    ended.join()


async def test_only_who_holds_is_let_go_with_its_end() -> None:
    hold, seen = Hold(asyncio.get_running_loop(), LIMIT), list[bool]()

    def look() -> None:
        for holder in ("b", "a"):
            hold.end_of(holder)
            time.sleep(0.1)
            seen.append(hold.active)

    loop = asyncio.get_running_loop()
    looking = threading.Timer(0.2, look)
    looking.start()
    loop.call_soon(hold.here, "a")
    await asyncio.sleep(0.05)
    await asyncio.to_thread(looking.join)
    assert seen == [True, False]


async def test_a_hold_ends_by_itself() -> None:
    hold = Hold(asyncio.get_running_loop(), 0.05)
    await asyncio.to_thread(hold.begin, "a")
    await asyncio.sleep(0)
    assert not hold.active
    assert not hold.end()
