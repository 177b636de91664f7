"""What a store, a transaction and the object database raise. Authors of modules import all of it from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcp.derive.view import PendingError
from vlcp.store.contract import StoreError, StoreUnavailableError, TooLargeError
from vlcp.store.known import UndecodableError

__all__ = [
    "AlreadyExistsError",
    "AsyncTransactionLockError",
    "AsyncTransactionLockException",
    "EndlessWalkError",
    "ImpureUpdaterError",
    "NotEmptyError",
    "NotKeptError",
    "RetrieveError",
    "RetryExceededError",
    "StaleError",
    "StoreError",
    "StoreUnavailableError",
    "TooLargeError",
    "TransactionFailedError",
    "TransactionTimeoutError",
    "UndecodableError",
]


class StaleError(StoreUnavailableError):
    """The store is away, and a result that may be old was not wanted. `result` is that result."""

    def __init__(self, result: Any) -> None:
        super().__init__("the store is away, and a result that may be old was not asked for (nostale)")
        self.result = result


class RetrieveError(KeyError, PendingError):
    """A walked key is not known yet. A walker catches it and goes on or returns; it will be called again."""

    def __str__(self) -> str:
        return f"{self.args[0]!r} is not read yet"


class EndlessWalkError(StoreError):
    """Walkers asked for more and more keys and came to no end."""

    status = 503


class NotKeptError(StoreError):
    """Nobody keeps the key of a reference any more, so nothing can be waited for."""

    status = 409


class TransactionFailedError(StoreError):
    """The transaction was given up. Nothing was written."""

    status = 503


class TransactionTimeoutError(TransactionFailedError):
    """The transaction did not come to an end in its time."""


class RetryExceededError(TransactionFailedError):
    """The transaction was begun again more often than allowed."""


class AsyncTransactionLockError(Exception):
    """Raised by an updater to begin again with the asynchronous part, which is given `info` as last_info."""

    def __init__(self, info: Any = None) -> None:
        super().__init__(info)
        self.info = info


AsyncTransactionLockException = AsyncTransactionLockError
"""The name that authors know it by."""


class AlreadyExistsError(StoreError):
    """A value that must be unique is taken by another object. Nothing was written."""

    status = 409


class NotEmptyError(StoreError):
    """A directory that a change demands to be empty has members. Nothing was written."""

    status = 409

    def __init__(self, directory: str, names: Sequence[str]) -> None:
        first = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        super().__init__(f"{directory} is not empty: it has {len(names)} members ({first})")
        self.directory = directory


class ImpureUpdaterError(StoreError):
    """Debugging: an updater gave different results for the same values, or changed what it does not write."""

    status = 500
