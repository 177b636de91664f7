"""Keeping a connection: connect, use it until it ends, wait, and again.

Only the first failure and the recovery are logged: a peer that is away for a night costs two lines.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

C = TypeVar("C")


class Backoff:
    """Growing delays: each twice the last up to `maximum` seconds, shortened by a random part of up to half.

    The random part keeps the hosts of a data centre from coming back all at once.
    """

    def __init__(
        self, first: float = 0.1, maximum: float = 30.0, *, fraction: Callable[[], float] = random.random
    ) -> None:
        """`fraction`: gives numbers from 0 to below 1."""
        self.first = first
        self.maximum = maximum
        self._fraction = fraction
        self._delay = first

    def reset(self) -> None:
        self._delay = self.first

    def delay(self) -> float:
        """The next delay in seconds."""
        delay = self._delay
        self._delay = min(delay * 2, self.maximum)
        return delay * (1 - self._fraction() / 2)


async def keep_connected(
    connect: Callable[[], Awaitable[C]],
    serve: Callable[[C], Awaitable[None]],
    *,
    name: str,
    logger: logging.Logger,
    backoff: Backoff | None = None,
    stable_after: float = 2.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Connect and run `serve(connection)` until it ends, for ever; ends by cancellation, or when not `wanted` any more.

    `serve` owns the connection and closes it. `name` says in the log what is connected, such as
    `OVSDB unix:///run/db.sock`. An `OSError` is an ordinary failure; any other exception is logged with its
    traceback, and the connection is tried again all the same. A connection that lasts `stable_after` seconds
    has recovered; one that ends sooner counts as one more failure of the same outage.
    """
    outage = _Outage(name, logger, backoff or Backoff())
    loop = asyncio.get_running_loop()
    while wanted():
        stable: asyncio.TimerHandle | None = None
        try:
            connection = await connect()
            stable = loop.call_later(stable_after, outage.over)
            await serve(connection)
            if wanted():
                outage.failed("the connection was closed")
        except OSError as error:
            outage.failed(str(error) or type(error).__name__)
        except Exception as error:
            outage.failed_unexpectedly(error)
        finally:
            if stable is not None:
                stable.cancel()
        if wanted():
            await sleep(outage.backoff.delay())


class _Outage:
    """What was said in the log already, and how long to wait."""

    def __init__(self, name: str, logger: logging.Logger, backoff: Backoff) -> None:
        self.backoff = backoff
        self._name = name
        self._logger = logger
        self._failures = 0
        self._unexpected = ""

    def over(self) -> None:
        if self._failures:
            self._logger.info("%s: connected again after %d failures", self._name, self._failures)
        self._failures = 0
        self._unexpected = ""
        self.backoff.reset()

    def failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            self._logger.warning("%s: %s; trying again", self._name, reason)

    def failed_unexpectedly(self, error: Exception) -> None:
        self._failures += 1
        if self._unexpected != repr(error):
            self._unexpected = repr(error)
            self._logger.error("%s: unexpected error; trying again", self._name, exc_info=error)
