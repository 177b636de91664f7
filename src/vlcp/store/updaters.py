"""Transactions by the functions of other authors: updaters, walkers, and what runs them again.

An updater or walker gets values of its own, so it may change them; only what it gives back is written, all or none. It
may be called any number of times. What it raises reaches the caller, and nothing is written then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from vlcp.derive.view import PendingError
from vlcp.store.dataobject import with_claims
from vlcp.store.errors import (
    AsyncTransactionLockError,
    ImpureUpdaterError,
    RetrieveError,
    RetryExceededError,
    TransactionTimeoutError,
)
from vlcp.store.reference import Reference
from vlcp.store.transaction import Outcome, TransactionView, Transactor

Updater = Callable[..., tuple[Iterable[Any], Iterable[Any]]]
Prepared = tuple[Any, Any] | None


class Forms(Protocol):
    """How values are stored, and what keys are: of the database that the updaters are for."""

    def encode(self, key: str, value: Any) -> bytes:
        """The stored form of a value."""
        ...

    def own(self, key: str, value: Any) -> Any:
        """A value of the caller's own."""
        ...

    def keys(self, keys: Iterable[Any]) -> list[str]:
        """Keys, checked; objects and references stand for theirs."""
        ...


class Updaters:
    """Runs the functions of authors as transactions.

    With `checking` each is called twice, on equal values: `ImpureUpdaterError` if the results differ, or if a walker
    changed a value that it did not write.
    """

    def __init__(self, transactor: Transactor, forms: Forms, *, checking: bool = False) -> None:
        self._transactor = transactor
        self._forms = forms
        self._checking = checking

    async def transact(
        self, keys: Sequence[str], updater: Updater, times: Sequence[int], limit: float
    ) -> None:
        """Write what updater(keys, values, *times) returns, (keys, values), within `limit` seconds."""

        def change(view: TransactionView, keys: Sequence[str]) -> Outcome:
            stored = view.many(keys)

            def update() -> dict[str, Any]:
                values = [self._forms.own(key, value) for key, value in zip(keys, stored, strict=True)]
                return self._paired(updater(list(keys), values, *times))

            return Outcome(with_claims(view, self._checked(update)))

        await self._transactor.run(change, keys, timeout=limit)

    async def walk(
        self, keys: Sequence[str], walker: Callable[..., Any], times: Sequence[int], limit: float
    ) -> None:
        """Write what walker(walk, write, *times) writes, within `limit` seconds; `keys` are read at the beginning."""

        def change(view: TransactionView, keys: Sequence[str]) -> Outcome:
            with contextlib.suppress(PendingError):
                view.many(keys)
            writes = self._checked(lambda: self._walked(view, walker, times))
            return Outcome({}) if view.wants else Outcome(with_claims(view, writes))

        await self._transactor.run(change, keys, timeout=limit)

    def _walked(
        self, view: TransactionView, walker: Callable[..., Any], times: Sequence[int]
    ) -> dict[str, Any]:
        """The writes of one call of a walker. What it reads is remembered, so a second read is the same object."""
        writes: dict[str, Any] = {}
        read: dict[str, Any] = {}

        def walk(key: Any) -> Any:
            [key] = self._forms.keys([key])
            if key in writes:
                return writes[key]
            if key not in read:
                try:
                    read[key] = self._forms.own(key, view.get(key))
                except PendingError:
                    raise RetrieveError(key) from None
            return read[key]

        def write(key: Any, value: Any) -> None:
            writes[self._forms.keys([key])[0]] = _plain(value)

        walker(walk, write, *times)
        if self._checking:
            self._check_unwritten(view, read, writes)
        return writes

    def _check_unwritten(self, view: TransactionView, read: dict[str, Any], writes: dict[str, Any]) -> None:
        for key, value in read.items():
            if key not in writes and self._encoded(key, value) != self._encoded(key, view.get(key)):
                raise ImpureUpdaterError(f"the walker changed the value of {key!r}, but did not write it")

    def _checked(self, update: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        writes = update()
        if self._checking:
            again = update()
            for key in writes.keys() | again.keys():
                same = key in writes and key in again
                if not same or self._encoded(key, writes[key]) != self._encoded(key, again[key]):
                    raise ImpureUpdaterError(f"called twice, the updater did not write the same to {key!r}")
        return writes

    def _encoded(self, key: str, value: Any) -> bytes | None:
        return None if value is None else self._forms.encode(key, value)

    def _paired(self, written: Any) -> dict[str, Any]:
        """Key -> value of what an updater returned; of a key that is there twice the last value counts."""
        try:
            keys, values = map(list, written)
        except (TypeError, ValueError):
            raise TypeError(f"an updater must return (keys, values), not {written!r:.100}") from None
        if len(keys) != len(values):
            raise ValueError(f"the updater returned {len(keys)} keys, but {len(values)} values")
        return dict(zip(self._forms.keys(keys), map(_plain, values), strict=True))


def _plain(value: Any) -> Any:
    """What is written for a value: a reference stands for its object."""
    return value.getvalue() if isinstance(value, Reference) else value


async def run_again(
    prepare: Callable[[Any], Awaitable[Prepared]],
    run: Callable[[Any, Any, float], Awaitable[None]],
    maxretry: int | None,
    limit: float,
) -> None:
    """Run what `prepare(last_info)` returns as `run(*prepared, seconds left)`, until it is done.

    None from `prepare` ends it without a change. `AsyncTransactionLockError` from `run` begins again, with its info
    as the next last_info, at most `maxretry` times: then `RetryExceededError`. `TransactionTimeoutError` after `limit`
    seconds.
    """
    end = asyncio.get_running_loop().time() + limit
    retries, info = 0, None
    while True:
        prepared = await _in_time(prepare(info), end, limit)
        if prepared is None:
            return
        try:
            await run(*prepared, max(0.0, end - asyncio.get_running_loop().time()))
            return
        except AsyncTransactionLockError as lock:
            info = lock.info
        retries += 1
        if maxretry is not None and retries > maxretry:
            raise RetryExceededError(f"the transaction was begun again {maxretry} times; nothing was written")


async def _in_time(preparation: Awaitable[Prepared], end: float, limit: float) -> Prepared:
    try:
        async with asyncio.timeout_at(end) as timer:
            return await preparation
    except TimeoutError:
        if timer.expired():
            raise TransactionTimeoutError(
                f"the transaction did not end in {limit:g} s; nothing was written"
            ) from None
        raise
