"""Sessions: their cookies, ids, locks and ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from unit.reloading import reloaded
from vlcp.server.api import BadParameterError, ConflictError, ForbiddenError
from vlcp.server.config import parse
from vlcp.server.errors import ModuleError
from vlcp.server.module import module_path
from vlcp.server.server import Server
from vlcp.service.utils.knowledge import Knowledge
from vlcp.service.utils.session import Session
from vlcp.web.sessions import SessionHandle, Sessions


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    server = Server(parse(getattr(request, "param", "")))
    await server.load(Session)
    yield server
    await server.loader.unload_all()


@pytest.fixture
def sessions(server: Server) -> Sessions:
    return server.module(Session).sessions


def with_config(text: str) -> Any:
    return pytest.mark.parametrize("server", [text], indirect=True)


def morsel(cookie: str) -> Morsel[str]:
    """The only cookie in a header Set-Cookie."""
    (found,) = SimpleCookie(cookie).values()
    return found


# Cookies


async def test_a_new_session_has_a_careful_cookie(sessions: Sessions) -> None:
    session, (cookie,) = await sessions.start("")
    assert re.fullmatch("[0-9a-f]{32}", session.id)
    assert cookie == f"_session_id={session.id}; HttpOnly; Path=/; SameSite=Lax"
    assert session.vars == {}


async def test_the_session_is_found_again(sessions: Sessions) -> None:
    session, _ = await sessions.start("")
    session.vars["user"] = person = object()
    for cookies in (
        f"_session_id={session.id}",
        f'other=1; _session_id="{session.id}";x',
        f"_session_id=stale; _session_id={session.id}",
        f"_session_id={session.id}".encode(),
        SimpleCookie(f"_session_id={session.id}"),
        {"_session_id": session.id},
    ):
        again, cookie = await sessions.start(cookies)
        assert (again.id, again.vars["user"], cookie) == (session.id, person, [])


@pytest.mark.parametrize("made_up", ["f" * 32, "x", "", "F" * 32, "../" * 10, "a" * 10000, "\0"])
async def test_ids_of_clients_are_not_taken(sessions: Sessions, made_up: str) -> None:
    session, cookies = await sessions.start(f"_session_id={made_up}")
    assert session.id != made_up
    assert len(cookies) == 1
    assert await sessions.get(made_up) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"secure": True}, "; HttpOnly; Path=/; SameSite=Lax; Secure"),
        ({"httponly": False}, "; Path=/; SameSite=Lax"),
        ({"path": "/admin", "Max_Age": 60}, "; HttpOnly; Max-Age=60; Path=/admin; SameSite=Lax"),
        (
            [("samesite", "Strict"), ("domain", "a.example")],
            "; Domain=a.example; HttpOnly; Path=/; SameSite=Strict",
        ),
        ({"samesite": None}, "; HttpOnly; Path=/"),
        ({}, "; HttpOnly; Path=/; SameSite=Lax"),
    ],
)
async def test_options_of_cookies(sessions: Sessions, options: Any, expected: str) -> None:
    session, (cookie,) = await sessions.start(None, options)
    assert cookie == f"_session_id={session.id}{expected}"
    (gone,) = await sessions.destroy(session.id)
    assert gone.startswith("_session_id=deleted; ")
    for attribute in ("path", "domain", "secure", "samesite"):
        assert morsel(gone)[attribute] == morsel(cookie)[attribute], "the client would keep the cookie"
    assert morsel(gone)["max-age"] == "0"


@pytest.mark.parametrize(
    ("cookies", "options", "told"),
    [
        (5, None, "cookies must be the text of a header Cookie"),
        ("", 5, "cookieopts is neither a dictionary nor a list of pairs"),
        ("", {"colour": "red"}, "'colour' is no attribute of a cookie; there are comment, domain"),
        ("", {"path": "/; Domain=x"}, "has characters that no cookie may have"),
        ("", {"path": "/\r\nSet-Cookie: x"}, "has characters that no cookie may have"),
    ],
)
async def test_bad_parameters(server: Server, cookies: Any, options: Any, told: str) -> None:
    with pytest.raises(BadParameterError, match=told):
        await server.call("session", "start", cookies=cookies, cookieopts=options)


@pytest.mark.parametrize(
    "setting", ["cookiename = 'a b'", "cookiename = ''", "cookiename = 'path'", "timeout = 0"]
)
async def test_bad_settings(setting: str) -> None:
    server = Server(parse(f"module.session.{setting}"))
    with pytest.raises(ModuleError, match=r"module\.session"):
        await server.load(Session)
    await server.loader.unload_all()


@with_config("module.session.cookiename = '__Host-sid'")
async def test_another_name(sessions: Sessions) -> None:
    session, (cookie,) = await sessions.start("_session_id=x")
    assert cookie.startswith(f"__Host-sid={session.id}; ")
    assert (await sessions.start(f"__Host-sid={session.id}"))[1] == []


# Ends


async def test_destroyed(server: Server) -> None:
    session = await server.call("session", "create")
    found = await server.call("session", "get", sessionid=session.id)
    assert (found.id, found.vars) == (session.id, {})
    assert found.vars is session.vars
    for _ in range(2):  # a second time is harmless
        (cookie,) = await server.call("session", "destroy", sessionid=session.id)
        assert cookie == "_session_id=deleted; HttpOnly; Max-Age=0; Path=/; SameSite=Lax"
        assert await server.call("session", "get", sessionid=session.id) is None
    again, cookies = await server.call("session", "start", cookies=f"_session_id={session.id}")
    assert again.id != session.id
    assert len(cookies) == 1
    with pytest.raises(ConflictError, match="the session has ended"):
        await session.rotate()


@with_config("module.session.timeout = 0.2")
async def test_a_session_ends_when_it_is_not_used(sessions: Sessions) -> None:
    used, unused, looked_at = [await sessions.create() for _ in range(3)]
    for _ in range(6):
        await asyncio.sleep(0.05)
        assert await sessions.get(used.id) is not None
        await sessions.get(looked_at.id, refresh=False)
    assert await sessions.get(unused.id) is None
    assert await sessions.get(looked_at.id) is None
    assert (await sessions.start(f"_session_id={used.id}"))[1] == []


async def test_rotation(sessions: Sessions) -> None:
    session, _ = await sessions.start("", {"secure": True})
    session.vars["user"] = "me"
    other = await sessions.get(session.id)
    assert other is not None
    old, token = session.id, session.token
    (cookie,) = await session.rotate()
    assert session.id != old
    assert other.id == session.id
    assert cookie == f"_session_id={session.id}; HttpOnly; Path=/; SameSite=Lax; Secure"
    assert await sessions.get(old) is None
    found = await sessions.get(session.id)
    assert found is not None
    assert found.vars == {"user": "me"}
    with pytest.raises(ForbiddenError):
        found.check_token(token)


async def test_rotations_at_once(sessions: Sessions, server: Server) -> None:
    session = await sessions.create()
    await asyncio.gather(*(session.rotate() for _ in range(5)), return_exceptions=True)
    assert await sessions.get(session.id) is not None
    assert server.modules["knowledge"].statistics()["keys"] == 1, "an old id is still alive"


async def test_sessions_survive_a_reload(server: Server) -> None:
    session = await server.call("session", "create")
    session.vars["user"] = "me"
    async with reloaded(server, *map(module_path, (Session, Knowledge))):
        assert (await server.call("session", "get", sessionid=session.id)).vars == {"user": "me"}
        await session.rotate()
        assert await server.call("session", "get", sessionid=session.id) is not None


# Locks


async def test_the_requests_of_a_session_take_turns(sessions: Sessions) -> None:
    first = await sessions.create()
    order = []

    async def request(name: str) -> None:
        handle = await sessions.get(first.id)
        assert handle is not None
        async with handle:
            await handle.lock()  # a second time does not wait
            order.append(f"{name} begins")
            await asyncio.sleep(0.01)
            order.append(f"{name} ends")

    await asyncio.gather(request("a"), request("b"), request("c"))
    assert order == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_nobody_unlocks_for_others(sessions: Sessions) -> None:
    mine = await sessions.create()
    others = await sessions.get(mine.id)
    assert isinstance(others, SessionHandle)
    await mine.lock()
    others.unlock()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await others.lock()
    mine.unlock()
    mine.unlock()
    async with asyncio.timeout(1):
        await others.lock()
    others.unlock()


# Tokens


async def test_tokens(sessions: Sessions) -> None:
    session, other = await sessions.create(), await sessions.create()
    for wrong in (None, "", "x", 5, "ä", "\ud800", other.token):
        with pytest.raises(ForbiddenError, match="the field 'csrf' is wrong or missing"):
            session.check_token(wrong)
    session.check_token(session.token)
    assert session.token == session.token != other.token
    with pytest.raises(ForbiddenError):
        session.check_token(other.token)
