"""Connections of HTTP clients, on aiohttp."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from vlcp.web.answers import error_response
from vlcp.web.limits import Limits
from vlcp.web.parameters import MOST_FIELDS, Request

logger = logging.getLogger(__name__)
_ACCESS_FORMAT = '%a "%r" %s %b bytes in %Tf s'
_TELLS_HEADERS = 1
"""The limit of a header is that of the request line and this: the library tells them apart by nothing else."""


def server(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], bodylimit: Callable[[], int]
) -> web.Server:
    """What the connections of one virtual host share: who answers, and how many bytes a body may have now."""
    made = partial(Request, loop=asyncio.get_running_loop(), client_max_fields=MOST_FIELDS)

    def request(*about: Any) -> Request:
        return made(*about, client_max_size=bodylimit())

    return web.Server(answer, request_factory=request)


class Connection(web.RequestHandler):
    """One connection that was accepted at an endpoint. Its answer to a malformed request is JSON too."""

    __slots__ = ("_fastfail", "endpoint")

    def __init__(self, shared: web.Server, endpoint: object, limits: Limits) -> None:
        self.endpoint = endpoint
        self._fastfail = limits.fastfail
        super().__init__(
            shared,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idletimeout,
            max_line_size=limits.headlinelimit,
            max_field_size=limits.headlinelimit + _TELLS_HEADERS,
            max_headers=limits.headercountlimit,
            lingering_time=limits.closetimeout,
            access_log=logger,
            access_log_format=_ACCESS_FORMAT,
            logger=logger,
        )

    @property
    def requests(self) -> int:
        """How many requests came on this connection."""
        return self._request_count

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that could not be parsed; the connection is closed after it."""
        logger.debug("malformed request from %s: %s", request.remote, message)
        status, what = self._malformed(exc) or (status, message or HTTPStatus(status).phrase)
        kind = "malformed request" if status < 500 else "internal error"
        response = error_response(status, f"{kind}: {what.strip().splitlines()[0].rstrip(':')}")
        response.headers["Server"] = "VLCP"
        response.force_close()
        if self._fastfail:
            self.force_close()
        return response

    def _malformed(self, error: BaseException | None) -> tuple[int, str] | None:
        """Status (RFC 9110 section 15.5.15, RFC 6585 section 5) and text when something is too long."""
        if isinstance(error, LineTooLong):
            if error.args[1] == self.max_line_size:
                return 414, f"the request line has more than {self.max_line_size} bytes"
            return 431, f"a header has more than {self.max_line_size} bytes"
        if isinstance(error, BadHttpMessage) and error.message.startswith("Too many headers"):
            return 431, f"more than {self.max_headers} headers"
        return None

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What went wrong outside the handlers. The rest of a body that was refused is the client's own affair."""
        if isinstance(options.get("exc_info"), web.RequestPayloadError):
            logger.debug("the rest of a refused body is malformed: %s", options["exc_info"])
        else:
            super().log_exception(*args, **options)
