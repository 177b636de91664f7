"""The example of a module with pages, as its configuration file starts it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from vlcp.server.config import load
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    sys.modules.pop("hello", None)


@pytest.mark.usefixtures("examples")
async def test_the_guest_book() -> None:
    config = load(EXAMPLES / "hello.conf")
    for key in ("module.httpserver.url", "module.httpserver.vhost.api.url"):
        config.set(key, "tcp://127.0.0.1:0")
    server = Server(config)
    for path in config.get("server.startup"):
        await server.load(path)
    pages, calls = (server.module(HttpServer).getservers(vhost)[0]["url"] for vhost in ("", "api"))
    book, api = (url.replace("tcp", "http") for url in (pages, calls))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, raise_for_status=False) as browser:

        async def get(path: str) -> tuple[int, str]:
            async with browser.get(book + path) as answer:
                return answer.status, await answer.text()

        async def post(path: str, user: str = "", password: str = "", **form: str) -> int:
            headers = {"Authorization": aiohttp.encode_basic_auth(user, password)} if user else {}
            async with browser.post(book + path, data=form, headers=headers) as answer:
                return answer.status

        assert await post("/sign", name="<b>Ä", stars="7") == 200
        status, page = await get("/index.html")
        assert status == 200
        assert "<li>&lt;b&gt;Ä: *****" in page
        assert 'value="&lt;b&gt;Ä"' in page
        assert await get("/book/0") == (200, '{"name": "<b>\\u00c4", "stars": 5}')
        assert (await get("/entry/1"))[1] == page
        assert await post("/sign", stars="1") == 400
        assert await post("/sign", name="a", stars="many") == 400
        async with browser.get(api + "/hello/entries") as answer:
            assert await answer.json() == {"result": [{"name": "<b>Ä", "stars": 5}]}
        assert await post("/clear") == 401
        assert await post("/clear", "admin", "wrong") == 401
        assert await post("/clear", "admin", "change me") == 204
        assert "<li>" not in (await get("/"))[1]
    await server.unload("hello.Hello")
    async with aiohttp.ClientSession() as browser, browser.get(book + "/") as answer:
        assert answer.status == 404
    await server.loader.unload_all()
