"""The keys of `protocol.http.*`: limits of requests, and what is sent instead of an error."""

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from unit.web.site import Site, running
from vlcp.server.api import ConflictError
from vlcp.server.config import ConfigError, parse
from vlcp.server.module import ModuleError
from vlcp.web import routes
from vlcp.web.environment import Environment
from vlcp.web.errors import UnauthorizedError
from vlcp.web.limits import Limits
from vlcp.web.reply import html

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n"


def fail(env: Environment) -> None:
    """The error that the query names."""
    raise {
        "conflict": ConflictError("taken"),
        "auth": UnauthorizedError("who are you"),
    }.get(env.query.get("how", ""), RuntimeError("our fault"))


def page(env: Environment) -> Any:
    """A page for an error."""
    return html(f"<h1>{env.error}</h1> {env.originalpath} {env.method} {sorted(env.headers)}")


async def fill(site: Site) -> Site:
    site.host.add(
        routes.plain("/fail", fail, methods=("GET", "POST")),
        routes.plain("/page", page),
        routes.plain("/x y", lambda env: "space"),
        routes.plain(r"/x\+y", lambda env: "plus"),
        routes.plain("/x", lambda env: "x"),
        routes.plain("/hosted", lambda env: env.host),
        routes.plain("/here", lambda env: "here", host="here.example"),
    )
    return site


PAGES = "protocol.http.errorrewrite = {404: b'/page', 409: b'/page?a=1', 401: '/page', 500: '/nosuch', 405: '/fail'}"


