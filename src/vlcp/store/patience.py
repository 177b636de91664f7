"""How long a store may take for one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from vlcp.store.contract import StoreUnavailableError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds."""


class NoAnswerError(StoreUnavailableError):
    """The store did not answer in time. It may still do what it was asked for."""


async def answered(answer: Awaitable[T], limit: float = PATIENCE) -> T:
    """What the store answers; `NoAnswerError` if that takes longer than `limit` seconds."""
    try:
        async with asyncio.timeout(limit) as timer:
            return await answer
    except TimeoutError:
        if timer.expired():
            raise NoAnswerError(f"the store did not answer within {limit:g} s") from None
        raise
