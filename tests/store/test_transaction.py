"""Transactions: exact under concurrency, cheap in rounds, and honest when the store fails."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, NoReturn

import pytest

from store.host import Host, put, running
from vlcp.derive.view import PendingError
from vlcp.store.contract import Preconditions, StoreUnavailableError
from vlcp.store.known import UndecodableError
from vlcp.store.memory import MemoryBackend
from vlcp.store.transaction import (
    NotEmptyError,
    Outcome,
    TransactionTimeoutError,
    TransactionView,
)


def increment(view: TransactionView, key: str) -> Outcome:
    following = (view.get(key) or 0) + 1
    return Outcome({key: following}, answer=following)


async def test_a_change_is_committed_and_answered(host: Host) -> None:
    result = await host.transactor.run(increment, "a")
    assert result.answer == 1
    assert (await host.line.read(["a"])).entries["a"] == (b"1", result.version)
    assert abs(result.time - host.transactor.now()) < 10e6


@pytest.mark.parametrize("followed", [True, False])
async def test_a_thousand_concurrent_increments_are_exact(host: Host, followed: bool) -> None:
    if followed:
        await host.follow("a")
    results = await asyncio.gather(*(host.transactor.run(increment, "a") for _ in range(1000)))
    assert sorted(result.answer for result in results) == list(range(1, 1001))
    assert await host.value("a") == 1000
    assert host.transactor.statistics()["conflicts"] == 0, "one process must not conflict with itself"


async def test_increments_of_two_processes_are_exact(host: Host, other: Host) -> None:
    await host.follow("a")
    await asyncio.gather(*(each.transactor.run(increment, "a") for _ in range(100) for each in (host, other)))
    assert await host.value("a") == 200


async def test_transfers_keep_the_sum_whatever_crosses(host: Host, other: Host) -> None:
    def transfer(view: TransactionView, keys: tuple[str, str]) -> Outcome:
        source, target = view.many(keys)
        return Outcome({keys[0]: source - 1, keys[1]: target + 1})

    accounts = [f"account/{n}" for n in range(5)]
    await put(host.line, **{name.replace("/", "__"): 100 for name in accounts})
    await host.follow("account/")
    pairs = [(source, target) for source in accounts for target in accounts if source != target]
    await asyncio.gather(
        *(each.transactor.run(transfer, pair) for pair in pairs * 4 for each in (host, other))
    )
    assert [await host.value(name) for name in accounts] == [100] * 5


async def test_a_change_over_a_thousand_items_takes_few_rounds(host: Host) -> None:
    def create(view: TransactionView, numbers: range) -> Outcome:
        networks = view.many(f"port/{n}" for n in numbers)
        assert networks == [None] * len(numbers)
        parents = view.many({f"network/{n % 10}" for n in numbers})
        return Outcome({f"port/{n}": len(parents) for n in numbers})

    await host.transactor.run(create, range(1000))
    assert len(host.line.reads) + len(host.line.commits) <= 4
    assert await host.value("port/999") == 10


async def test_what_the_mirror_knows_is_not_read_again(host: Host) -> None:
    await put(host.line, a=1, d__x=1)
    await host.follow("a", "d/")

    def change(view: TransactionView, params: None) -> Outcome:
        return Outcome({"a": [view.get("a"), view.get("d/y"), view.members("d/")]})

    await host.transactor.run(change, None)
    assert host.transactor.statistics()["reads"] == 0
    assert await host.value("a") == [1, None, ["x"]]


async def test_what_was_read_must_still_be_so(host: Host) -> None:
    """Every kind of read, changed between the read and the commit."""
    await put(host.line, a=1, d__x=1, v=1)
    version = await put(host.line, v=2)
    seen = []

    def change(view: TransactionView, params: None) -> Outcome:
        reads = (*view.many(["a", "absent"]), view.members("d/"), view.members("e/"), view.version("v"))
        seen.append(reads)
        return Outcome({"out": len(seen)})

    disturbances: list[dict[str, Any]] = [{"a": 2}, {"absent": 1}, {"d__x": None}, {"e__y": 1}, {"v": 3}]
    plain_commit = host.line.commit

    async def disturbed(preconditions: Preconditions, writes: Any) -> Any:
        if "out" in writes and disturbances:
            last.append(await put(host.line.backend, **disturbances.pop(0)))
        return await plain_commit(preconditions, writes)

    last: list[str] = []
    host.line.commit = disturbed  # type: ignore[method-assign]  # the only place between read and commit
    await host.transactor.run(change, None)
    assert seen[0] == (1, None, ("x",), (), version)
    assert seen[-1] == (2, 1, (), ("y",), last[-1])
    assert await host.value("out") == 6


async def test_an_error_is_believed_only_if_what_it_rests_on_is_true(host: Host) -> None:
    class TakenError(Exception):
        pass

    def create(view: TransactionView, key: str) -> Outcome:
        if view.get(key) is not None:
            raise TakenError(key)
        return Outcome({key: "mine"})

    await put(host.line, a="other's")
    with pytest.raises(TakenError):
        await host.transactor.run(create, "a")
    await host.follow("a")
    host.line.deaf = True
    await host.line.commit(Preconditions(), {"a": None})
    assert host.reader.get("a") == "other's"
    await host.transactor.run(create, "a")
    assert await host.value("a") == "mine"


async def test_an_error_that_read_nothing_costs_no_round(host: Host) -> None:
    def refuse(view: TransactionView, params: None) -> NoReturn:
        raise ValueError("a bad parameter")

    with pytest.raises(ValueError, match="a bad parameter"):
        await host.transactor.run(refuse, None)
    assert (host.line.reads, host.line.commits) == ([], [])


async def test_nothing_is_written_when_the_change_or_the_codec_raises(host: Host) -> None:
    with pytest.raises(TypeError):
        await host.transactor.run(lambda view, params: Outcome({"a": 1, "b": object()}), None)
    assert await host.value("a") is None


async def test_a_read_that_the_change_swallowed_is_made_up_for(host: Host) -> None:
    await put(host.line, a=1, b=2)

    def change(view: TransactionView, params: None) -> Outcome:
        found = []
        for key in ("a", "b"):
            with contextlib.suppress(PendingError):
                found.append(view.get(key))
        return Outcome({"out": found})

    await host.transactor.run(change, None)
    assert await host.value("out") == [1, 2]


async def test_a_call_is_remembered_during_one_attempt(host: Host) -> None:
    calls = []

    def double(view: TransactionView, key: str) -> int:
        calls.append(key)
        return 2 * (view.get(key) or 0)

    def change(view: TransactionView, params: None) -> Outcome:
        view.get("known")
        return Outcome({"out": view.call(double, "a") + view.call(double, "a")})

    await put(host.line, a=1)
    await host.transactor.run(change, None)
    assert await host.value("out") == 4
    assert calls == ["a", "a"], "once while it was unread, once with the value"


async def test_an_undecodable_value_fails_only_who_reads_it(host: Host) -> None:
    await host.line.commit(Preconditions(), {"bad": b"{"})
    with pytest.raises(UndecodableError, match="'bad'"):
        await host.transactor.run(increment, "bad")
    await host.transactor.run(increment, "good")


async def test_a_directory_that_must_be_empty(host: Host) -> None:
    def delete(view: TransactionView, key: str) -> Outcome:
        return Outcome({key: None}, empty=frozenset({f"{key}/ports/"}))

    await put(host.line, net=1, net__ports__p1=1, net__ports__p2=1)
    with pytest.raises(NotEmptyError, match=r"net/ports/ is not empty: it has 2 members \(p1, p2\)"):
        await host.transactor.run(delete, "net")
    assert await host.value("net") == 1
    await put(host.line, net__ports__p1=None, net__ports__p2=None)
    await host.transactor.run(delete, "net")
    assert await host.value("net") is None


async def test_of_deleting_a_network_and_creating_its_port_one_happens(host: Host, other: Host) -> None:
    class GoneError(Exception):
        pass

    def delete(view: TransactionView, key: str) -> Outcome:
        return Outcome({key: None}, empty=frozenset({f"{key}/ports/"}))

    def create(view: TransactionView, key: str) -> Outcome:
        if view.get(key) is None:
            raise GoneError(key)
        return Outcome({f"{key}/ports/p": 1})

    for n in range(40):
        await put(host.line, **{f"net{n}": 1})
        first, second = (host, other) if n % 2 else (other, host)
        results = await asyncio.gather(
            first.transactor.run(delete, f"net{n}"),
            second.transactor.run(create, f"net{n}"),
            return_exceptions=True,
        )
        failed = [type(result) for result in results if isinstance(result, Exception)]
        assert failed in ([NotEmptyError], [GoneError])
        assert (await host.value(f"net{n}") is None) == (await host.value(f"net{n}/ports/p") is None)


async def test_time_runs_out(host: Host) -> None:
    def slow(view: TransactionView, params: None) -> Outcome:
        view.get("a")
        return Outcome({"out": 1})

    plain_commit = host.line.commit

    async def disturbed(preconditions: Preconditions, writes: Any) -> Any:
        await put(host.line.backend, a=0)
        return await plain_commit(preconditions, writes)

    host.line.commit = disturbed  # type: ignore[method-assign]  # every commit comes too late
    with pytest.raises(
        TransactionTimeoutError, match=r"did not end in 0\.2 s \(\d+ conflicts\); nothing was written"
    ):
        await host.transactor.run(slow, None, timeout=0.2)
    assert await host.value("out") is None


async def test_a_change_that_always_asks_for_more_ends_in_time(host: Host) -> None:
    count = iter(range(10**9))
    with pytest.raises(TransactionTimeoutError):
        await host.transactor.run(lambda view, params: view.get(f"k{next(count)}"), None, timeout=0.1)


async def test_a_store_that_is_away_is_said_at_once(host: Host) -> None:
    host.line.away = True
    with pytest.raises(StoreUnavailableError, match="the line is cut"):
        await host.transactor.run(increment, "a")


async def test_a_lost_request_is_sent_again(host: Host) -> None:
    host.line.lost_requests = 1
    assert (await host.transactor.run(increment, "a")).answer == 1
    assert await host.value("a") == 1


async def test_a_commit_whose_reply_was_lost_is_recognised(host: Host) -> None:
    def create(view: TransactionView, key: str) -> Outcome:
        if view.get(key) is not None:
            raise ValueError("taken")
        return Outcome({key: "with my id", "list": [*(view.get("list") or []), key]}, answer=key)

    host.line.lost_replies = 1
    result = await host.transactor.run(create, "a")
    entries = (await host.line.read(["a", "list"])).entries
    assert result.answer == "a"
    assert entries == {"a": (b'"with my id"', result.version), "list": (b'["a"]', result.version)}
    assert host.transactor.statistics()["lost_replies"] == 1


async def test_a_lost_reply_that_leaves_no_trace_is_an_error_and_not_a_guess(host: Host) -> None:
    await put(host.line, a=1)
    host.line.lost_replies = 1
    with pytest.raises(StoreUnavailableError, match="the reply was lost"):
        await host.transactor.run(increment, "a")
    assert await host.value("a") == 2


async def test_a_key_that_somebody_else_created_is_no_lost_reply(host: Host) -> None:
    """The request was lost, and before we could look another process took the key."""

    async def late(preconditions: Preconditions, writes: Any) -> NoReturn:
        await put(host.line.backend, a="other's")
        raise StoreUnavailableError("the request was lost")

    def create(view: TransactionView, key: str) -> Outcome:
        assert view.get(key) is None
        return Outcome({key: "mine"})

    host.line.commit = late  # type: ignore[method-assign]  # what happens between request and reply
    with pytest.raises(StoreUnavailableError, match="the request was lost"):
        await host.transactor.run(create, "a")
    assert await host.value("a") == "other's"


async def test_a_listing_that_proved_stale_is_read_past_the_mirror(host: Host) -> None:
    def count(view: TransactionView, directory: str) -> Outcome:
        return Outcome({"out": len(view.members(directory))})

    await put(host.line, d__x=1, d__y=1)
    await host.follow("d/")
    host.line.deaf = True
    await put(host.line, d__x=None)
    await host.transactor.run(count, "d/", timeout=5)
    assert await host.value("out") == 1


async def test_a_store_that_refuses_twice_is_an_error(host: Host) -> None:
    host.line.lost_requests = 5
    with pytest.raises(StoreUnavailableError, match="the request was lost"):
        await host.transactor.run(increment, "a")
    assert host.line.lost_requests == 3


async def test_a_cancelled_transaction_leaves_the_way_free(host: Host) -> None:
    running = [asyncio.create_task(host.transactor.run(increment, "a")) for _ in range(20)]
    await asyncio.sleep(0)
    for task in running[::2]:
        task.cancel()
    done = await asyncio.gather(*running, return_exceptions=True)
    answers = [result.answer for result in done if not isinstance(result, BaseException)]
    assert len(answers) >= 10
    assert (await host.transactor.run(increment, "a")).answer >= len(answers) + 1
    statistics = host.transactor.statistics()
    assert (statistics["running"], statistics["queued_keys"], statistics["waiting_turns"]) == (0, 0, 0)


async def test_the_clock_never_goes_back() -> None:
    backend = MemoryBackend()
    await backend.open()
    async with running(backend) as host:
        times = []
        for _ in range(20):
            times.append(host.transactor.now())
            times.append((await host.transactor.run(increment, "a")).time)
            times.append(host.transactor.now())
        assert times[::3] == sorted(times[::3])
        assert times[2::3] == sorted(times[2::3])
        assert abs(times[0] - times[1]) < 1e6
