"""Kinds of routes for the authors of modules; each function makes one for `VirtualHost.add`.

A pattern is a regular expression for the whole decoded path. Handlers are methods or functions, also asynchronous
ones, that return what `vlcp.web.reply.reply` takes, or an answer of aiohttp; an error with a status is answered with
that status. GET brings HEAD with it. Earlier routes win.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from vlcp.server.api import BadParameterError
from vlcp.server.signature import Signature
from vlcp.web import origin
from vlcp.web.environment import Environment
from vlcp.web.host import Route
from vlcp.web.reply import redirect as redirection
from vlcp.web.reply import reply

if TYPE_CHECKING:
    from aiohttp import web

    Check = Callable[[Environment, Mapping[str, Any]], Awaitable[object] | object]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SOURCES = frozenset({"query", "cookies", "files"})


def plain(
    pattern: str, handler: Callable[..., Any], *, methods: Iterable[str] = ("GET",), host: str | None = None
) -> Route:
    """Answer with `handler(env)`; named groups of the pattern are further arguments, as text.

    With `host` only requests to this host name are answered.
    """

    async def answer(env: Environment, match: re.Match[str]) -> web.StreamResponse:
        return await _answered(handler(env, **match.groupdict()))

    return Route(pattern, methods, answer, host)


def arguments(
    pattern: str,
    handler: Callable[..., Any],
    *,
    methods: Iterable[str] = ("POST",),
    host: str | None = None,
    also: Iterable[str] = (),
    check: Check | None = None,
    othersites: bool = False,
) -> Route:
    """Answer with `handler(env, name=value, ...)`, where the request has the names and values.

    They are those of the query of a GET and of the form or JSON object of a POST; with `also` those in the "query" of
    a POST, "cookies" and "files" (as `vlcp.web.parameters.File`) too. Named groups of the pattern win over all of
    them. Values are converted to the types of the handler's parameters. A missing one, or one that cannot be
    converted, is answered with 400; what the handler does not know is dropped, unless it has `**kwargs`.

    `check(env, values)` may refuse the request by raising; use it for a token against forged forms. Without
    `othersites`, what a browser sends on behalf of a page of another site is refused unless it is a GET.
    """
    sources = frozenset(also)
    if not sources <= _SOURCES:
        raise ValueError(f"parameters come from {', '.join(sorted(_SOURCES))}, not from {sources - _SOURCES}")
    signature = Signature(handler)

    async def answer(env: Environment, match: re.Match[str]) -> web.StreamResponse:
        if not othersites and env.method not in _SAFE:
            origin.check_site(env)
        named = {name: text for name, text in match.groupdict().items() if text is not None}
        values = {**await _values(env, sources), **named}
        if check is not None and hasattr(checked := check(env, values), "__await__"):
            await checked
        return await _answered(handler(**_arguments(signature, env, values)))

    return Route(pattern, methods, answer, host)


def redirect(
    pattern: str,
    target: str,
    *,
    status: int = 302,
    methods: Iterable[str] = ("GET",),
    host: str | None = None,
) -> Route:
    r"""Send clients to `target`, in which `\1` or `\g<name>` stand for groups of the pattern.

    A target without a query keeps that of the request.
    """
    redirection(target, status)

    async def answer(env: Environment, match: re.Match[str]) -> web.StreamResponse:
        path, mark, query = target.partition("?")
        query = _expanded(match, query, quote_plus) if mark else env.querystring
        place = _expanded(match, path, quote)
        if place.startswith("//") and not path.startswith("//"):  # which would be another host
            place = f"/{place.lstrip('/')}"
        return await _answered(redirection(f"{place}?{query}" if query else place, status))

    return Route(pattern, methods, answer, host)


def rewrite(
    pattern: str, target: str, *, methods: Iterable[str] = ("GET",), host: str | None = None
) -> Route:
    r"""Answer what another path of the virtual host answers; `target` is as for `redirect`, but never encoded."""

    async def answer(env: Environment, match: re.Match[str]) -> web.StreamResponse:
        path, mark, query = target.partition("?")
        query = _expanded(match, query, quote_plus) if mark else env.querystring
        return await env.rewritten(match.expand(path), query)

    return Route(pattern, methods, answer, host)


async def _answered(result: Any) -> web.StreamResponse:
    from aiohttp import web

    from vlcp.web.answers import respond

    if hasattr(type(result), "__await__"):
        result = await result
    return result if isinstance(result, web.StreamResponse) else respond(reply(result))


def _expanded(match: re.Match[str], template: str, encoded: Callable[[str], str]) -> str:
    """A template with the groups of a match in it, encoded for where they are put."""
    groups = {str(number): text or "" for number, text in enumerate(match.groups(), 1)}
    groups |= {name: text or "" for name, text in match.groupdict().items()}
    return re.sub(
        r"\\(?:(\d+)|g<(\w+)>)", lambda found: encoded(groups[found.group(1) or found.group(2)]), template
    )


async def _values(env: Environment, sources: frozenset[str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(env.cookies) if "cookies" in sources else {}
    if env.method in ("GET", "HEAD"):
        return values | await env.parameters()
    if "query" in sources:
        values |= env.query
        env = env.elsewhere(env.path, "")
    return values | (await env.form() if "files" in sources else await env.parameters())


def _arguments(signature: Signature, env: Environment, values: Mapping[str, Any]) -> dict[str, Any]:
    known = signature.parameters
    given = {name: value for name, value in values.items() if signature.extra is not None or name in known}
    given.pop("self", None)
    if "env" in known:
        given["env"] = env
    missing = [name for name, parameter in known.items() if not parameter.optional and name not in given]
    if missing:
        raise BadParameterError(f"missing parameter {', '.join(map(repr, missing))}")
    try:
        return signature.arguments(given)
    except ValueError as error:
        raise BadParameterError(str(error)) from None
