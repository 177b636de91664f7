"""Virtual hosts: who answers at which path.

A host is served on any number of listeners. What needs aiohttp is imported when the first connection comes.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from vlcp.server.api import CallTimeoutError, NotFoundError
from vlcp.web.environment import Environment
from vlcp.web.errors import (
    HeadersTooLargeError,
    MethodNotAllowedError,
    RequestError,
    RewriteError,
    VersionError,
)
from vlcp.web.limits import Limits
from vlcp.web.reply import Reply, redirect

if TYPE_CHECKING:
    from aiohttp import web

    from vlcp.web.connection import Connection

    Handler = Callable[[Environment, re.Match[str]], Awaitable[web.StreamResponse]]

_SERVER = "VLCP"
_asking: ContextVar[Connection | None] = ContextVar("the connection whose request is answered", default=None)


class Route:
    """One handler, for the paths that a pattern matches whole, with some methods. HEAD goes where GET goes.

    The handler gets the request and the match, and answers or raises; `vlcp.web.routes` makes friendlier ones. With
    `host` it is only for requests to this host name.
    """

    def __init__(
        self, pattern: str, methods: Iterable[str], handler: Handler, host: str | None = None
    ) -> None:
        self.pattern = re.compile(pattern)
        allowed = frozenset(method.upper() for method in methods)
        self.methods = allowed | {"HEAD"} if "GET" in allowed else allowed
        self.handler = handler
        self.host = host and host.lower()

    def match(self, env: Environment) -> re.Match[str] | None:
        """The match of the path, unless the route is for another host."""
        match = self.pattern.fullmatch(env.path)
        return match if match is None or self.host is None or self.host == env.host else None


class VirtualHost:
    """The routes of one host name space, called by its configured name; the default one is called ''."""

    def __init__(self, name: str, bodylimit: int, limits: Limits) -> None:
        self.name = name
        self.names: set[str] = set()
        """Host names in the URLs of its listeners, in lower case."""
        self.limits = limits
        """What requests on connections to come may take."""
        self.bodylimit = bodylimit
        """Bytes that the body of a request may have."""
        self._routes: list[Route] = []
        self._counts: Counter[str] = Counter()
        self._server: web.Server | None = None

    def add(self, *routes: Route) -> None:
        """Serve routes from now on; earlier ones win."""
        self._routes += routes

    def remove(self, *routes: Route) -> None:
        """Serve routes no longer; those that are not served harm nothing."""
        self._routes = [route for route in self._routes if route not in routes]

    def protocol(self, endpoint: object = None) -> asyncio.Protocol:
        """A protocol for one connection that was accepted at an endpoint."""
        from vlcp.web import connection

        if self._server is None:
            self._server = connection.server(self.answer, lambda: self.bodylimit)
        return connection.Connection(self._server, endpoint, self.limits)

    # -- answering

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Find the handler and call it; its errors become answers."""
        self._counts["requests"] += 1
        _asking.set(cast("Connection", request.protocol))
        env = Environment(request, self._rewrite, "", "", self.limits.defaulthost)
        try:
            response = await self._first(env)
        except Exception as error:
            response = await self._failed(env, error)
        finally:
            for call in env.at_end:
                call()
        self._finish(env, response)
        self._counts[f"status {response.status}"] += 1
        return response

    async def _first(self, env: Environment) -> web.StreamResponse:
        raw, version = env.request.raw_path, env.request.version
        if version.major != 1:
            raise VersionError(f"HTTP/{version.major}.{version.minor} is not spoken here; use HTTP/1.1")
        if raw == "*" and env.method == "OPTIONS":  # about the server as a whole, RFC 9110 section 9.3.7
            from vlcp.web.answers import respond

            return respond(Reply(content_type="text/plain"))
        self._check_headers(env.request)
        path, _, querystring = raw.partition("#")[0].partition("?")
        env.path, env.querystring = decoded_path(path, plus=self.limits.unquoteplus), querystring
        limit = self.limits.processtimeout
        if limit is None:
            return await self._dispatch(env)
        try:
            async with asyncio.timeout(limit) as timer:
                return await self._dispatch(env)
        except TimeoutError:
            if not timer.expired():
                raise
            raise CallTimeoutError(f"there was no answer within {limit:g} s") from None

    def _check_headers(self, request: web.BaseRequest) -> None:
        limit, headers = self.limits.headerlimit, request.raw_headers
        if len(headers) * self.limits.headlinelimit <= limit:
            return
        if sum(len(name) + len(value) for name, value in headers) > limit:
            raise HeadersTooLargeError(f"the headers have more than {limit} bytes")

    async def _dispatch(self, env: Environment) -> web.StreamResponse:
        found = [(route, match) for route in self._routes if (match := route.match(env))]
        for route, match in found:
            if env.method in route.methods:
                return await route.handler(env, match)
        if found:
            allowed = frozenset[str]().union(*(route.methods for route, _ in found))
            raise MethodNotAllowedError(env.method, allowed)
        raise NotFoundError(f"nothing answers at {env.path!r}")

    async def _rewrite(self, env: Environment, path: str, querystring: str) -> web.StreamResponse:
        way = " -> ".join((*env.rewritefrom, env.path, path))
        if path in (*env.rewritefrom, env.path):
            raise RewriteError(f"rewrites go round in a circle: {way}")
        if len(env.rewritefrom) >= self.limits.rewritedepthlimit:
            raise RewriteError(f"more rewrites than protocol.http.rewritedepthlimit allows: {way}")
        return await self._dispatch(env.elsewhere(path, querystring))

    async def _failed(self, env: Environment, error: Exception) -> web.StreamResponse:
        """The answer for an error, or what is to be sent in its place."""
        from aiohttp import web

        from vlcp.web.answers import failure, respond

        if isinstance(error, web.HTTPException):  # an answer that those who know aiohttp may raise
            return web.Response(status=error.status, headers=error.headers, body=error.body)
        response = failure(error, trace=self.limits.showerrorinfo)
        target = self.limits.errorredirect.get(response.status)
        if target and target.partition("?")[0] != env.path:  # or clients would come back for ever
            return respond(redirect(target))
        if target := self.limits.errorrewrite.get(response.status):
            return await self._page(env, target, response)
        return response

    async def _page(self, env: Environment, target: str, response: web.StreamResponse) -> web.StreamResponse:
        """The page for an error, with the status and the headers of the error; the error itself without the page."""
        from vlcp.web.answers import failure

        path, _, querystring = target.partition("?")
        try:
            page = await self._dispatch(env.instead(response.status, path, querystring))
        except Exception as error:
            failure(error)  # which logs what is not deliberate
            return response
        if page.status == 200:
            page.set_status(response.status)
        for name, value in response.headers.items():
            if name.lower() not in ("content-type", "content-length"):
                page.headers.setdefault(name, value)
        return page

    def _finish(self, env: Environment, response: web.StreamResponse) -> None:
        """Add the headers that are for every answer, unless it is under way already."""
        if response.prepared:
            return
        for name, value in env.sent_headers:
            response.headers.add(name, value)
        for name, value in self.limits.default_headers():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Server", _SERVER)

    # -- connections

    def connections(self) -> list[Connection]:
        """The open connections."""
        return cast("list[Connection]", self._server.connections) if self._server else []

    async def shutdown(self, limit: float) -> Connection | None:
        """Close idle connections now, busy ones after their answer, all after `limit` seconds at the latest.

        A request that asked for just this cannot be waited for: its connection is returned, for a later `shutdown`.
        """
        if self._server is None:
            return None
        self._server.pre_shutdown()
        asker, connections = _asking.get(), self.connections()
        await asyncio.gather(*(c.shutdown(limit / 2) for c in connections if c is not asker))
        return asker if asker in connections else None

    def statistics(self) -> dict[str, int]:
        """Counts of requests and of answers by status, and the number of open connections."""
        return {"connections": len(self.connections()), **self._counts}


def decoded_path(raw: str, *, plus: bool = False) -> str:
    """The path of a request target, percent-decoded; with `plus` its `+` are spaces. Raises `RequestError`."""
    path = raw
    if not path.startswith("/"):  # the absolute form, RFC 9112 section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    try:
        return unquote(path.replace("+", " ") if plus else path, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("the path is not UTF-8 text after percent-decoding") from None
