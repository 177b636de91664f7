"""Waiting until something is so ends with what was found, with the time, or with the end of who tells."""

from __future__ import annotations

import asyncio

import pytest

from vlcp.server.errors import CallTimeoutError, UnavailableError
from vlcp.server.waiting import Waiting


async def test_what_is_there_is_found_at_once() -> None:
    assert await Waiting().until(lambda: 5, 0, "nothing") == 5


async def test_who_waits_looks_again_whenever_it_is_told() -> None:
    waiting, there, looks = Waiting(), set[int](), []

    def find(number: int) -> int | None:
        looks.append(number)
        return number if number in there else None

    calls = [asyncio.create_task(waiting.until(lambda n=n: find(n), 10, "none")) for n in (1, 2)]
    await asyncio.sleep(0)
    for number in (0, 2):
        there.add(number)
        waiting.tell()
    assert await calls[1] == 2
    assert looks == [1, 2, 1, 2], "two changes in one turn count once"
    calls[0].cancel()
    await asyncio.wait(calls)
    there.add(1)
    assert await waiting.until(lambda: find(1), 0, "none") == 1


async def test_time_that_is_over_says_what_is_missing() -> None:
    with pytest.raises(CallTimeoutError, match=r"^no port 7, and did not come within 0\.01 s$"):
        await Waiting().until(lambda: None, 0.01, "no port 7")


async def test_nobody_waits_for_what_has_ended() -> None:
    waiting = Waiting()
    call = asyncio.create_task(waiting.until(lambda: None, 10, "none"))
    await asyncio.sleep(0)
    waiting.close("it is away")
    for late in (call, waiting.until(lambda: None, 10, "none")):
        with pytest.raises(UnavailableError, match="it is away"):
            await late
    assert await waiting.until(lambda: 1, 10, "none") == 1


async def test_what_finding_raises_ends_the_waiting() -> None:
    def find() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        await Waiting().until(find, 10, "none")
