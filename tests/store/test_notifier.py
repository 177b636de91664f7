"""Notifiers of a store: who is told of which keys, in which order, and what is missed by nobody."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from store.faults import BadLine
from store.host import put
from vlcp.store import notifier as module
from vlcp.store.contract import Backend, StoreUnavailableError
from vlcp.store.notifier import Notifier, Publications, Update


@pytest.fixture
async def publications() -> AsyncIterator[Publications]:
    publications = Publications()
    yield publications
    publications.close()


async def following(notifier: Notifier) -> Update:
    async with asyncio.timeout(5):
        return await anext(notifier)


async def test_commits_are_told_in_order(backend: Backend, publications: Publications) -> None:
    notifier = publications.notifier(backend)
    await notifier.add_listen("a", "b")
    first = await put(backend, b=1, a=1, c=1)
    await put(backend, c=2)
    second = await put(backend, a=None)
    assert await following(notifier) == Update(("a", "b"), "updated", first)
    assert await following(notifier) == Update(("a",), "updated", second)


async def test_no_commit_after_add_listen_is_missed(backend: Backend, publications: Publications) -> None:
    notifier = publications.notifier(backend)
    for n in range(50):
        writing = asyncio.create_task(put(backend, a=n))
        await notifier.add_listen("a")
        entry = (await backend.read(["a"])).entries["a"]
        version = await writing
        if entry is None or entry.version != version:
            assert (await following(notifier)).transaction == version
        await notifier.remove_listen("a")
        notifier._waiting.clear()


async def test_what_is_not_listened_to_is_not_told(backend: Backend, publications: Publications) -> None:
    notifier = publications.notifier(backend)
    await notifier.add_listen("a", "b")
    await notifier.remove_listen("a")
    await put(backend, a=1)
    version = await put(backend, b=1)
    assert (await following(notifier)).transaction == version


async def test_publications_reach_the_listeners_of_the_process(
    backend: Backend, publications: Publications
) -> None:
    first, second, third = (publications.notifier(backend) for _ in range(3))
    for notifier, key in ((first, "a"), (second, "a"), (third, "b")):
        await notifier.add_listen(key)
    await first.publish(["a", "x"], {"why": 1})
    told = [await following(first), await following(second)]
    assert [(update.keys, update.fromself, update.extrainfo) for update in told] == [
        (("a", "x"), True, {"why": 1}),
        (("a", "x"), False, {"why": 1}),
    ]
    await third.publish(("b",))
    assert (await following(third)).keys == ("b",)


async def test_after_an_outage_everything_is_to_be_read_again(
    backend: Backend, publications: Publications
) -> None:
    notifier = publications.notifier(backend)
    await notifier.add_listen("a", "b")
    await backend.close()
    await backend.open()
    update = await following(notifier)
    assert (update.keys, update.reason) == (("a", "b"), "restored")


async def test_a_slow_listener_reads_everything_again(
    backend: Backend, publications: Publications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING", 3)
    notifier = publications.notifier(backend)
    await notifier.add_listen("a", "b")
    for n in range(4):
        await put(backend, a=n)
    assert ((await following(notifier)).keys, notifier._waiting) == (("a", "b"), module.deque())


async def test_a_store_that_is_away_is_told(backend: Backend, publications: Publications) -> None:
    line = BadLine(backend)
    notifier = publications.notifier(line)
    line.away = True
    with pytest.raises(StoreUnavailableError):
        await notifier.add_listen("a")
    line.away = False
    await notifier.add_listen("a")
    await put(backend, a=1)
    assert (await following(notifier)).keys == ("a",)


async def test_loops_end_when_the_notifier_is_closed(backend: Backend, publications: Publications) -> None:
    notifier = publications.notifier(backend)
    await notifier.add_listen("a")
    await put(backend, a=1)
    waiting = asyncio.create_task(_all(notifier))
    await asyncio.sleep(0.01)
    publications.close()
    assert [update.keys for update in await waiting] == [("a",)]
    with pytest.raises(ValueError, match="closed"):
        await notifier.add_listen("b")


async def _all(notifier: Notifier) -> list[Update]:
    return [update async for update in notifier]


async def test_a_notifier_that_nobody_uses_goes_by_itself(
    backend: Backend, publications: Publications
) -> None:
    notifier = publications.notifier(backend)
    gone = weakref.ref(notifier)
    del notifier
    gc.collect()
    assert gone() is None
