"""Turns: first come, first served on every key, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import random

import pytest

from vlcp.store.contract import Entry
from vlcp.store.turns import Turns


async def test_a_free_key_is_had_at_once() -> None:
    turns = Turns()
    one = await turns.enter(["a", "b"])
    other = await turns.enter(["c"])
    assert turns.statistics() == {"queued_keys": 3, "waiting_turns": 0, "waited_turns": 0}
    turns.leave(one, {})
    turns.leave(other, {})
    assert turns.statistics()["queued_keys"] == 0


async def test_turns_come_in_order_and_learn_what_was_written() -> None:
    turns = Turns()
    order = []

    async def follow(name: str, keys: list[str]) -> None:
        turn = await turns.enter(keys)
        order.append((name, dict(turn.handed)))
        await asyncio.sleep(0)
        turns.leave(turn, {key: Entry(name.encode(), name) for key in keys if key != "silent"})

    await asyncio.gather(
        follow("1", ["a", "b"]), follow("2", ["b", "c"]), follow("3", ["silent", "c"]), follow("4", ["d"])
    )
    assert order == [
        ("1", {}),
        ("4", {}),
        ("2", {"b": (b"1", "1")}),
        ("3", {"c": (b"2", "2")}),
    ]


async def test_what_was_written_is_handed_on_past_those_who_write_nothing() -> None:
    turns = Turns()
    writer = await turns.enter(["a"])
    silent = asyncio.create_task(turns.enter(["a"]))
    cancelled = asyncio.create_task(turns.enter(["a"]))
    last = asyncio.create_task(turns.enter(["a"]))
    await asyncio.sleep(0)
    turns.leave(writer, {"a": None})
    turns.leave(await silent, {})
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (await last).handed == {"a": None}
    turns.leave(await last, {})
    assert turns.statistics()["queued_keys"] == 0


@pytest.mark.parametrize("seed", range(5))
async def test_random_turns_exclude_each_other_and_all_end(seed: int) -> None:
    turns, chance, held = Turns(), random.Random(seed), set[str]()

    async def work(keys: list[str]) -> None:
        turn = await turns.enter(keys)
        try:
            assert not held & set(keys)
            held.update(keys)
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            held.difference_update(keys)
            turns.leave(turn, {})

    tasks = [asyncio.create_task(work(chance.sample("abcdef", chance.randint(1, 4)))) for _ in range(200)]
    await asyncio.sleep(0)
    for task in chance.sample(tasks, 40):
        task.cancel()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {type(None), asyncio.CancelledError}
    assert (turns.statistics()["queued_keys"], turns.statistics()["waiting_turns"]) == (0, 0)
