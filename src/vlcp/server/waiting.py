"""Waiting until something is so, in calls with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from vlcp.server.errors import CallTimeoutError, UnavailableError

T = TypeVar("T")
Timeout = Annotated[float, msgspec.Meta(ge=0)]
"""A parameter: seconds that a call may wait; with 0 it answers at once."""


class Waiting:
    """Those who wait look again whenever they are told that something has changed; several changes in one turn of the
    event loop count once."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._end: str | None = None

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self, reason: str) -> None:
        """Nothing will change any more: who waits, or begins to, gets `UnavailableError` with this text."""
        self._end = reason
        self.tell()

    async def until(self, find: Callable[[], T | None], seconds: float, missing: str) -> T:
        """What `find` finds, as soon as that is not None. Raises what `find` raises.

        `CallTimeoutError`: it found nothing in this time; the text says what is `missing`.
        """
        try:
            async with asyncio.timeout(seconds):
                while (found := find()) is None:
                    if self._end is not None:
                        raise UnavailableError(self._end)
                    await self._changed.wait()
        except TimeoutError:
            raise CallTimeoutError(f"{missing}, and did not come within {seconds:g} s") from None
        return found
