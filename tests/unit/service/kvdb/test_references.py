"""References: what watchers hold of objects that others change, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from store.faultydb import Line
from vlcp.model.objects import LogicalPort
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.store.contract import Preconditions
from vlcp.store.errors import NotKeptError, StoreUnavailableError, UndecodableError
from vlcp.store.reference import Changes, wait_any
from vlcp.web.display import Display

Call = Callable[..., Awaitable[Any]]
PORT = LogicalPort(id="p", logicalnetwork="n", mac_address="02:00:00:00:00:01", extra={"tags": [1]})


async def test_a_reference_shows_the_present_value(objectdb: Call, write: Call) -> None:
    await write(port=PORT)
    reference = await objectdb("get", key="port", requestid="r")
    assert (reference.getkey(), reference.mac_address, reference.isdeleted()) == (
        "port",
        PORT.mac_address,
        False,
    )
    await write(port=LogicalPort(id="p", logicalnetwork="n", mac_address="02:00:00:00:00:02"))
    await objectdb("get", key="port", requestid="r")
    assert reference.mac_address == "02:00:00:00:00:02"
    with pytest.raises(AttributeError, match="port has no attribute 'color'"):
        _ = reference.color


async def test_setting_an_attribute_changes_that_reference_alone(objectdb: Call, write: Call) -> None:
    await write(port=PORT)
    first = await objectdb("get", key="port", requestid="r")
    second = await objectdb("get", key="port", requestid="r")
    first.mac_address = "mine"
    first.extra["tags"].append(2)
    assert (first.mac_address, second.mac_address) == ("mine", PORT.mac_address)
    assert second.extra == {"tags": [1]}
    assert (await objectdb("getonce", key="port")) == PORT


async def test_every_member_of_a_plain_object_is_an_item(objectdb: Call, write: Call) -> None:
    await write(a={"wait": 1, "getkey": [2], "__len__": 3})
    reference = await objectdb("get", key="a", requestid="r")
    assert (reference["wait"], reference["getkey"], reference["__len__"]) == (1, [2], 3)
    reference["getkey"].append(4)
    assert reference["getkey"] == [2]
    with pytest.raises(KeyError, match="color"):
        reference["color"]


async def test_a_deleted_object_stays_readable(objectdb: Call, write: Call) -> None:
    await write(a={"x": 1})
    reference = await objectdb("get", key="a", requestid="r")
    await write(a=None)
    assert await objectdb("get", key="a", requestid="s") is None
    assert (reference.isdeleted(), reference.x, reference["x"]) == (True, 1, 1)
    assert await objectdb("watchlist") == {"a": ["r"]}
    await write(a={"x": 2})
    await objectdb("gettimestamp")
    await reference.wait()
    assert (reference.isdeleted(), reference.x) == (False, 2)


async def test_a_watch_of_a_missing_key_connects_by_itself(objectdb: Call, write: Call) -> None:
    reference, other = await objectdb("mwatch", keys=["a", "b"], requestid="r")
    assert (reference.isdeleted(), reference.getvalue()) == (True, None)
    assert await objectdb("watchlist") == {"a": ["r"], "b": ["r"]}
    waiting = asyncio.create_task(reference.wait())
    await write(b=1)
    await other.wait()
    assert not waiting.done()
    await write(a={"x": 1})
    await waiting
    assert reference.x == 1


async def test_get_keeps_only_what_exists(objectdb: Call, write: Call) -> None:
    await write(a=1)
    assert await objectdb("mget", keys=["a", "none"], requestid="r") == [1, None]
    assert await objectdb("watchlist") == {"a": ["r"]}


async def test_waiting_for_a_condition(objectdb: Call, write: Call) -> None:
    await write(a={"n": 1})
    reference = await objectdb("get", key="a", requestid="r")
    assert await reference.waitif(lambda now: now.n) == 1
    later = asyncio.create_task(reference.waitif(lambda now: now.n >= 3))
    following = asyncio.create_task(reference.waitif(lambda now: [now.n], nextchange=True))
    await asyncio.sleep(0)
    await write(a={"n": 2})
    assert await following == [2]
    assert not later.done()
    await write(a={"n": 3})
    assert await later is True


async def test_what_is_not_kept_cannot_be_waited_for(objectdb: Call) -> None:
    reference = await objectdb("watch", key="a", requestid="r")
    waiting = asyncio.create_task(reference.wait())
    await asyncio.sleep(0)
    await objectdb("unwatch", key="a", requestid="r")
    with pytest.raises(NotKeptError, match="nobody keeps 'a'"):
        await waiting
    with pytest.raises(NotKeptError):
        await reference.wait()


async def test_waiting_ends_with_the_module(database: Server, objectdb: Call) -> None:
    reference = await objectdb("watch", key="a", requestid="r")
    waiting = asyncio.create_task(reference.wait())
    await asyncio.sleep(0)
    await database.unload(ObjectDB)
    with pytest.raises(NotKeptError):
        await waiting


async def test_calls_under_way_end_with_the_module(database: Server, objectdb: Call, line: Line) -> None:
    line.gate = asyncio.Event()
    calls = [
        asyncio.create_task(objectdb("get", key="a", requestid="r")),
        asyncio.create_task(objectdb("walk", keys=["b"], walkerdict={}, requestid="s")),
    ]
    await asyncio.sleep(0.01)
    await database.unload(ObjectDB)
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, StoreUnavailableError)


async def test_several_references_are_told_once_a_commit(objectdb: Call, write: Call) -> None:
    references = await objectdb("mwatch", keys=["a", "b", "c"], requestid="r")
    seen = []
    with Changes(references) as changes:
        for n in range(3):
            await write(c=n, a=n, other=n)
            await objectdb("get", key="a", requestid="r")
        await write(b=1)
        async for changed in changes:
            seen.append([reference.getkey() for reference in changed])
            if len(seen) == 4:
                break
    assert seen == [["a", "c"], ["a", "c"], ["a", "c"], ["b"]]
    waiting = asyncio.create_task(wait_any(references))
    await asyncio.sleep(0)
    await write(a=9, b=9)
    assert [reference.getkey() for reference in await waiting] == ["a", "b"]


async def test_modules_are_told_of_every_changed_key(database: Server, objectdb: Call, write: Call) -> None:
    told: list[Any] = []
    database.notifications.listen(told.append, "objectdb", "update")
    await write(a=1, b=1)
    await objectdb("mwatch", keys=["a", "b", "c"], requestid="r")
    assert told == [], "what is read for the first time is no change"
    await write(b=2, c=2, a=None)
    assert await objectdb("get", key="b", requestid="r") == 2
    shown = [dict(each.attributes) for each in told]
    assert len({each.pop("transactionid") for each in shown}) == 1
    assert [each.pop("object").getkey() for each in shown] == ["a", "b", "c"]
    assert shown == [
        {"key": key, "type": kind, "allkeys": ["a", "b", "c"]}
        for key, kind in (("a", "deleted"), ("b", "updated"), ("c", "updated"))
    ]
    await write(b=3)
    await objectdb("get", key="b", requestid="r")
    assert [(each.attributes["key"], each.attributes["allkeys"]) for each in told[3:]] == [("b", ["b"])]
    assert told[3].attributes["transactionid"] != told[0].attributes["transactionid"]


async def test_a_failing_listener_harms_nobody(database: Server, objectdb: Call, write: Call) -> None:
    def fail(notification: Any) -> None:
        raise RuntimeError("a bad listener")

    database.notifications.listen(fail, "objectdb")
    reference = await objectdb("watch", key="a", requestid="r")
    await write(a=1)
    await reference.wait()
    assert await objectdb("get", key="a", requestid="r") == 1


async def test_unwatchall_waits_for_the_calls_under_the_same_id(
    objectdb: Call, write: Call, line: Line
) -> None:
    await write(a=1, b=1)
    await objectdb("get", key="b", requestid="other")
    line.gate = asyncio.Event()
    getting = asyncio.create_task(objectdb("get", key="a", requestid="r"))
    await asyncio.sleep(0.01)
    await objectdb("unwatchall", requestid="r")
    assert not getting.done()
    line.gate.set()
    assert await getting == 1
    assert await objectdb("watchlist") == {"b": ["other"]}
    await objectdb("get", key="a", requestid="r")
    assert await objectdb("watchlist", requestid="r") == {"a": ["r"]}


async def test_a_request_ends_with_its_block(database: Server, objectdb: Call, write: Call) -> None:
    await write(a=1)
    module = database.module(ObjectDB)
    with module.request() as requestid:
        await objectdb("get", key="a", requestid=requestid)
        assert await objectdb("watchlist") == {"a": [requestid]}
    assert await objectdb("watchlist") == {}
    with module.request() as first, module.request() as second:
        assert first != second


async def test_nothing_is_kept_after_a_failed_call(objectdb: Call, line: Line) -> None:
    line.away = True
    with pytest.raises(Exception, match="the line is cut"):
        await objectdb("watch", key="a", requestid="r")
    assert await objectdb("watchlist") == {}


async def test_keys_are_texts_bytes_and_objects(objectdb: Call, write: Call) -> None:
    await write(a=1)
    reference = await objectdb("get", key=b"a", requestid="r")
    assert await objectdb("getonce", key=reference) == 1
    await objectdb("unwatch", key=reference, requestid="r")
    assert await objectdb("watchlist") == {}
    for key in (5, None, b"\xff", ["a"], LogicalPort):
        with pytest.raises(Exception, match="is not a key"):
            await objectdb("getonce", key=key)


async def test_what_cannot_be_decoded_is_isolated(database: Server, objectdb: Call, write: Call, line: Line,
                                                   caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    await write(good={"x": 1})
    await line.memory.commit(Preconditions(), {"bad": b"{"})
    bad, good = await objectdb("mwatch", keys=["bad", "good"], requestid="r")
    assert good.x == 1
    assert not bad.isdeleted()
    for call in (lambda: bad.x, bad.getvalue):
        with pytest.raises(UndecodableError, match="'bad' cannot be decoded"):
            call()
    for api in ("mgetonce", "mget"):
        with pytest.raises(UndecodableError, match="'bad' cannot be decoded") as raised:
            await objectdb(api, keys=["good", "bad"], **({"requestid": "q"} if api == "mget" else {}))
        assert raised.value.status == 409
    assert await objectdb("mget", keys=["good"], requestid="q") == [{"x": 1}]
    assert list(database.module(ObjectDB).statistics()["undecodable"]) == ["bad"]
    assert sum("'bad' cannot be decoded" in record.getMessage() for record in caplog.records) == 1
    await write(bad={"x": 2})
    await objectdb("get", key="bad", requestid="r")
    assert bad.x == 2
    assert database.module(ObjectDB).statistics()["undecodable"] == {}


async def test_what_the_web_api_shows(objectdb: Call, write: Call) -> None:
    await write(port=PORT, plain={"a": 1}, number=5)
    found = await objectdb("mwatch", keys=["port", "plain", "number", "none"], requestid="r")
    text = Display().encode(found).decode()
    assert text == (
        '[{"_key": "port", "type": "logicalport", "id": "p", "logicalnetwork": "n",'
        ' "mac_address": "02:00:00:00:00:01", "extra": {"tags": [1]}},'
        ' {"_key": "plain", "a": 1}, {"_key": "number", "_value": 5}, {"_key": "none", "_deleted": true}]'
    )
    assert b"UNSET" not in Display().encode(await objectdb("getonce", key="port"))
