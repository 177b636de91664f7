"""Keeping a connection: delays, log lines, and what ends it."""

import asyncio
import logging

import pytest

from vlcp.link.reconnect import Backoff, keep_connected

LOGGER = logging.getLogger("test.reconnect")


class Ended(BaseException):
    """Ends a test's loop: nothing in the tested code may swallow it."""


class Script:
    """Plays a list: an exception is a failed connect, a number a connection that lasts so many seconds."""

    def __init__(self, *steps: float | Exception) -> None:
        self.steps = list(steps)
        self.delays: list[float] = []

    async def connect(self) -> float:
        if not self.steps:
            raise Ended
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def sleep(self, delay: float) -> None:
        self.delays.append(delay)

    async def run(self) -> None:
        with pytest.raises(Ended):
            await keep_connected(
                self.connect,
                asyncio.sleep,
                name="OVSDB tcp://h:1",
                logger=LOGGER,
                backoff=Backoff(fraction=lambda: 0.0),
                stable_after=0.02,
                sleep=self.sleep,
            )


async def test_delays_double_up_to_30_seconds() -> None:
    script = Script(*[ConnectionRefusedError("refused")] * 11)
    await script.run()
    assert script.delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_the_random_part_shortens_a_delay_by_at_most_half() -> None:
    fractions = iter([0.0, 0.5, 0.999])
    backoff = Backoff(first=8, maximum=8, fraction=lambda: next(fractions))
    assert [backoff.delay() for _ in range(3)] == pytest.approx([8.0, 6.0, 4.004])


async def test_a_connection_that_lasted_makes_the_next_delay_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = ConnectionRefusedError("refused")
    script = Script(refused, refused, 0.1, refused)
    await script.run()
    assert script.delays == [0.1, 0.2, 0.1, 0.2]


async def test_a_peer_that_drops_us_at_once_is_not_hammered() -> None:
    script = Script(0, 0, 0, 0)
    await script.run()
    assert script.delays == [0.1, 0.2, 0.4, 0.8]


async def test_an_outage_is_two_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Script(*[ConnectionRefusedError("no route")] * 50, 0, 0.1).run()
    assert [record.getMessage() for record in caplog.records] == [
        "OVSDB tcp://h:1: no route; trying again",
        "OVSDB tcp://h:1: connected again after 51 failures",
        "OVSDB tcp://h:1: the connection was closed; trying again",
    ]


async def test_a_defect_is_logged_once_with_its_traceback_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script(KeyError("x"), KeyError("x"), KeyError("x"))
    await script.run()
    assert len(script.delays) == 3
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_cancelling_ends_it_and_the_connection_under_way() -> None:
    connected, ended = asyncio.Event(), asyncio.Event()

    async def connect() -> None: ...

    async def serve(_: None) -> None:
        connected.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(keep_connected(connect, serve, name="x", logger=LOGGER))
    await connected.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
