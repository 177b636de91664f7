"""Sessions in the handlers of routes, over real connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certificates import Authority
from vlcp.server.config import parse
from vlcp.server.module import Module, depend
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.utils.session import Session
from vlcp.web import routes
from vlcp.web.environment import Environment


@depend(HttpServer, Session)
class Shop(Module):
    """Counts visits, lets users log in, and takes orders."""

    async def load(self) -> None:
        """Answer."""
        self.sessions = self.dependency(Session).sessions
        self.orders: list[str] = []
        self.inside = 0
        check = self.sessions.check_token
        self.dependency(HttpServer).host("").add(
            routes.plain("/visit", self.visit),
            routes.plain("/login", self.login, methods=("POST",)),
            routes.plain("/logout", self.logout, methods=("POST",)),
            routes.plain("/form", self.form),
            routes.arguments("/order", self.order, check=check, methods=("GET", "POST")),
            routes.plain("/slow", self.slow),
            routes.rewrite("/elsewhere", "/visit"),
        )

    async def visit(self, env: Environment) -> str:
        """The number of visits."""
        session = await self.sessions.of(env)
        session.vars["visits"] = session.vars.get("visits", 0) + 1
        return f"{session.vars['visits']} {session.vars.get('user')}"

    async def login(self, env: Environment) -> None:
        """Another id, and a user."""
        session = await self.sessions.renew(env)
        session.vars["user"] = "me"

    async def logout(self, env: Environment) -> None:
        """The end."""
        await self.sessions.end(env)

    async def form(self, env: Environment) -> str:
        """The token."""
        return (await self.sessions.of(env)).token

    async def order(self, what: str) -> None:
        """Take an order."""
        self.orders.append(what)

    async def slow(self, env: Environment) -> None:
        """Lock the session, and fail without unlocking it."""
        session = await self.sessions.of(env)
        await session.lock()
        self.inside += 1
        alone = self.inside == 1
        await asyncio.sleep(0.02)
        self.inside -= 1
        raise RuntimeError("on purpose" if alone else "not alone")


class Browser:
    """Keeps cookies."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self.cookies: dict[str, str] = {}
        self.told: list[str] = []
        """The headers Set-Cookie of the last answer."""

    async def send(self, path: str, method: str = "GET", **options: Any) -> tuple[int, str]:
        """The status and the text."""
        headers = {"Cookie": "; ".join(f"{n}={v}" for n, v in self.cookies.items())} | options.pop(
            "headers", {}
        )
        async with self._http.request(method, self._url + path, headers=headers, **options) as answer:
            self.told = answer.headers.getall("Set-Cookie", [])
            for cookie in self.told:
                for name, found in SimpleCookie(cookie).items():
                    self.cookies[name] = found.value
            return answer.status, await answer.text()

    @property
    def id(self) -> str:
        """The id of the session."""
        return self.cookies["_session_id"]


async def browsers(config: str, scheme: str, context: ssl.SSLContext | bool = True) -> AsyncIterator[Browser]:
    server = Server(parse(config))
    await server.load(Shop)
    (endpoint,) = server.module(HttpServer).ports("")
    assert endpoint.listener is not None
    jar, connector = aiohttp.DummyCookieJar(), aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as http:
        yield Browser(http, f"{scheme}://127.0.0.1:{endpoint.listener.address.port}")
    await server.loader.unload_all()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async for one in browsers("module.httpserver.url = 'tcp://127.0.0.1:0'", "http"):
        yield one


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Browser]:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    config = f"""
module.httpserver.url = 'ssl://127.0.0.1:0'
module.httpserver.certificate = {certificate!r}
module.httpserver.key = {key!r}
"""
    context = ssl.create_default_context(cafile=authority.certificate)
    async for one in browsers(config, "https", context):
        yield one


async def test_a_visitor_is_known(browser: Browser) -> None:
    assert await browser.send("/visit") == (200, "1 None")
    assert browser.told == [f"_session_id={browser.id}; HttpOnly; Path=/; SameSite=Lax"]
    assert await browser.send("/elsewhere") == (200, "2 None")
    assert browser.told == []
    browser.cookies["_session_id"] = made_up = "0" * 32
    assert await browser.send("/visit") == (200, "1 None")
    assert browser.id != made_up


async def test_over_tls_the_cookie_is_secure(secure: Browser) -> None:
    await secure.send("/visit")
    assert secure.told == [f"_session_id={secure.id}; HttpOnly; Path=/; SameSite=Lax; Secure"]
    await secure.send("/login", "POST")
    assert secure.told == [f"_session_id={secure.id}; HttpOnly; Path=/; SameSite=Lax; Secure"]


async def test_a_login_makes_the_old_id_worthless(browser: Browser) -> None:
    await browser.send("/visit")
    planted = browser.id
    await browser.send("/login", "POST")
    assert len(browser.told) == 1
    assert browser.id != planted
    assert await browser.send("/visit") == (200, "2 me")
    browser.cookies["_session_id"] = planted
    assert await browser.send("/visit") == (200, "1 None")


async def test_a_login_without_a_session_sends_one_cookie(browser: Browser) -> None:
    await browser.send("/login", "POST")
    assert len(browser.told) == 1
    assert await browser.send("/visit") == (200, "1 me")


async def test_a_logout(browser: Browser) -> None:
    await browser.send("/login", "POST")
    old = browser.id
    await browser.send("/logout", "POST")
    assert browser.told == ["_session_id=deleted; HttpOnly; Max-Age=0; Path=/; SameSite=Lax"]
    browser.cookies["_session_id"] = old
    assert await browser.send("/visit") == (200, "1 None")


async def test_forged_forms_are_refused(browser: Browser) -> None:
    _, token = await browser.send("/form")
    assert (await browser.send("/order", "POST", data={"what": "a", "csrf": token}))[0] == 204
    assert (await browser.send("/order", "POST", data={"what": "b"}, headers={"X-CSRF-Token": token}))[
        0
    ] == 204
    assert (await browser.send("/order?what=c"))[0] == 204, "reading is free"
    for wrong in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": token + "x"}):
        status, text = await browser.send("/order", "POST", data={"what": "d", **wrong})
        assert (status, "the field 'csrf' is wrong or missing" in text) == (403, True)
    browser.cookies.clear()
    assert (await browser.send("/order", "POST", data={"what": "d", "csrf": token}))[0] == 403


async def test_a_lock_ends_with_its_request(browser: Browser) -> None:
    await browser.send("/visit")
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(browser.send("/slow") for _ in range(4)))
    assert [(status, "on purpose" in text) for status, text in answers] == [(500, True)] * 4
    assert (await browser.send("/visit"))[0] == 200
