"""Module APIs of other controllers, called through their web API."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from vlcp.server.api import BadParameterError, CallTimeoutError, NotFoundError, UnavailableError
from vlcp.server.config import Limit, nearest

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_LIMIT = 5.0
"""Seconds that one controller may take to accept a connection; then the next one is tried."""
_NO_ANSWER = 502
"""Status for what is no answer of a web API (RFC 9110 section 15.6.3)."""


class WebClient(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `webclient.*`."""

    cafile: str | None = None
    """PEM file of the authorities whose certificates are trusted with https; None for those of the system."""
    verifyhost: bool = True
    """Refuse a certificate that is not for the host name in the URL."""
    samehostlimit: Limit = 20
    """Connections to one host at the same time."""

    def tls(self) -> ssl.SSLContext:
        """How https is checked. `OSError` and `ssl.SSLError` if the file cannot be used."""
        context = ssl.create_default_context(cafile=self.cafile)
        context.check_hostname = self.verifyhost
        return context


class RemoteError(Exception):
    """What the other controller answered instead of a result, with the status that it answered with."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status if 400 <= status <= 599 else _NO_ANSWER


class Remote:
    """Calls the APIs of modules that run elsewhere. `close` ends its connections."""

    def __init__(self, bases: Mapping[str, Sequence[str]], client: WebClient) -> None:
        """`bases` are the URLs of web APIs by module name, in the order in which they are tried.

        `ValueError` for a URL that is not http or https; `OSError` if `cafile` cannot be read.
        """
        for url in (url for urls in bases.values() for url in urls):
            _check(url)
        self._bases = bases
        self._client = client
        self._tls = client.tls()
        self._session: ClientSession | None = None

    async def call(self, module: str, api: str, params: Mapping[str, Any], limit: float) -> Any:
        """The result of `module/api`; `limit` is in seconds.

        The next URL is tried only when no connection comes about: a call that was sent may have been carried out.
        Raises `NotFoundError` for a module without URLs, `UnavailableError` when nobody can be reached or the
        connection is lost, `CallTimeoutError`, and `RemoteError` with what the other controller has against the call.
        """
        bases = self._bases.get(module)
        if not bases:
            known = ", ".join(sorted(self._bases)) or "none"
            hint = nearest(module, self._bases) or f"; modules with URLs: {known}"
            raise NotFoundError(f"module {module!r} has no URL in module.remotecall.target_url_map{hint}")
        if not api.isidentifier():  # "../other/api" would be another module
            raise BadParameterError(f"method: {api!r} is not the name of an API")
        try:
            body = msgspec.json.encode(params)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadParameterError(f"params cannot be sent as JSON: {error}") from None
        try:
            async with asyncio.timeout(limit):
                return await self._first(bases, f"{module}/{api}", body)
        except TimeoutError:
            raise CallTimeoutError(
                f"{module}/{api} was not answered within {limit:g} s; what it began may be done all the same"
            ) from None

    async def _first(self, bases: Sequence[str], path: str, body: bytes) -> Any:
        from aiohttp import ClientConnectionError, ClientConnectorError, ClientError, ConnectionTimeoutError

        unreachable = list[str]()
        for base in bases:
            try:
                return await self._post(f"{base.rstrip('/')}/{path}", body)
            except (ClientConnectorError, ConnectionTimeoutError) as error:
                unreachable.append(f"{base} ({error})")
            except (ClientConnectionError, ClientError) as error:
                raise UnavailableError(
                    f"{base} ended the connection before it answered {path}, which may be done or not: {error!r}"
                ) from None
        raise UnavailableError(f"{path}: no controller can be reached: {', '.join(unreachable)}")

    async def _post(self, url: str, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        request = self._connections().post(url, data=body, headers=headers, allow_redirects=False)
        async with request as response:
            return _result(url, response.status, await response.read())

    def _connections(self) -> ClientSession:
        """A new connection for each call: one that was kept may be closed by the peer just when a call is sent."""
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout, TCPConnector

            connector = TCPConnector(
                ssl=self._tls, force_close=True, limit_per_host=self._client.samehostlimit
            )
            self._session = ClientSession(
                connector=connector, timeout=ClientTimeout(total=None, sock_connect=CONNECT_LIMIT)
            )
        return self._session

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not the URL of a web API, such as http://192.0.2.1:8081")


def _result(url: str, status: int, body: bytes) -> Any:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    match answer:
        case {"result": result} if status == 200:
            return result
        case {"error": str() as text} if status != 200:
            raise RemoteError(f"{url}: {text}", status)
    raise RemoteError(f"{url} answers with status {status}, but not as a web API does", _NO_ANSWER)
