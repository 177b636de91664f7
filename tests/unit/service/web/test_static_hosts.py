"""Static files for some: of some hosts, of some pages, in the place of errors, and through a server in front."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from unit.web.static_site import DIGITS, Site, serving


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path, getattr(request, "param", "")) as running:
        yield running


def with_config(text: str) -> Any:
    return pytest.mark.parametrize("site", [text], indirect=True)


async def statuses(site: Site, *paths: str) -> list[int]:
    return [(await site.get(path)).status for path in paths]


# Who gets them


REFERER = """
module.static.checkreferer = True
module.static.refererallows = [b'friend.example:8080']
module.static.vdir.closed.dir = 'other'
module.static.vdir.closed.refererallowlocal = False
"""


@with_config(REFERER)
async def test_referers(site: Site) -> None:
    own = f"http://127.0.0.1:{site.port}/page"
    friend, foe = "https://friend.example:8080/x", "http://foe.example/?friend.example:8080"
    allowed = {own: (200, 403), friend: (200, 200), foe: (403, 403), "": (403, 403), "http://[": (403, 403)}
    for referer, expected in allowed.items():
        got = [
            (await site.get(f"/{name}/digits.txt", Referer=referer)).status for name in ("static", "other")
        ]
        assert tuple(got) == expected, referer
    assert (await site.get("/static/digits.txt")).status == 403


HOSTS = """
module.static.hostbind = 'one.example'
module.static.map = {'/x': ('static', 'digits.txt')}
module.static.vdir.two.hostbind = ['Two.example', 'three.example']
module.static.vdir.two.map = {'/x': ('other', 'digits.txt')}
"""


@with_config(HOSTS)
async def test_host_names(site: Site) -> None:
    hosts = {"one.example": DIGITS, "two.example:80": b"other", "THREE.example": b"other"}
    for host, content in hosts.items():
        assert (await site.get("/x", Host=host)).body == content
    assert (await site.get("/x")).status == 404


VHOSTS = """
module.httpserver.vhost.a.url = 'tcp://127.0.0.1:0'
module.httpserver.vhost.b.url = 'tcp://127.0.0.1:0'
module.static.vhostbind = None
module.static.vdir.some.vhostbind = ['a', 'nosuch']
module.static.vdir.some.dir = 'other'
"""


async def test_virtual_hosts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, VHOSTS) as site:
        served = {}
        for vhost in ("", "a", "b"):
            place = Site(site.server, site.root, site.file, vhost)
            served[vhost] = await statuses(place, "/static/digits.txt", "/other/digits.txt")
        assert site.server.modules["static"].statistics()["directories"] == 2
    assert served == {"": [200, 404], "a": [200, 200], "b": [200, 404]}
    assert "files of the virtual host 'nosuch' are not reachable" in caplog.text


# Pages for errors, and servers in front


PAGES = """
protocol.http.errorrewrite = {404: b'/errors/404.html', 403: '/errors/other.html', 416: '/errors/404.html'}
module.static.vdir.errors.dir = 'errors'
module.static.vdir.errors.rewriteonly = True
module.static.vdir.errors.errorpage = True
module.static.vdir.errors.contentdisposition = 'attachment'
"""


@with_config(PAGES)
async def test_error_pages(site: Site) -> None:
    pages = site.root / "errors"
    pages.mkdir()
    (pages / "404.html").write_text("<h1>gone")
    (pages / "other.html").write_text("<h1>no")
    await site.server.call("static", "updateconfig")
    got = await site.get("/nowhere", If_None_Match="*", Range="bytes=0-1")
    assert (got.status, got.body) == (404, b"<h1>gone")
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert not {"etag", "last-modified", "accept-ranges", "content-disposition"} & got.headers.keys()
    assert (await site.get("/nowhere", "POST")).body == b"<h1>gone"
    assert (await site.get("/nowhere", "HEAD")).headers["content-length"] == "8"
    got = await site.get("/static/x.gz")
    assert (got.status, got.body) == (403, b"<h1>no")
    got = await site.get("/static/digits.txt", Range="bytes=99-")
    assert got.status == 404, "the name of the page says so"
    got = await site.get("/errors/404.html")
    assert (got.status, got.body) == (404, b"<h1>gone"), "not for who asks for it directly"
    (pages / "404.html").unlink()
    got = await site.get("/nowhere")
    assert (got.status, json.loads(got.body)) == (404, {"error": "nothing answers at '/nowhere'"})


@with_config("module.static.errorpage = True")
async def test_the_status_in_a_name(site: Site) -> None:
    names = {
        "503 later.html": 503,
        "404": 404,
        "4040.html": 200,
        "200.html": 200,
        "99.html": 200,
        "600.html": 200,
    }
    for name, status in names.items():
        (site.root / "static" / name).write_text(name)
        got = await site.get(f"/static/{name.replace(' ', '%20')}")
        assert (got.status, got.body.decode()) == (status, name)


@pytest.mark.parametrize(
    ("site", "header", "value"),
    [
        ("module.static.xsendfile = True", "x-sendfile", "ROOT/static/sub/page%20%C3%A4.html"),
        (
            "module.static.xlighttpdsendfile = True",
            "x-lighttpd-send-file",
            "ROOT/static/sub/page%20%C3%A4.html",
        ),
        ("module.static.xaccelredirect = True", "x-accel-redirect", "/static/sub/page%20%C3%A4.html"),
        (
            "module.static.xaccelredirect = True\nmodule.static.xaccelredirect_root = b'/in/'",
            "x-accel-redirect",
            "/in/sub/page%20%C3%A4.html",
        ),
    ],
    indirect=["site"],
)
async def test_a_server_in_front_sends(site: Site, header: str, value: str) -> None:
    got = await site.get("/static/sub/page%20%C3%A4.html", Range="bytes=0-0")
    assert (got.status, got.body) == (200, b"")
    assert got.headers[header] == value.replace("ROOT", str(site.root))
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert "etag" not in got.headers
    assert (await site.get("/static/nosuch")).status == 404
