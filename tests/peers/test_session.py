"""Sessions of a whole controller: over the web API, and in the pages of a module."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest

from peers.controller import FORM, free_port
from peers.place import Place, until

CONFIG = """
server.startup = ['sessionpages.Pages', 'vlcp.service.manage.webapi.WebAPI',
                  'vlcp.service.manage.modulemanager.Manager']
module.httpserver.url = 'tcp://127.0.0.1:{pages}'
module.httpserver.vhost.api.url = 'tcp://127.0.0.1:{api}'
"""
PAGES = """
from vlcp.server.module import Module, depend
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.utils.session import Session
from vlcp.web import routes

@depend(HttpServer, Session)
class Pages(Module):
    async def load(self):
        self._sessions = self.dependency(Session).sessions
        self._routes = [
            routes.plain("/", self.show),
            routes.plain("/login", self.login, methods=["POST"]),
            routes.arguments("/name", self.name_it, check=self._sessions.check_token),
        ]
        self.dependency(HttpServer).host("").add(*self._routes)

    async def unload(self):
        self.dependency(HttpServer).host("").remove(*self._routes)

    async def show(self, env):
        session = await self._sessions.of(env)
        return f"{session.vars.get('name')} {session.token}"

    async def login(self, env):
        await self._sessions.renew(env)

    async def name_it(self, env, name: str):
        (await self._sessions.of(env)).vars["name"] = name
"""


class Browser:
    """A client of the pages that keeps its cookies, and of the web API."""

    def __init__(self, port: int, api: int) -> None:
        self._port = port
        self._api = api
        self.cookies: dict[str, str] = {}
        self.told: list[str] = []
        """The headers Set-Cookie of the last answer."""

    def _send(self, port: int, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body, {"Content-Type": FORM, **headers})
            answer = connection.getresponse()
            self.told = answer.headers.get_all("Set-Cookie", [])
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def send(self, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str]:
        """The status and the text of a page."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        done = self._send(self._port, method, path, body, {"Cookie": cookies, **headers})
        for cookie in self.told:
            self.cookies |= {name: found.value for name, found in SimpleCookie(cookie).items()}
        return done

    def call(self, path: str, **params: str) -> Any:
        """The result of an API."""
        status, text = self._send(self._api, "POST", f"/{path}", urlencode(params), {})
        assert status == 200, text
        return json.loads(text)["result"]

    @property
    def id(self) -> str:
        """The id of the session."""
        return self.cookies["_session_id"]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Where the pages and the web API are."""
    place = Place(tmp_path_factory.mktemp("session"))
    (place.directory / "sessionpages.py").write_text(PAGES)
    pages, api = free_port(), free_port()
    place.file.write_text(CONFIG.format(pages=pages, api=api))
    try:
        place.start("-f", str(place.file))
        until(lambda: answers(api), place.log)
        yield pages, api
        assert place.stop() == 0
        assert "Traceback" not in place.log()
    finally:
        place.close()


def answers(port: int) -> bool:
    try:
        return bool(Browser(0, port).call("manager/status")["pages"]["state"] == "succeeded")
    except OSError:
        return False


@pytest.fixture
def browser(ports: tuple[int, int]) -> Browser:
    return Browser(*ports)


def test_the_cookie(browser: Browser) -> None:
    assert browser.send("/")[0] == 200
    assert browser.told == [f"_session_id={browser.id}; HttpOnly; Path=/; SameSite=Lax"]
    assert re.fullmatch("[0-9a-f]{32}", browser.id)
    browser.send("/")
    assert browser.told == []


def test_ids_do_not_repeat_and_are_not_taken_from_clients(browser: Browser) -> None:
    ids = set()
    for made_up in ("", "x", "0" * 32, "'; drop", "a" * 4000):
        browser.cookies["_session_id"] = made_up
        browser.send("/")
        assert browser.id != made_up
        ids.add(browser.id)
    assert len(ids) == 5


def test_a_login_changes_the_id(browser: Browser) -> None:
    _, text = browser.send("/")
    browser.send("/name", "POST", urlencode({"name": "me", "csrf": text.split()[1]}))
    before = browser.id
    assert browser.send("/login", "POST")[0] == 204
    assert len(browser.told) == 1
    assert browser.id != before
    assert browser.send("/")[1].startswith("me ")
    browser.cookies["_session_id"] = before
    assert browser.send("/")[1].startswith("None ")


def test_forged_forms_are_refused(browser: Browser) -> None:
    _, text = browser.send("/")
    token = text.split()[1]
    assert browser.send("/name", "POST", f"name=a&csrf={token}")[0] == 204
    assert browser.send("/name", "POST", f"name=b&csrf={token}x")[0] == 403
    assert browser.send("/name", "POST", "name=c")[0] == 403
    assert browser.send("/name", "POST", f"name=d&csrf={token}", Origin="http://other.example")[0] == 403
    assert browser.send("/")[1].startswith("a ")


def test_the_api_sees_the_same_sessions(browser: Browser) -> None:
    browser.send("/")
    found, cookies = browser.call("session/start", cookies=f"_session_id={browser.id}")
    assert (found, cookies) == ({"id": browser.id, "vars": {}}, [])
    assert browser.call("session/get", sessionid=browser.id) == found
    gone = browser.call("session/destroy", sessionid=browser.id)
    assert gone == ["_session_id=deleted; HttpOnly; Max-Age=0; Path=/; SameSite=Lax"]
    assert browser.call("session/get", sessionid=browser.id) is None
    old = browser.id
    browser.send("/")
    assert browser.id != old


def test_sessions_survive_reloads(browser: Browser) -> None:
    _, text = browser.send("/")
    browser.send("/name", "POST", f"name=me&csrf={text.split()[1]}")
    for module in ("session.Session", "knowledge.Knowledge", "knowledge.MemoryStorage"):
        browser.call("manager/reloadmodules", pathlist=f"`['vlcp.service.utils.{module}']`")
        assert browser.send("/")[1].startswith("me "), module
    browser.call("manager/reloadmodules", pathlist="`['sessionpages.Pages']`")
    assert browser.send("/")[1].startswith("me ")


def test_sessions_of_many_users(browser: Browser) -> None:
    before = browser.call("manager/statistics")["of"]["knowledge"]["keys"]
    for _ in range(200):
        browser.call("session/create")
    assert browser.call("manager/statistics")["of"]["knowledge"]["keys"] == before + 200
