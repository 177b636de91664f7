"""The kinds of routes that authors of modules have."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from unit.web.site import Site, running
from vlcp.server.api import ForbiddenError, NotFoundError
from vlcp.web import routes
from vlcp.web.environment import Environment
from vlcp.web.host import Route
from vlcp.web.parameters import File
from vlcp.web.reply import Reply, html, json, redirect


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as one:
        yield one


def shown(env: Environment) -> dict[str, Any]:
    """What a handler sees."""
    return {
        "method": env.method,
        "path": env.path,
        "query": env.query,
        "host": env.host,
        "https": env.https,
        "cookies": dict(env.cookies),
        "header": env.headers.get("x-test"),
        "certificate": env.certificate,
        "from": env.rewritefrom,
        "original": env.originalpath,
        "url": env.url("/ä?a=1"),
    }


# Plain routes


async def test_what_a_handler_sees(site: Site) -> None:
    site.host.add(routes.plain("/show/.*", shown))
    headers = {"Host": "Name.Example:81", "X-Test": "1", "Cookie": "a=1; b=2"}
    assert (await site.send("/show/%C3%A4+b?a=1&a=2&flag", headers=headers)).json == {
        "method": "GET",
        "path": "/show/ä b",
        "query": {"a": "2", "flag": ""},
        "host": "name.example",
        "https": False,
        "cookies": {"a": "1", "b": "2"},
        "header": "1",
        "certificate": None,
        "from": [],
        "original": "/show/ä b",
        "url": "http://Name.Example:81/%C3%A4?a=1",
    }


async def later(env: Environment) -> str:
    await asyncio.sleep(0)
    return env.path


@pytest.mark.parametrize(
    ("result", "status", "kind", "body"),
    [
        ("a", 200, "text/plain; charset=utf-8", "a"),
        (b"a", 200, "application/octet-stream", "a"),
        (None, 204, None, ""),
        ({"a": {1}}, 200, "application/json; charset=utf-8", '{"a": [1]}'),
        (html("<p>ä"), 200, "text/html; charset=utf-8", "<p>ä"),
        (json([], 201), 201, "application/json", "[]"),
        (Reply(body="x", content_type="text/css", headers={"X": "y"}), 200, "text/css; charset=utf-8", "x"),
        (redirect("/x", 303), 303, "application/octet-stream", ""),
    ],
)
async def test_what_a_handler_returns(site: Site, result: Any, status: int, kind: str, body: str) -> None:
    site.host.add(routes.plain("/x", lambda env: result))
    answer = await site.send("/x")
    assert (answer.status, answer.text) == (status, body)
    if body:
        assert answer.headers["Content-Type"].startswith(kind.partition(";")[0])


async def test_named_groups_are_arguments(site: Site) -> None:
    site.host.add(routes.plain("/of/(?P<name>[^/]+)", lambda env, name: name.upper()))
    assert (await site.send("/of/a%20b")).text == "A B"
    assert (await site.send("/of/a/b")).status == 404


async def test_asynchronous_handlers_and_answers_of_aiohttp(site: Site) -> None:
    site.host.add(routes.plain("/later", later))
    site.host.add(routes.plain("/own", lambda env: aiohttp.web.Response(text="own", status=202)))
    assert (await site.send("/later")).text == "/later"
    assert (await site.send("/own"))[:2] == (202, "own")


@pytest.mark.parametrize("header", [("X-A", "b\r\nX-C: d"), ("X A", "b"), ("", "b")])
async def test_headers_that_cannot_be_sent(
    site: Site, header: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """They never end up as other headers; the answer says what is wrong."""
    site.host.add(
        routes.plain("/env", lambda env: env.header(*header)),
        routes.plain("/reply", lambda env: Reply(headers=dict([header]))),
    )
    for path in ("/env", "/reply"):
        answer = await site.send(path)
        assert (answer.status, "is no header" in answer.json["error"]) == (500, True)
        assert "X-C" not in answer.headers


async def test_errors_of_aiohttp(site: Site) -> None:
    def leave(env: Environment) -> None:
        raise aiohttp.web.HTTPFound("/there")

    site.host.add(routes.plain("/x", leave))
    answer = await site.send("/x")
    assert (answer.status, answer.headers["Location"], answer.headers["Server"]) == (302, "/there", "VLCP")


async def test_methods_order_and_hosts(site: Site) -> None:
    site.host.add(
        routes.plain("/x", lambda env: "put", methods=["put"]),
        routes.plain("/x", lambda env: "a", host="A.example"),
        routes.plain("/x", lambda env: "first"),
        routes.plain("/x", lambda env: "second"),
    )
    assert (await site.send("/x")).text == "first"
    assert (await site.send("/x", "PUT")).text == "put"
    assert (await site.send("/x", headers={"Host": "a.EXAMPLE:1"})).text == "a"
    assert (await site.send("/x", "HEAD"))[:2] == (200, "")
    answer = await site.send("/x", "DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, PUT")


async def test_routes_go(site: Site) -> None:
    first, second = (routes.plain("/x", lambda env, text=text: text) for text in "ab")
    site.host.add(first, second)
    site.host.remove(first)
    assert (await site.send("/x")).text == "b"
    site.host.remove(first, second)
    assert (await site.send("/x")).status == 404


# Arguments


async def greet(env: Environment, name: str, times: int = 1, loud: bool = False) -> Any:
    """A handler with types."""
    return {"name": name, "times": times, "loud": loud, "path": env.path}


FULL = {"name": "ä", "times": 2, "loud": True, "path": "/greet"}


@pytest.mark.parametrize(
    ("path", "method", "options"),
    [
        ("/greet?name=%C3%A4&times=2&loud=yes&other=1", "GET", {}),
        ("/greet", "POST", {"data": {"name": "ä", "times": "2", "loud": "true", "other": "1", "env": "x"}}),
        ("/greet", "POST", {"json": {"name": "ä", "times": 2, "loud": True, "other": {}, "self": 1}}),
    ],
)
async def test_parameters_become_arguments(
    site: Site, path: str, method: str, options: dict[str, Any]
) -> None:
    site.host.add(routes.arguments("/greet", greet, methods=("GET", "POST")))
    answer = await site.send(path, method, **options)
    assert (answer.status, answer.json) == (200, FULL)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, "missing parameter 'name'"),
        ({"name": "a", "times": "x"}, "parameter 'times': expected `int`"),
        ({"name": "a", "loud": "x"}, "parameter 'loud': "),
    ],
)
async def test_wrong_arguments(site: Site, form: dict[str, str], told: str) -> None:
    site.host.add(routes.arguments("/greet", greet))
    answer = await site.send("/greet", "POST", data=form)
    assert answer.status == 400
    assert told in answer.json["error"]
    assert (await site.send("/greet?name=a")).status == 405


async def test_further_arguments(site: Site) -> None:
    """A handler with `**kwargs` gets everything; a group of the pattern wins."""
    site.host.add(
        routes.arguments("/(?P<id>[^/]+)(?P<no>/x)?", lambda **kwargs: kwargs, methods=["GET", "POST"])
    )
    assert (await site.send("/7?a=1&a=2&b[]=1&b[]=2&id=8")).json == {"a": "2", "b": ["1", "2"], "id": "7"}


async def test_arguments_from_elsewhere(site: Site) -> None:
    def show(**kwargs: Any) -> Any:
        return {
            name: [v.name, v.content_type, v.data] if isinstance(v, File) else v for name, v in kwargs.items()
        }

    site.host.add(
        routes.arguments("/none", show), routes.arguments("/all", show, also=["query", "cookies", "files"])
    )
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("a", "1")
    form.add_field("f", b"\xff", filename="f.txt", content_type="image/png")
    answer = await site.send("/all?q=1&a=2", "POST", data=form, headers={"Cookie": "c=3; a=4"})
    assert answer.json == {"a": "1", "c": "3", "f": ["f.txt", "image/png", "b'\\xff'"], "q": "1"}
    answer = await site.send("/none", "POST", data={"a": "1"}, headers={"Cookie": "c=3"})
    assert answer.json == {"a": "1"}
    assert (await site.send("/none?q=1", "POST", data={"a": "1"})).status == 400


def test_unknown_sources() -> None:
    with pytest.raises(ValueError, match="cookies, files, query, not from"):
        routes.arguments("/x", greet, also=["sessions"])


async def test_pages_of_other_sites_cannot_send_forms(site: Site) -> None:
    site.host.add(
        routes.arguments("/x", lambda: "done", methods=["GET", "POST"]),
        routes.arguments("/open", lambda: "done", othersites=True),
    )
    here = f"127.0.0.1:{site.port}"
    for headers, status in [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"http://{here}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ]:
        assert (await site.send("/x", "POST", headers=headers)).status == status
        assert (await site.send("/open", "POST", headers=headers)).status == 200
        assert (await site.send("/x", headers=headers)).status == 200


async def test_a_check_may_refuse(site: Site) -> None:
    def check(env: Environment, values: Mapping[str, Any]) -> None:
        if values.get("token") != env.cookies.get("token"):
            raise ForbiddenError("the form is too old")

    async def slow(env: Environment, values: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        check(env, values)

    for path, one in (("/x", check), ("/slow", slow)):
        site.host.add(routes.arguments(path, lambda: "done", check=one))
        cookie = {"Cookie": "token=1"}
        assert (await site.send(path, "POST", data={"token": "1"}, headers=cookie)).status == 200
        assert (await site.send(path, "POST", data={"token": "2"}, headers=cookie)).status == 403


# Redirects and rewrites


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/old/a%20b/%3F?x=1", "/new/a%20b/%3F?x=1"),
        ("/named/a&b", "/new?id=a%26b"),
        ("/away/x", "https://other.example/x"),
        ("/any//evil.example", "/evil.example"),
        ("/any/x%0d%0aY:%20z", "/x%0D%0AY%3A%20z"),
    ],
)
async def test_redirects(site: Site, path: str, location: str) -> None:
    site.host.add(
        routes.redirect("/old/(.*)", r"/new/\1"),
        routes.redirect("/named/(?P<name>.*)", r"/new?id=\g<name>"),
        routes.redirect("/away(.*)", r"https://other.example\1", status=308),
        routes.redirect("(?s)/any(/.*)", r"\1"),
    )
    answer = await site.send(path)
    assert (answer.status, answer.headers["Location"]) == (308 if "away" in path else 302, location)


def test_a_redirect_has_its_own_status() -> None:
    with pytest.raises(ValueError, match="200 is not the status of a redirect"):
        routes.redirect("/x", "/y", status=200)


async def test_rewrites(site: Site) -> None:
    async def inner(env: Environment) -> Any:
        env.header("X-Outer", "1")
        return await env.rewrite("/show/5?from=handler")

    site.host.add(
        routes.plain("/show/.*", shown),
        routes.rewrite("/a/(.*)", r"/show/\1"),
        routes.rewrite("/b/(.*)", r"/a/1?id=\1"),
        routes.plain("/c", inner),
    )
    plain = (await site.send("/a/x%3Fy?q=1")).json
    assert (plain["path"], plain["query"], plain["from"]) == ("/show/x?y", {"q": "1"}, ["/a/x?y"])
    twice = (await site.send("/b/a&b?q=1")).json
    assert (twice["path"], twice["query"], twice["original"]) == ("/show/1", {"id": "a&b"}, "/b/a&b")
    handled = await site.send("/c")
    assert (handled.json["query"], handled.headers["X-Outer"]) == ({"from": "handler"}, "1")


async def test_rewrites_end(site: Site) -> None:
    site.host.add(routes.rewrite("/a", "/b"), routes.rewrite("/b", "/a"), routes.rewrite("/(x+)", r"/x\1"))
    answer = await site.send("/a")
    assert (answer.status, answer.json["error"]) == (500, "rewrites go round in a circle: /a -> /b -> /a")
    answer = await site.send("/x")
    assert (answer.status, "rewritedepthlimit" in answer.json["error"]) == (500, True)


# Cookies and users


async def test_cookies(site: Site) -> None:
    def answer(env: Environment) -> str:
        env.setcookie("a", "ä; b", max_age=60)
        env.setcookie("open", "1", httponly=False, samesite="Strict", path="/x")
        env.deletecookie("gone")
        return "done"

    site.host.add(routes.plain("/x", answer))
    assert (await site.send("/x")).headers.getall("Set-Cookie") == [
        "a=%C3%A4%3B%20b; HttpOnly; Max-Age=60; Path=/; SameSite=Lax",
        "open=1; Path=/x; SameSite=Strict",
        "gone=; HttpOnly; Max-Age=0; Path=/; SameSite=Lax",
    ]


async def test_cookies_of_an_error_are_sent_too(site: Site) -> None:
    def answer(env: Environment) -> None:
        env.setcookie("a", "1")
        raise NotFoundError("nothing here")

    site.host.add(routes.plain("/x", answer))
    got = await site.send("/x")
    assert (got.status, got.headers["Set-Cookie"][:4]) == (404, "a=1;")


@pytest.mark.parametrize(
    ("name", "value", "more"), [("a b", "1", {}), ("a", "1", {"path": "/;x"}), ("", "1", {})]
)
async def test_impossible_cookies(site: Site, name: str, value: str, more: dict[str, Any]) -> None:
    errors: list[str] = []

    def answer(env: Environment) -> None:
        try:
            env.setcookie(name, value, **more)
        except ValueError as error:
            errors.append(str(error))

    site.host.add(routes.plain("/x", answer))
    await site.send("/x")
    assert re.match("cookie '.*': ", errors[0])


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        (aiohttp.encode_basic_auth("root", "secret"), 200),
        (aiohttp.encode_basic_auth("root", "geheim"), 401),
        ("Basic !", 401),
        ("Basic /w==", 401),
        ("Basic \xe9", 401),
        ("Bearer x", 401),
    ],
)
async def test_basic_authentication(site: Site, authorization: str | None, status: int) -> None:
    users = {"root": "secret"}
    site.host.add(
        routes.plain("/x", lambda env: env.basicauth(lambda user, word: users.get(user) == word, 'the "lab"'))
    )
    headers = {"Authorization": authorization} if authorization else {}
    answer = await site.send("/x", headers=headers)
    assert answer.status == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="the \\"lab\\"", charset="UTF-8"'
    else:
        assert answer.text == "root"


async def test_handlers_of_requests(site: Site) -> None:
    """The kinds above are made of this."""

    async def answer(env: Environment, match: re.Match[str]) -> Any:
        return aiohttp.web.Response(text=match[1])

    site.host.add(Route("/x/(.)", ["GET"], answer))
    assert (await site.send("/x/1")).text == "1"
