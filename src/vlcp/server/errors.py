"""What calls between modules, and loading them, may raise; module authors import the kinds from here.

An error that a caller may have caused, or can do something about, is an exception with an attribute `status`
(400 to 599, with the meaning of RFC 9110 section 15). Any other exception is our own fault. In the process all of
them reach the caller unchanged, whatever their class; over HTTP they become the status and the text.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ApiError",
    "BadParameterError",
    "CallTimeoutError",
    "ConflictError",
    "ForbiddenError",
    "ModuleError",
    "NoSuchApiError",
    "NoSuchModuleError",
    "NotFoundError",
    "RejectedError",
    "UnavailableError",
    "status_of",
]


class ApiError(Exception):
    """A deliberate answer to a call."""

    status: ClassVar[int] = 500


class BadParameterError(ApiError):
    """A parameter is missing, unknown or has a value that is not allowed."""

    status = 400


class RejectedError(ApiError):
    """No handler takes the call."""

    status = 400


class ForbiddenError(ApiError):
    """The caller may not do this."""

    status = 403


class NotFoundError(ApiError):
    """There is no such module, API or object."""

    status = 404


class NoSuchApiError(RejectedError, NotFoundError):
    """There is no such module or API; unlike its base, this never tells that an object is missing."""

    status = 404


class ConflictError(ApiError):
    """The present state does not allow it, for example because a name is taken."""

    status = 409


class UnavailableError(ApiError):
    """Something that the call needs is away; the same call may succeed later."""

    status = 503


class CallTimeoutError(ApiError):
    """The call was not answered in the time that the caller gave it. What it began may be done all the same."""

    status = 504


class ModuleError(Exception):
    """A module cannot be found, loaded or unloaded. The text says which and why.

    `status` is what a caller of `manager/loadmodule` is answered with.
    """

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.status = status


class NoSuchModuleError(ModuleError):
    """There is no module class at a loading path."""

    def __init__(self, text: str) -> None:
        super().__init__(text, 404)


def status_of(error: BaseException) -> int | None:
    """The status of a deliberate answer; None for an error that nobody meant to answer with."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) and 400 <= status <= 599 else None
