"""Virtual hosts: who answers at which path.

A host is served on any number of listeners. What needs aiohttp is imported when the first connection comes.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from vlcp.server.api import NotFoundError
from vlcp.server.config import Limit, Seconds
from vlcp.web.errors import MethodNotAllowedError, RequestError

if TYPE_CHECKING:
    from aiohttp import web

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
        from vlcp.web import connection

        if self._server is None:
            self._server = connection.server(self.answer, self._bodylimit)
        limits = self._limits
        return connection.Connection(
            self._server, limits.idletimeout, limits.headlinelimit, limits.headercountlimit
        )

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Find the handler and call it; its errors become answers."""
        self._counts["requests"] += 1
        try:
            route, match = self._route(request)
            response = await route.handler(request, match)
        except Exception as error:
            from vlcp.web.answers import failure

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


def decoded_path(raw: str) -> str:
    """The path of a request target, percent-decoded. Raises `RequestError`."""
    path = raw.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):  # the absolute form, RFC 9112 section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("the path is not UTF-8 text after percent-decoding") from None
