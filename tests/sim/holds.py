"""How long a task computes before it lets the event loop go on."""

from __future__ import annotations

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any


async def timed(coroutine: Coroutine[Any, Any, Any], holds: list[float]) -> Any:
    """Run a coroutine; what it computes from each time that it goes on until it waits again is put into `holds`.

    That is in seconds of the processor, which other processes do not make longer.
    """
    return await _timed(coroutine, holds)


@types.coroutine
def _timed(coroutine: Coroutine[Any, Any, Any], holds: list[float]) -> Generator[Any, Any, Any]:
    go_on, argument = coroutine.send, None
    while True:
        started = time.thread_time()
        try:
            awaited = go_on(argument)
        except StopIteration as end:
            return end.value
        finally:
            holds.append(time.thread_time() - started)
        try:
            go_on, argument = coroutine.send, (yield awaited)
        except BaseException as error:
            go_on, argument = coroutine.throw, error
