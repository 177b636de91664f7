"""Who uses a connection, and when it is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from vlcp.link.identity import Identified
from vlcp.link.sessions import Sessions
from vlcp.wire.ovsdb import OvsdbError

LOGGER = logging.getLogger("test.sessions")


class Line(Identified):
    """A connection that ends when it is told to."""

    def __init__(self, peer: str = "peer") -> None:
        self.peer, self.local = peer, "local"
        self.is_ready, self.closed = asyncio.Event(), asyncio.Event()
        self.is_ready.set()
        self.reason: str | None = None

    async def ready(self) -> None:
        await self.is_ready.wait()

    def close(self) -> None:
        self.closed.set()

    async def wait_closed(self) -> None:
        await self.closed.wait()
        if self.reason:
            raise ConnectionError(self.reason)

    def statistics(self) -> dict[str, Any]:
        return {"messages": 3}


class OtherLine(Line):
    """A connection of another class."""


class User:
    """A handler that keeps what it was given, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.given: list[Line] = []
        self.cancelled = 0
        self._error = error

    async def __call__(self, connection: Line) -> None:
        self.given.append(connection)
        if self._error is not None:
            raise self._error
        try:
            await connection.wait_closed()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Fixture:
    """Sessions with the tasks that they spawned."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.sessions: Sessions[Line] = Sessions(self.spawn, LOGGER)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        self.tasks.append(asyncio.create_task(coroutine, name=name))
        return self.tasks[-1]


@pytest.fixture
async def fixture() -> AsyncIterator[Fixture]:
    fixture = Fixture()
    yield fixture
    fixture.sessions.close()
    await asyncio.gather(*fixture.tasks, return_exceptions=True)
    assert fixture.sessions.all() == []
    errors = [t.exception() for t in fixture.tasks if not t.cancelled()]
    assert errors == [None] * len(errors)  # no mistake of a user ends a task of the module


async def turns(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


async def test_connections_wait_for_their_handler(fixture: Fixture) -> None:
    early, late, user = Line(), Line(), User()
    fixture.sessions.accept(early, "", None)
    await asyncio.sleep(0)
    fixture.sessions.handle(Line, user)
    fixture.sessions.accept(late, "", None)
    await turns(lambda: user.given == [early, late])
    assert [session.status()["messages"] for session in fixture.sessions.all()] == [3, 3]


async def test_a_handler_gets_its_virtual_hosts_and_classes_alone(fixture: Fixture) -> None:
    a, b, other = Line(), Line(), OtherLine()
    everything, of_a, others = User(), User(), User()
    fixture.sessions.handle(Line, everything)
    fixture.sessions.handle(Line, of_a, ("a",))
    fixture.sessions.handle(OtherLine, others)
    for line, vhost in ((a, "a"), (b, "b"), (other, "b")):
        fixture.sessions.accept(line, vhost, None)
    await turns(lambda: others.given)
    assert (everything.given, of_a.given, others.given) == ([a, b, other], [a], [other])
    assert [s.vhost for s in fixture.sessions.all() if s.connection is b] == ["b"]


async def test_a_released_handler_is_cancelled_and_the_next_takes_over(fixture: Fixture) -> None:
    line, first, second = Line(), User(), User()
    fixture.sessions.handle(Line, first)
    fixture.sessions.accept(line, "", None)
    await turns(lambda: first.given)
    fixture.sessions.release(first)
    await turns(lambda: first.cancelled)
    assert not line.closed.is_set()
    fixture.sessions.handle(Line, second)
    await turns(lambda: second.given == [line])


async def test_a_handler_that_is_released_before_it_began_counts_no_more(fixture: Fixture) -> None:
    line, early, last = Line(), User(), User(KeyError("mistake"))
    fixture.sessions.accept(line, "", None)
    await turns(lambda: fixture.sessions.all()[0].ready)
    fixture.sessions.handle(Line, early)
    fixture.sessions.release(early)
    fixture.sessions.handle(Line, last)
    await turns(line.closed.is_set)
    assert early.given == []


async def test_a_connection_is_closed_when_its_last_handler_fails(
    fixture: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line()
    fixture.sessions.handle(Line, User(KeyError("mistake")))
    fixture.sessions.accept(line, "", None)
    await turns(line.closed.is_set)
    await turns(lambda: caplog.records)
    assert ("peer: unexpected error" in caplog.text, "KeyError" in caplog.text) == (True, True)


async def test_others_go_on_when_one_handler_fails(fixture: Fixture) -> None:
    line, user = Line(), User()
    fixture.sessions.handle(Line, user)
    fixture.sessions.handle(Line, User(KeyError("mistake")))
    fixture.sessions.accept(line, "", None)
    await turns(lambda: user.given)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not line.closed.is_set()


async def test_what_a_peer_refuses_is_told_without_a_traceback(
    fixture: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    fixture.sessions.handle(Line, User(OvsdbError("unknown database", "no Open_vSwitch")))
    with pytest.raises(ConnectionError, match="peer: unknown database"):
        await fixture.sessions.serve(Line(), "", None)
    with caplog.at_level(logging.INFO):
        fixture.sessions.accept(Line(), "", None)
        await turns(lambda: caplog.records)
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("INFO", None)]


async def test_the_reason_of_the_end_is_told(fixture: Fixture) -> None:
    line = Line()
    serving = asyncio.create_task(fixture.sessions.serve(line, "", None))
    await asyncio.sleep(0)
    line.reason = "reset"
    line.close()
    with pytest.raises(ConnectionError, match="reset"):
        await serving


async def test_cancelling_closes_the_connection_and_cancels_its_handlers(fixture: Fixture) -> None:
    line, user = Line(), User()
    fixture.sessions.handle(Line, user)
    serving = asyncio.create_task(fixture.sessions.serve(line, "", None))
    await turns(lambda: user.given)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert line.closed.is_set()


async def test_a_connection_that_never_gets_ready_is_closed_too(fixture: Fixture) -> None:
    line = Line()
    line.is_ready.clear()
    fixture.sessions.accept(line, "", None)
    await asyncio.sleep(0)
    fixture.sessions.close()
    assert line.closed.is_set()
    line.is_ready.set()