async def test_pages_for_errors() -> None:
    """They have the status and the headers of the error, whatever the request was conditional on."""
    async with running(PAGES) as site:
        await fill(site)
        headers = {"Range": "bytes=0-1", "If-None-Match": "*", "Host": "localhost"}
        answer = await site.send(
            "/nosuch", headers=headers, skip_auto_headers=["Accept", "User-Agent", "Accept-Encoding"]
        )
        assert (answer.status, answer.text) == (404, "<h1>404</h1> /nosuch GET ['Host']")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        answer = await site.send("/fail?how=conflict", "POST", data={"a": "1"})
        assert answer.text.startswith("<h1>409</h1> /fail GET")
        answer = await site.send("/fail?how=auth")
        assert (answer.status, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
        assert (await site.send("/nosuch", "HEAD"))[:2] == (404, "")


async def test_an_error_whose_page_is_missing_or_fails_is_told_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(PAGES) as site:
        await fill(site)
        answer = await site.send("/fail")
        assert (answer.status, answer.json) == (500, {"error": "internal error: RuntimeError: our fault"})
        answer = await site.send("/x", "PUT")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_clients_are_sent_elsewhere_instead_of_an_error() -> None:
    async with running("protocol.http.errorredirect = {404: '/home?from=404'}") as site:
        answer = await site.send("/nosuch")
        assert (answer.status, answer.headers["Location"]) == (302, "/home?from=404")
        assert (await site.send("/home?from=404")).status == 404


@pytest.mark.parametrize("plus", [True, False])
async def test_unquoteplus(plus: bool) -> None:
    async with running(f"protocol.http.unquoteplus = {plus}") as site:
        await fill(site)
        assert (await site.send("/x+y")).text == ("space" if plus else "plus")
        assert (await site.send("/x%2By")).text == "plus"
        assert (await site.send("/x%20y")).text == "space"


async def test_headers_of_every_answer() -> None:
    config = "protocol.http.defaultresponseheaders = [(b'Server', b'other'), (b'Content-Type', b'x/y'), ('X-A', 'b')]"
    async with running(config) as site:
        await fill(site)
        for path in ("/x", "/nosuch"):
            headers = (await site.send(path)).headers
            assert (headers["Server"], headers["X-A"]) == ("other", "b")
            assert headers["Content-Type"] != "x/y"
    async with running() as site:
        assert (await site.send("/")).headers["Server"] == "VLCP"


async def test_processtimeout(caplog: pytest.LogCaptureFixture) -> None:
    async with running("protocol.http.processtimeout = 0.1") as site:
        site.host.add(routes.plain("/slow", lambda env: asyncio.sleep(5)))
        answer = await site.send("/slow")
        assert (answer.status, answer.json) == (504, {"error": "there was no answer within 0.1 s"})


async def test_showerrorinfo(caplog: pytest.LogCaptureFixture) -> None:
    async with running("protocol.http.showerrorinfo = True") as site:
        await fill(site)
        assert "RuntimeError: our fault" in (await site.send("/fail")).json["trace"]


async def test_defaulthost() -> None:
    async with running("protocol.http.defaulthost = 'Here.Example'") as site:
        await fill(site)
        assert (await site.raw(b"GET /here HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nhere")
        assert (await site.raw(b"GET /hosted HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nhere.example")
        assert b" 404 " in await site.raw(b"GET /here HTTP/1.0\r\nHost: there\r\n\r\n")


async def test_limits() -> None:
    config = """
protocol.http.headlinelimit = 100
protocol.http.headercountlimit = 5
protocol.http.headerlimit = 150
"""
    async with running(config) as site:
        await fill(site)
        end = b"Connection: close\r\n\r\n"
        for data, told in [
            (GET + end, b"200 OK"),
            (GET.replace(b"/x", b"/" + b"x" * 100) + end, b"the request line has more than 100 bytes"),
            (GET + b"A: " + b"x" * 103 + b"\r\n" + end, b"a header has more than 100 bytes"),
            (GET + b"A: x\r\n" * 4 + end, b"more than 5 headers"),
            (GET + (b"A: " + b"x" * 70 + b"\r\n") * 2 + end, b"the headers have more than 150 bytes"),
        ]:
            assert told in await site.raw(data)


async def test_idle_connections_are_closed() -> None:
    async with running("protocol.http.idletimeout = 0.1") as site:
        await fill(site)
        assert await site.raw(b"") == b""
        assert await site.raw(b"GET") == b""
        assert (await site.raw(GET + b"\r\n")).endswith(b"\r\n\r\nx")


async def test_the_rest_of_a_body_is_awaited_for_a_while() -> None:
    async with running("protocol.http.closetimeout = 0.1") as site:
        begin = asyncio.get_running_loop().time()
        answer = await site.raw(GET.replace(b"GET", b"POST") + b"Content-Length: 5\r\n\r\na")
        assert b" 404 " in answer
        assert 0.1 <= asyncio.get_running_loop().time() - begin < 5


async def test_malformed_requests_may_be_left_without_an_answer() -> None:
    async with running("protocol.http.fastfail = True") as site:
        await fill(site)
        assert await site.raw(b"NONSENSE\r\n\r\n") == b""
        assert b" 200 " in await site.raw(GET + b"Connection: close\r\n\r\n")


async def test_keys_of_one_virtual_host() -> None:
    config = """
module.httpserver.protocol.http.defaultresponseheaders = {'X-A': '1'}
module.httpserver.vhost.api.url = 'tcp://localhost:0'
module.httpserver.vhost.api.protocol.http.defaultresponseheaders = {'X-A': '2'}
"""
    async with running(config) as site:
        assert (await site.send("/")).headers["X-A"] == "1"


async def test_the_server_as_a_whole() -> None:
    async with running() as site:
        answer = await site.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b" 400 " in await site.raw(b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_requests_in_a_row_are_answered_in_turn() -> None:
    async with running() as site:
        await fill(site)
        data = b"".join(GET.replace(b"/x", path) + b"\r\n" for path in (b"/x", b"/nosuch") * 100)
        answer = await site.raw(data + GET + b"Connection: close\r\n\r\n")
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
        assert statuses == [b"200", b"404"] * 100 + [b"200"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("protocol.http.defaultresponseheaders = {'a b': 'c'}", "'a b': 'c' is no header"),
        ("protocol.http.defaultresponseheaders = {'a': 'b\\n'}", "is no header"),
        ("protocol.http.errorrewrite = {'x': '/y'}", "errorrewrite = {'x': '/y'}: expected `int`, got `str`"),
        ("protocol.http.errorrewrite = {404: 'page'}", "errorrewrite = {404: 'page'}: 'page' is not a path"),
        ("protocol.http.errorrewrite = {200: '/page'}", "200: '/page' is not an error and where to go"),
        ("protocol.http.errorredirect = {404: '/\\n'}", "is not an error and where to go"),
        ("protocol.http.rewritedepthlimit = 0", "rewritedepthlimit = 0: expected `int` >= 1"),
    ],
)
async def test_wrong_keys(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"site.conf:1: protocol\.http\."):
        parse(text, "site.conf").settings(Limits, "protocol.http")
    with pytest.raises(ModuleError, match=told):
        async with running(text):
            pass


async def test_a_client_of_a_library(caplog: pytest.LogCaptureFixture) -> None:
    """aiohttp's own client follows a redirect to what a POST became."""
    async with running() as site:
        await fill(site)
        site.host.add(routes.redirect("/go", "/x", status=303, methods=["POST"]))
        async with aiohttp.ClientSession() as session:
            async with session.post(f"http://127.0.0.1:{site.port}/go", data={"a": "1"}) as answer:
                assert (answer.status, await answer.text()) == (200, "x")
