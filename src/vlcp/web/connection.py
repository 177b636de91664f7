"""Connections of HTTP clients, on aiohttp."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web

from vlcp.web.answers import error_response
from vlcp.web.parameters import MOST_FIELDS

logger = logging.getLogger(__name__)
_ACCESS_FORMAT = '%a "%r" %s %b bytes in %Tf s'


def server(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], bodylimit: int) -> web.Server:
    """What the connections of one virtual host share: who answers, and how many bytes a body may have."""
    request = partial(
        web.BaseRequest,
        loop=asyncio.get_running_loop(),
        client_max_size=bodylimit,
        client_max_fields=MOST_FIELDS,
    )
    return web.Server(answer, request_factory=request)


class Connection(web.RequestHandler):
    """One accepted connection, whose answer to a malformed request is JSON too.

    `idle`: seconds until it is closed when it is not used. `longest`: bytes of the request line, and of one header;
    `headers`: how many of them a request may have.
    """

    __slots__ = ()

    def __init__(self, shared: web.Server, idle: float, longest: int, headers: int) -> None:
        super().__init__(
            shared,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle,
            max_line_size=longest,
            max_field_size=longest,
            max_headers=headers,
            lingering_time=1.0,
            access_log=logger,
            access_log_format=_ACCESS_FORMAT,
            logger=logger,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that could not be parsed; the connection is closed after it."""
        logger.debug("malformed request from %s: %s", request.remote, message)
        first = (message or HTTPStatus(status).phrase).strip().splitlines()[0].rstrip(":")
        response = error_response(status, f"malformed request: {first}")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What went wrong outside the handlers. The rest of a body that was refused is the client's own affair."""
        if isinstance(options.get("exc_info"), web.RequestPayloadError):
            logger.debug("the rest of a refused body is malformed: %s", options["exc_info"])
        else:
            super().log_exception(*args, **options)
