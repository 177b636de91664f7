"""Virtual hosts: who answers at which path, and how errors look.

A host is served on any number of listeners. Every answer that is not a handler's own is JSON: `{"error": text}`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from vlcp.server.api import NotFoundError, status_of
from vlcp.server.config import Limit, Seconds
from vlcp.web import parameters
from vlcp.web.errors import MethodNotAllowedError, RequestError

logger = logging.getLogger(__name__)
_LONGEST_TEXT = 2000
"""Characters of an error; it may repeat what a caller gave, however long that is."""
_ACCESS_FORMAT = '%a "%r" %s %b bytes in %Tf s'

Handler = Callable[[web.BaseRequest, re.Match[str]], Awaitable[web.StreamResponse]]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may take; the keys of `protocol.http.*`."""

    idletimeout: Seconds = 20.0
    """Seconds until an idle connection is closed."""
    headlinelimit: Limit = 8192
    """Bytes of the request line, and of one header."""
    headercountlimit: Limit = 1024
    """Number of headers."""


class Route:
    """One handler, for the paths that a pattern matches whole, with some methods. HEAD goes where GET goes."""

    def __init__(self, pattern: str, methods: Iterable[str], handler: Handler) -> None:
        self.pattern = re.compile(pattern)
        allowed = frozenset(method.upper() for method in methods)
        self.methods = allowed | {"HEAD"} if "GET" in allowed else allowed
        self.handler = handler


class VirtualHost:
    """The routes of one host name space, called by its configured name; the default one is called ''."""

    def __init__(self, name: str, bodylimit: int, limits: Limits) -> None:
        self.name = name
        self.names: set[str] = set()
        """Host names in the URLs of its listeners, in lower case."""
        self._bodylimit = bodylimit
        self._limits = limits
        self._routes: list[Route] = []
        self._counts: Counter[str] = Counter()
        self._server: web.Server | None = None

    def add(self, route: Route) -> None:
        """Serve a route from now on; earlier routes win."""
        self._routes.append(route)

    def remove(self, route: Route) -> None:
        """Serve a route no longer."""
        self._routes.remove(route)

    def protocol(self) -> asyncio.Protocol:
        """A protocol for one accepted connection."""
        return Connection(
            self._manager(),
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._limits.idletimeout,
            max_line_size=self._limits.headlinelimit,
            max_field_size=self._limits.headlinelimit,
            max_headers=self._limits.headercountlimit,
            lingering_time=1.0,
            access_log=logger,
            access_log_format=_ACCESS_FORMAT,
            logger=logger,
        )

    def _manager(self) -> web.Server:
        if self._server is None:
            request = partial(
                web.BaseRequest,
                loop=asyncio.get_running_loop(),
                client_max_size=self._bodylimit,
                client_max_fields=parameters.MOST_FIELDS,
            )
            self._server = web.Server(self.answer, request_factory=request)
        return self._server

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Find the handler and call it; its errors become answers."""
        self._counts["requests"] += 1
        try:
            route, match = self._route(request)
            response = await route.handler(request, match)
        except Exception as error:
            response = failure(error)
        self._counts[f"status {response.status}"] += 1
        return response

    def _route(self, request: web.BaseRequest) -> tuple[Route, re.Match[str]]:
        path = decoded_path(request.raw_path)
        found = [(route, match) for route in self._routes if (match := route.pattern.fullmatch(path))]
        for route, match in found:
            if request.method in route.methods:
                return route, match
        if found:
            allowed = frozenset[str]().union(*(route.methods for route, _ in found))
            raise MethodNotAllowedError(request.method, allowed)
        raise NotFoundError(f"nothing answers at {path!r}")

    def connections(self) -> list[web.RequestHandler]:
        """The open connections."""
        return self._server.connections if self._server else []

    async def shutdown(self, limit: float) -> None:
        """Close idle connections now, busy ones after their answer, all after `limit` seconds at the latest."""
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(limit / 2)

    def statistics(self) -> dict[str, int]:
        """Counts of requests and of answers by status, and the number of open connections."""
        return {"connections": len(self.connections()), **self._counts}


class Connection(web.RequestHandler):
    """One accepted connection, whose answer to a malformed request is JSON too."""

    __slots__ = ()

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


def decoded_path(raw: str) -> str:
    """The path of a request target, percent-decoded. Raises `RequestError`."""
    path = raw.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):  # the absolute form, RFC 9112 section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("the path is not UTF-8 text after percent-decoding") from None


def failure(error: Exception, *, details: bool = True, trace: bool = False) -> web.Response:
    """The answer for an error: its own status, or 500 with a log entry.

    Without `details` the text says only what the status means; with `trace` the Python traceback is added.
    """
    status, text = status_of(error), str(error)
    if status is None:
        status, text = 500, f"internal error: {type(error).__name__}: {error}"
        logger.error("a request failed", exc_info=error)
    frames = "".join(traceback.format_exception(error)) if trace else None
    response = error_response(status, text if details else HTTPStatus(status).phrase, frames)
    if isinstance(error, MethodNotAllowedError):
        response.headers["Allow"] = error.allowed
    return response


def error_response(status: int, text: str, trace: str | None = None) -> web.Response:
    """`{"error": text}`, and the traceback if there is one."""
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    body = {"error": shown} if trace is None else {"error": shown, "trace": trace}
    return json_response(msgspec.json.encode(body), status)


def json_response(body: bytes, status: int = 200) -> web.Response:
    """An answer that is JSON text already."""
    headers = {"Server": "VLCP"}
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
