"""Sessions: what a browser left with us, found again by a cookie that only says which (RFC 6265).

An id is 128 random bits in 32 hexadecimal digits. Ids are always ours: one that a client makes up finds nothing, and
is not taken over.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from http.cookies import Morsel
from typing import TYPE_CHECKING, Any, Protocol

from vlcp.server.api import BadParameterError, ConflictError, ForbiddenError
from vlcp.web.cookies import set_cookie

if TYPE_CHECKING:
    from vlcp.web.environment import Environment

KEY = "vlcp.service.utils.session."
"""What the keys of sessions in the storage begin with."""
TOKEN_FIELD = "csrf"
"""The field of a form that holds the token against forged requests."""
TOKEN_HEADER = "X-CSRF-Token"
"""The header that a script sends it in."""
_ID = re.compile(r"[0-9a-f]{32}")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEPT = "session"
"""Where a request keeps its session."""


class Storage(Protocol):
    """Calls an API of the storage, such as `get`; it must give back the same objects that it was given."""

    async def __call__(self, api: str, /, **params: Any) -> Any:
        """Call one by name."""
        ...


class _Data:
    """What is stored: one object for all requests of the session."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.id = _new_id()
        self.vars: dict[Any, Any] = {}
        self.token: str | None = None
        self.lock = asyncio.Lock()
        self.attributes = attributes
        """Those of the cookie."""


class SessionHandle:
    """A session as one request sees it. `async with handle:` keeps other requests of the session out."""

    def __init__(self, sessions: Sessions, data: _Data) -> None:
        self._sessions = sessions
        self._data = data
        self._holds = False

    @property
    def id(self) -> str:
        """Which session; secret, and another one after `rotate`."""
        return self._data.id

    @property
    def vars(self) -> dict[Any, Any]:
        """What modules keep in the session; shared by all of its requests."""
        return self._data.vars

    async def lock(self) -> None:
        """Wait until no other request of the session has it locked. Who has it already does not wait."""
        if not self._holds:
            await self._data.lock.acquire()
            self._holds = True

    def unlock(self) -> None:
        """Let others have it; harmless when it is not locked. The end of a request does this too."""
        if self._holds:
            self._holds = False
            self._data.lock.release()

    async def __aenter__(self) -> SessionHandle:
        await self.lock()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.unlock()

    async def rotate(self) -> list[str]:
        """Give the session another id, with the same `vars`; the old one is dead at once.

        Do this when a user logs in, so that whoever knew the id before does not become this user. Returns the
        headers Set-Cookie to send. Raises `ConflictError` when the session has ended.
        """
        return await self._sessions.rotate(self._data)

    @property
    def token(self) -> str:
        """The token that forms of this session carry, so that pages of other sites cannot forge them."""
        if self._data.token is None:
            self._data.token = secrets.token_urlsafe(24)
        return self._data.token

    def check_token(self, token: object) -> None:
        """Raise `ForbiddenError` unless this is the token."""
        known, given = self._data.token, str(token).encode(errors="replace")
        if known is None or not hmac.compare_digest(known.encode(), given):
            raise ForbiddenError(
                f"the form is not one of this session: the field {TOKEN_FIELD!r} is wrong or missing"
            )

    def displayed(self) -> dict[str, Any]:
        """What the web API shows."""
        return {"id": self.id, "vars": self.vars}


