"""Free numbers in transactions: the lowest, none twice, none lost."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from store.host import Host, put, until
from vlcp.store.transaction import Outcome, TransactionView


def take_free(view: TransactionView, owner: str) -> Outcome:
    for number in view.free("n/", 1, 1000, str):
        if view.get(f"n/{number}") is None:
            return Outcome({f"n/{number}": owner}, answer=number)
    raise LookupError("no number is free")


async def test_free_numbers_are_the_lowest(host: Host) -> None:
    await put(host.line, n__1="x", n__2="x", n__4="x")
    assert [(await host.transactor.run(take_free, "me")).answer for _ in range(3)] == [3, 5, 6]
    await put(host.line, n__2=None)
    await until(lambda: "2" not in (host.mirror.names("n/") or ()))
    assert (await host.transactor.run(take_free, "me")).answer == 2
    assert (await host.transactor.run(take_free, "me")).answer == 7


async def test_concurrent_takers_of_one_process_do_not_collide(host: Host) -> None:
    results = await asyncio.gather(*(host.transactor.run(take_free, str(n)) for n in range(300)))
    assert sorted(result.answer for result in results) == list(range(1, 301))
    assert host.transactor.statistics()["conflicts"] == 0


async def test_no_number_is_given_twice_by_two_processes(host: Host, other: Host) -> None:
    results = await asyncio.gather(
        *(each.transactor.run(take_free, f"{each} {n}") for n in range(200) for each in (host, other))
    )
    numbers = [result.answer for result in results]
    assert len(set(numbers)) == 400
    assert max(numbers) <= 400 + 64


async def test_a_number_that_was_not_taken_is_free_again(host: Host) -> None:
    def look_only(view: TransactionView, params: None) -> Outcome:
        return Outcome({}, answer=next(view.free("n/", 1, 9, str)))

    def fail(view: TransactionView, params: None) -> NoReturn:
        next(view.free("n/", 1, 9, str))
        raise ValueError("something else is wrong")

    assert (await host.transactor.run(look_only, None)).answer == 1
    with pytest.raises(ValueError, match="something else"):
        await host.transactor.run(fail, None)
    assert (await host.transactor.run(take_free, "me")).answer == 1


async def test_a_batch_takes_a_number_for_each(host: Host) -> None:
    def take_many(view: TransactionView, count: int) -> Outcome:
        numbers = [next(view.free("n/", 1, 5000, str)) for _ in range(count)]
        assert view.many(f"n/{n}" for n in numbers) == [None] * count
        return Outcome({f"n/{n}": 1 for n in numbers}, answer=numbers)

    assert (await host.transactor.run(take_many, 1000)).answer == list(range(1, 1001))
    assert (await host.transactor.run(take_many, 3)).answer == [1001, 1002, 1003]


async def test_the_last_numbers_are_given_although_somebody_looks_at_them(host: Host) -> None:
    """Nine transactions that take nothing hold on to nine of ten numbers while ten others want all ten."""

    def look(view: TransactionView, params: None) -> Outcome:
        next(view.free("n/", 1, 10, str))
        return Outcome({"hot": (view.get("hot") or 0) + 1})

    def take(view: TransactionView, params: None) -> Outcome:
        for number in view.free("n/", 1, 10, str):
            if view.get(f"n/{number}") is None:
                return Outcome({f"n/{number}": 1}, answer=number)
        raise LookupError("no number is free")

    await host.transactor.run(look, None)
    looking = [host.transactor.run(look, None) for _ in range(9)]
    results = await asyncio.gather(*looking, *(host.transactor.run(take, None) for _ in range(10)))
    assert sorted(result.answer for result in results[9:]) == list(range(1, 11))
    with pytest.raises(LookupError):
        await host.transactor.run(take, None)


async def test_when_all_numbers_are_taken_the_change_says_so(host: Host) -> None:
    await put(host.line, **{f"n__{n}": 1 for n in range(1, 1001)})
    with pytest.raises(LookupError):
        await host.transactor.run(take_free, "me")
