"""Errors that belong to HTTP itself; the statuses are those of RFC 9110 section 15.5."""

from __future__ import annotations

from collections.abc import Mapping

from vlcp.server.api import ApiError


class RequestError(ApiError):
    """A request that cannot be served as it is."""

    status = 400
    headers: Mapping[str, str] = {}
    """Further headers of the answer."""


class UnauthorizedError(RequestError):
    """The client must say who it is: with a user's name and a password for the realm (RFC 7617)."""

    status = 401

    def __init__(self, text: str, realm: str = "all") -> None:
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        self.headers = {"WWW-Authenticate": f'Basic realm="{quoted}", charset="UTF-8"'}
        super().__init__(text)


class MethodNotAllowedError(RequestError):
    """The path exists, but not with this method. `allowed` goes into the header Allow."""

    status = 405

    def __init__(self, method: str, allowed: frozenset[str]) -> None:
        names = ", ".join(sorted(allowed))
        self.headers = {"Allow": names}
        super().__init__(f"method {method} is not allowed here; use {names}")


class BodyTooSlowError(RequestError):
    """The body did not arrive in time."""

    status = 408


class BodyTooLargeError(RequestError):
    """The body is longer than the limit."""

    status = 413


class HeadersTooLargeError(RequestError):
    """The headers together are longer than the limit (RFC 6585 section 5)."""

    status = 431


class VersionError(RequestError):
    """The request is of a version of HTTP that is not spoken here."""

    status = 505


class RewriteError(RequestError):
    """Rewrites go round in a circle, or on and on."""

    status = 500


class PreconditionError(RequestError):
    """What the client knows is out of date."""

    status = 412


class RangeError(RequestError):
    """There is nothing in the range of something that has `size` bytes."""

    status = 416

    def __init__(self, text: str, size: int) -> None:
        self.headers = {"Content-Range": f"bytes */{size}"}
        super().__init__(text)