class Sessions:
    """All sessions. They end `timeout` seconds after their last use."""

    def __init__(self, storage: Storage, timeout: float, cookiename: str) -> None:
        self._storage = storage
        self._timeout = timeout
        self._name = cookiename
        set_cookie(cookiename, "", {})

    async def start(self, cookies: Any, cookieopts: Any = None) -> tuple[SessionHandle, list[str]]:
        """The session that the cookies of a request name, or a new one with the headers Set-Cookie to send.

        `cookies` is the text of the header Cookie, or a mapping; `cookieopts` are attributes for a new cookie as
        `set_cookie` takes them. Raises `BadParameterError`.
        """
        attributes = _attributes(cookieopts)
        for value in _values(cookies, self._name):
            if (found := await self.get(value)) is not None:
                return found, []
        data = await self._created(attributes)
        return SessionHandle(self, data), [self._cookie(data)]

    async def create(self) -> SessionHandle:
        """A new session."""
        return SessionHandle(self, await self._created({}))

    async def get(self, sessionid: str, refresh: bool = True) -> SessionHandle | None:
        """The session with this id, None if there is none; with `refresh` its time begins anew."""
        if not _ID.fullmatch(sessionid):
            return None
        data = await self._storage("get", key=KEY + sessionid, timeout=self._timeout if refresh else None)
        return SessionHandle(self, data) if isinstance(data, _Data) else None

    async def destroy(self, sessionid: str) -> list[str]:
        """End a session, if there is one; returns the headers Set-Cookie that make the client forget it."""
        found = await self.get(sessionid, refresh=False)
        if found is not None:
            await self._storage("delete", key=KEY + sessionid)
        attributes = found._data.attributes if found is not None else {}
        return [set_cookie(self._name, "deleted", {**attributes, "max-age": 0, "expires": None})]

    async def rotate(self, data: _Data) -> list[str]:
        """See `SessionHandle.rotate`."""
        new = _new_id()

        def move(keys: list[str], values: list[Any]) -> tuple[list[str], list[Any]]:
            if values[0] is not data:
                raise ConflictError("the session has ended")
            data.id, data.token = new, None
            return keys, [None, data]

        await self._storage("updateall", keys=[KEY + data.id, KEY + new], updater=move, timeout=self._timeout)
        return [self._cookie(data)]

    async def _created(self, attributes: Mapping[str, Any]) -> _Data:
        data = _Data(attributes)
        await self._storage("set", key=KEY + data.id, value=data, timeout=self._timeout)
        return data

    def _cookie(self, data: _Data) -> str:
        return set_cookie(self._name, data.id, data.attributes)

    # -- in handlers of routes

    async def of(self, env: Environment, **cookieopts: Any) -> SessionHandle:
        """The session of a request, begun if need be; the answer gets its cookie, secure when the connection is.

        What the handler locked is unlocked when the request ends.
        """
        found: SessionHandle | None = env.kept.get(_KEPT)
        if found is None:
            header = "; ".join(env.request.headers.getall("Cookie", ()))
            found, cookies = await self.start(header, {"secure": env.https, **cookieopts})
            env.kept[_KEPT] = found
            env.at_end.append(found.unlock)
            self._send(env, cookies)
        return found

    async def renew(self, env: Environment) -> SessionHandle:
        """The session of a request with another id from now on: for a user who has just logged in."""
        session = await self.of(env)
        self._send(env, await session.rotate())
        return session

    async def end(self, env: Environment) -> None:
        """End the session of a request, and make the client forget it: for a user who logs out."""
        session = await self.of(env)
        del env.kept[_KEPT]
        self._send(env, await self.destroy(session.id))

    async def check_token(self, env: Environment, values: Mapping[str, Any]) -> None:
        """Raise `ForbiddenError` unless a request that changes something carries the token of its session.

        To be used as `check` of `vlcp.web.routes.arguments`. The token is in the field `csrf` or in the header
        X-CSRF-Token.
        """
        if env.method not in _SAFE:
            session = await self.of(env)
            session.check_token(values.get(TOKEN_FIELD) or env.request.headers.get(TOKEN_HEADER))

    def _send(self, env: Environment, cookies: Iterable[str]) -> None:
        """Add cookies to the answer, in the place of earlier ones of this name (RFC 6265 section 4.1.1)."""
        for cookie in cookies:
            env.sent_headers[:] = [
                (name, value)
                for name, value in env.sent_headers
                if name != "Set-Cookie" or not value.startswith(f"{self._name}=")
            ]
            env.header("Set-Cookie", cookie)


def _attributes(options: Any) -> dict[str, Any]:
    """Attributes of cookies as callers may write them, checked."""
    try:
        given = dict(options or {})
    except (TypeError, ValueError):
        raise BadParameterError("cookieopts is neither a dictionary nor a list of pairs") from None
    attributes = {str(name).lower().replace("_", "-"): setting for name, setting in given.items()}
    for name, setting in attributes.items():
        if not Morsel().isReservedKey(name):
            known = ", ".join(sorted(Morsel()))
            raise BadParameterError(f"cookieopts: {name!r} is no attribute of a cookie; there are {known}")
        text = str(setting)
        if not (text.isascii() and text.isprintable()) or ";" in text:
            raise BadParameterError(
                f"cookieopts: {name} = {setting!r} has characters that no cookie may have"
            )
    return attributes


def _values(cookies: Any, name: str) -> Iterator[str]:
    """The values of all cookies of a name; a browser may send several."""
    if isinstance(cookies, bytes):
        cookies = cookies.decode("latin-1")
    if isinstance(cookies, Mapping):
        value = cookies.get(name, "")
        yield str(value.value if isinstance(value, Morsel) else value)
    elif isinstance(cookies, str):
        pairs = (pair.partition("=") for pair in cookies.split(";"))
        yield from (value.strip().strip('"') for key, _, value in pairs if key.strip() == name)
    elif cookies is not None:
        raise BadParameterError("cookies must be the text of a header Cookie, or a dictionary")


def _new_id() -> str:
    return secrets.token_hex(16)
