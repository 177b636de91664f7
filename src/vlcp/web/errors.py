"""Errors that belong to HTTP itself; the statuses are those of RFC 9110 section 15.5."""

from __future__ import annotations

from vlcp.server.api import ApiError


class RequestError(ApiError):
    """A request that cannot be served as it is."""

    status = 400


class MethodNotAllowedError(RequestError):
    """The path exists, but not with this method. `allowed` goes into the header Allow."""

    status = 405

    def __init__(self, method: str, allowed: frozenset[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"method {method} is not allowed here; use {self.allowed}")


class BodyTooSlowError(RequestError):
    """The body did not arrive in time."""

    status = 408


class BodyTooLargeError(RequestError):
    """The body is longer than the limit."""

    status = 413
