"""How long a task holds the event loop at a time."""

from __future__ import annotations

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any


async def timed(coroutine: Coroutine[Any, Any, Any], holds: list[float]) -> Any:
    """Run a coroutine; the seconds from each time that it goes on until it waits again are put into `holds`."""
    return await _timed(coroutine, holds)


@types.coroutine
def _timed(coroutine: Coroutine[Any, Any, Any], holds: list[float]) -> Generator[Any, Any, Any]:
    go_on, argument = coroutine.send, None
    while True:
        started = time.perf_counter()
        try:
            awaited = go_on(argument)
        except StopIteration as end:
            return end.value
        finally:
            holds.append(time.perf_counter() - started)
        try:
            go_on, argument = coroutine.send, (yield awaited)
        except BaseException as error:
            go_on, argument = coroutine.throw, error
