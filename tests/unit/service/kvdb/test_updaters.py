"""Transactions by functions: what they get, what is written, and what begins them again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from store.faultydb import Line
from vlcp.model.codec import CodecError
from vlcp.model.objects import LogicalPort
from vlcp.server.api import BadParameterError
from vlcp.server.server import Server
from vlcp.store.contract import Preconditions
from vlcp.store.errors import (
    AsyncTransactionLockException,
    ImpureUpdaterError,
    RetryExceededError,
    TransactionFailedError,
    TransactionTimeoutError,
    UndecodableError,
)

Call = Callable[..., Awaitable[Any]]
PORT = LogicalPort(id="p", logicalnetwork="n", mac_address="02:00:00:00:00:01", extra={"tags": [1]})


async def test_updaters_get_copies(objectdb: Call, write: Call) -> None:
    await write(port=PORT, plain={"a": [1]})
    kept = await objectdb("mget", keys=["port", "plain"], requestid="r")

    def change(keys: list[str], values: list[Any]) -> Any:
        values[0].extra["tags"].append(2)
        values[1]["a"].append(2)
        return [], []

    await objectdb("transact", keys=["port", "plain"], updater=change)
    assert [reference.getvalue() for reference in kept] == [PORT, {"a": [1]}]


async def test_of_a_key_written_twice_the_last_value_counts(objectdb: Call) -> None:
    await objectdb("transact", keys=[], updater=lambda keys, values: (["a", "b", "a"], [1, 2, 3]))
    assert await objectdb("mgetonce", keys=["a", "b"]) == [3, 2]


@pytest.mark.parametrize("returned", [None, 5, (["a"], [1, 2]), (["a"], 1)])
async def test_what_an_updater_returns_is_checked(objectdb: Call, returned: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        await objectdb("transact", keys=[], updater=lambda keys, values: returned)
    with pytest.raises(BadParameterError, match="'a/' is not a key"):
        await objectdb("transact", keys=[], updater=lambda keys, values: (["a/"], [1]))
    assert await objectdb("getonce", key="a") is None


async def test_a_value_that_cannot_be_stored_is_named(objectdb: Call) -> None:
    with pytest.raises(CodecError, match="the value of a cannot be stored"):
        await objectdb("transact", keys=[], updater=lambda *_: (["a"], ["\ud800"]))


async def test_a_reference_can_be_written(objectdb: Call, write: Call) -> None:
    await write(a={"x": 1})
    reference = await objectdb("get", key="a", requestid="r")
    await objectdb("transact", keys=[], updater=lambda keys, values: (["b"], [reference]))
    assert await objectdb("getonce", key="b") == {"x": 1}


async def test_types_of_others_survive_a_change(objectdb: Call, line: Line) -> None:
    odd = b'{"type":"vendor.thing","x":1,"<vendor/tag>":{"deep":[null,1.5]}}'
    await line.memory.commit(Preconditions(), {"vendor.thing.1": odd})

    def change(keys: list[str], values: list[Any]) -> Any:
        return keys, [{**values[0], "x": 2}]

    await objectdb("transact", keys=["vendor.thing.1"], updater=change)
    [entry] = (await line.memory.read(["vendor.thing.1"])).entries.values()
    assert entry is not None
    assert entry.value == odd.replace(b'"x":1', b'"x":2')


async def test_a_transaction_is_given_up_after_its_time(objectdb: Call, line: Line) -> None:
    begin = time.monotonic()

    def never(walk: Any, write: Any) -> None:
        for number in range(1_000_000):
            walk(f"key{number}")

    with pytest.raises(TransactionTimeoutError, match=r"did not end in 0\.1 s"):
        await objectdb("writewalk", keys=[], walker=never, maxtime=0.1)
    assert 0.1 <= time.monotonic() - begin < 2
    assert TransactionTimeoutError.status == 503


async def test_conflicts_run_the_updater_again(objectdb: Call, line: Line) -> None:
    seen = []

    def change(keys: list[str], values: list[Any]) -> Any:
        seen.append(values[0])
        return keys, [(values[0] or 0) + 1]

    await asyncio.gather(*(objectdb("transact", keys=["n"], updater=change) for _ in range(50)))
    assert await objectdb("getonce", key="n") == 50
    assert set(seen) >= {None, 1, 49}


async def test_asynctransact(database: Server, objectdb: Call, write: Call) -> None:
    infos, times = [], []

    async def prepare(last_info: Any, container: Any) -> Any:
        infos.append(last_info)
        key = await container.call("objectdb", "getonce", key="which")

        def change(keys: list[str], values: list[Any], now: int) -> Any:
            times.append(now)
            if last_info is None:
                raise AsyncTransactionLockException({"again": key})
            return keys, [values[0] + 1]

        return change, [key]

    await write(which="a", a=1)
    await objectdb("asynctransact", asyncupdater=prepare, withtime=True)
    assert await objectdb("getonce", key="a") == 2
    assert infos == [None, {"again": "a"}]
    assert abs(times[0] - time.time() * 1e6) < 5e6


async def test_asynctransact_may_end_without_a_change(objectdb: Call) -> None:
    async def prepare(last_info: Any, container: Any) -> None:
        return None

    assert await objectdb("asynctransact", asyncupdater=prepare) is None
    assert await objectdb("asyncwritewalk", asyncwalker=prepare) is None


@pytest.mark.parametrize("maxretry", [0, 3])
async def test_the_number_of_new_beginnings_is_limited(objectdb: Call, maxretry: int) -> None:
    begun = []

    async def prepare(last_info: Any, container: Any) -> Any:
        begun.append(last_info)

        def locked(keys: list[str], values: list[Any]) -> Any:
            raise AsyncTransactionLockException(len(begun))

        return locked, ["a"]

    with pytest.raises(RetryExceededError, match=f"begun again {maxretry} times"):
        await objectdb("asynctransact", asyncupdater=prepare, maxretry=maxretry)
    assert begun == [None, *range(1, maxretry + 1)]
    assert issubclass(RetryExceededError, TransactionFailedError)


async def test_the_time_of_an_asynchronous_transaction_is_limited(objectdb: Call) -> None:
    async def slow(last_info: Any, container: Any) -> Any:
        await asyncio.sleep(60)

    async def forever(last_info: Any, container: Any) -> Any:
        def locked(walk: Any, write: Any) -> None:
            raise AsyncTransactionLockException

        return [], locked

    for api, parameter, function in (
        ("asynctransact", "asyncupdater", slow),
        ("asyncwritewalk", "asyncwalker", slow),
        ("asyncwritewalk", "asyncwalker", forever),
    ):
        with pytest.raises(TransactionTimeoutError):
            await objectdb(api, **{parameter: function}, maxtime=0.05)


async def test_what_the_asynchronous_part_raises_is_raised(objectdb: Call) -> None:
    async def fail(last_info: Any, container: Any) -> Any:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await objectdb("asynctransact", asyncupdater=fail)


async def test_asyncwritewalk(objectdb: Call, write: Call) -> None:
    await write(a=1)

    async def prepare(last_info: Any, container: Any) -> Any:
        def walker(walk: Any, write: Any, now: int) -> None:
            if last_info is None:
                raise AsyncTransactionLockException("second")
            write("b", [walk("a"), last_info, now > 0])

        return ["a"], walker

    await objectdb("asyncwritewalk", asyncwalker=prepare, withtime=True)
    assert await objectdb("getonce", key="b") == [1, "second", True]


async def test_a_walker_that_does_not_catch_is_called_again(objectdb: Call, write: Call) -> None:
    await write(a="b", b="c", c=1)

    def walker(walk: Any, write: Any) -> None:
        write("end", walk(walk(walk("a"))))

    await objectdb("writewalk", keys=[], walker=walker)
    assert await objectdb("getonce", key="end") == 1


async def test_a_walker_changes_only_what_it_writes(objectdb: Call, write: Call) -> None:
    await write(a={"n": 1}, b={"n": 1})

    def walker(walk: Any, write: Any) -> None:
        walk("a")["n"] = 2
        walk("b")["n"] = 2
        write("b", walk("b"))
        write("gone", 1)
        write("gone", None)
        assert walk("gone") is None

    await objectdb("writewalk", keys=["a", "b"], walker=walker)
    assert await objectdb("mgetonce", keys=["a", "b", "gone"]) == [{"n": 1}, {"n": 2}, None]


async def test_an_undecodable_value_can_be_replaced(objectdb: Call, write: Call, line: Line) -> None:
    await line.memory.commit(Preconditions(), {"bad": b"{"})
    with pytest.raises(UndecodableError, match="'bad'"):
        await objectdb("transact", keys=["bad"], updater=lambda keys, values: (keys, [1]))
    await write(bad=1)
    assert await objectdb("getonce", key="bad") == 1


class TestDebugging:
    """module.objectdb.debuggingupdater."""

    @pytest.fixture
    def more(self) -> str:
        return "module.objectdb.debuggingupdater = True\n"

    async def test_pure_functions_pass(self, objectdb: Call, write: Call) -> None:
        await write(a=[1])
        await objectdb("transact", keys=["a"], updater=lambda keys, values: (keys, [[*values[0], 2]]))

        def walker(walk: Any, write: Any) -> None:
            write("b", walk("a"))

        await objectdb("writewalk", keys=[], walker=walker)
        assert await objectdb("getonce", key="b") == [1, 2]

    async def test_different_results_are_refused(self, objectdb: Call) -> None:
        numbers = iter(range(10))
        with pytest.raises(ImpureUpdaterError, match="did not write the same to 'a'"):
            await objectdb("transact", keys=["a"], updater=lambda keys, values: (keys, [next(numbers)]))
        with pytest.raises(ImpureUpdaterError, match="'key"):
            await objectdb("transact", keys=[], updater=lambda *_: ([f"key{next(numbers)}"], [1]))
        assert await objectdb("getonce", key="a") is None

    async def test_a_change_that_is_not_written_is_refused(self, objectdb: Call, write: Call) -> None:
        await write(a=[1])
        with pytest.raises(ImpureUpdaterError, match="changed the value of 'a', but did not write it"):
            await objectdb("writewalk", keys=[], walker=lambda walk, write: walk("a").append(2))
