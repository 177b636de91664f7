"""One request as the handlers of routes see it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from vlcp.web.cookies import set_cookie
from vlcp.web.errors import UnauthorizedError
from vlcp.web.reply import check_header

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

    from vlcp.web.parameters import File

    Rewrite = Callable[["Environment", str, str], Awaitable[web.StreamResponse]]

_CONDITIONS = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"}
)
"""Headers that are about the page that was asked for (RFC 9110 section 13.2.1), not about one instead of it."""

_IN_COOKIES = "!#$&'()*+/:<=>?@[]^`{|}~"
"""What the value of a cookie may have as it is, besides letters and digits."""


class Environment:
    """A request. `request` is that of aiohttp, for what is not here."""

    def __init__(
        self, request: web.BaseRequest, rewrite: Rewrite, path: str, querystring: str, default_host: str = ""
    ) -> None:
        self.request = request
        self.path = path
        """The decoded path."""
        self.querystring = querystring
        """What follows the question mark, as it was sent."""
        self.rewritefrom: tuple[str, ...] = ()
        """Paths that were rewritten to this one, the first one first."""
        self.error: int | None = None
        """The status of the error that this page is answered for."""
        self.sent_headers: list[tuple[str, str]] = []
        """Further headers of the answer."""
        self.kept: dict[str, Any] = {}
        """What handlers keep for others that take part in answering."""
        self.at_end: list[Callable[[], None]] = []
        """What is called when the request is over, however it ends."""
        self._rewrite = rewrite
        self._default_host = default_host

    def elsewhere(self, path: str, querystring: str) -> Environment:
        """The same request for another path."""
        other = Environment(self.request, self._rewrite, path, querystring, self._default_host)
        other.rewritefrom = (*self.rewritefrom, self.path)
        other.error = self.error
        other.sent_headers = self.sent_headers
        other.kept, other.at_end = self.kept, self.at_end
        return other

    def instead(self, status: int, path: str, querystring: str) -> Environment:
        """A GET of the page that stands for an error."""
        other = self.elsewhere(path, querystring)
        other.error = status
        return other

    @property
    def method(self) -> str:
        """The method; a page for an error is always got."""
        method = self.request.method
        return "GET" if self.error is not None and method != "HEAD" else method

    @property
    def originalpath(self) -> str:
        """The decoded path that the client sent."""
        return self.rewritefrom[0] if self.rewritefrom else self.path

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, whatever the case of their names. A page for an error does not see conditions and ranges."""
        if self.error is None:
            return self.request.headers
        from multidict import CIMultiDict

        headers = self.request.headers
        return CIMultiDict((name, headers[name]) for name in headers if name.lower() not in _CONDITIONS)

    @property
    def host(self) -> str:
        """The host's name or address in the header Host, in lower case and without the port."""
        return hostname(self.request.headers.get("Host", "")) or self._default_host.lower()

    @property
    def https(self) -> bool:
        """Whether the client's connection to us is encrypted."""
        return self._connection("ssl_object") is not None

    @property
    def peer(self) -> tuple[str, int] | None:
        """IP address and port of the client, which may be a proxy; None over a Unix socket."""
        name = self._connection("peername")
        return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The verified certificate of the client, as `ssl.SSLSocket.getpeercert` has it; None without one."""
        tls: ssl.SSLObject | None = self._connection("ssl_object")
        return (tls.getpeercert() or None) if tls is not None else None

    def _connection(self, name: str) -> Any:
        transport = self.request.transport
        return transport.get_extra_info(name) if transport is not None else None

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that the client sent, percent-decoded."""
        return {name: unquote(value) for name, value in self.request.cookies.items()}

    @cached_property
    def query(self) -> dict[str, str]:
        """The parameters in the query; the last of several equal names."""
        return dict(parse_qsl(self.querystring, keep_blank_values=True, errors="replace"))

    def url(self, path: str) -> str:
        """The whole URL of a path on this host, as the client calls it."""
        scheme = "https" if self.https else "http"
        authority = self.request.headers.get("Host") or self._default_host or "localhost"
        return f"{scheme}://{authority}{quote(path, safe='/?&=:@+,;%')}"

    # -- bodies

    async def parameters(self, *, literals: bool = False, json: bool = True) -> dict[str, Any]:
        """The parameters: the query of a GET; the form or JSON object of a POST; see `vlcp.web.parameters`.

        With `literals` back-quoted text is a Python literal; without `json` JSON is refused.
        """
        from vlcp.web import parameters

        return await parameters.read(
            self.request, self.method, self.querystring, literals=literals, json=json
        )

    async def form(self) -> dict[str, str | File | list[str | File]]:
        """The fields of a form, files too; `name[]` collects a list under `name`."""
        from vlcp.web import parameters

        return await parameters.form(self.request)

    # -- the answer

    def header(self, name: str, value: str) -> None:
        """Add a header to the answer. Raises ValueError for one that cannot be sent."""
        check_header(name, value)
        self.sent_headers.append((name, value))

    def setcookie(self, name: str, value: str, **attributes: str | int | bool | None) -> None:
        """Add a cookie to the answer: by default for the whole site, not for scripts, not for other sites' forms.

        `attributes` are those of `set_cookie` with `_` for `-`, such as `max_age=3600` or `httponly=False`. It is
        secure when the connection is. Raises ValueError for names and attributes that no cookie can have.
        """
        own = {
            "secure": self.https,
            **{key.replace("_", "-"): setting for key, setting in attributes.items()},
        }
        self.header("Set-Cookie", set_cookie(name, quote(value, safe=_IN_COOKIES), own))

    def deletecookie(self, name: str) -> None:
        """Make the client forget a cookie that was set for the whole site."""
        self.setcookie(name, "", max_age=0)

    def basicauth(self, check: Callable[[str, str], bool], realm: str = "all") -> str:
        """The name of the user that the client gave with the right password (RFC 7617).

        `check(user, password)` says whether they fit; compare with `secrets.compare_digest`. Raises
        `UnauthorizedError`, after which a browser asks the user.
        """
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(token.strip(), validate=True).decode()
        except ValueError:  # no base64, or no UTF-8 in it
            decoded = ""
        user, colon, password = decoded.partition(":")
        if scheme.lower() != "basic" or not colon or not check(user, password):
            raise UnauthorizedError("a user's name and password are needed here", realm)
        return user

    async def rewrite(self, target: str) -> web.StreamResponse:
        """The answer of another path of this virtual host, such as `/other?a=1`; the client does not see it."""
        path, _, querystring = target.partition("?")
        return await self.rewritten(path, querystring)

    async def rewritten(self, path: str, querystring: str) -> web.StreamResponse:
        """As `rewrite`, with the path and the query apart: a path may have a question mark in it."""
        return await self._rewrite(self, path, querystring)


def hostname(authority: str) -> str:
    """The name or address in `host:port` or `[address]:port`, in lower case; '' when it is malformed."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""
