"""The configuration of static files: which directories are served, where, and each in its own manner."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from unit.reloading import reloaded
from unit.web.static_site import BIG, DIGITS, Site, serving
from vlcp.server.api import ConflictError
from vlcp.server.config import parse
from vlcp.server.errors import ModuleError
from vlcp.server.module import module_path
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.web.static import Static


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path, getattr(request, "param", "")) as running:
        yield running


def with_config(text: str) -> Any:
    return pytest.mark.parametrize("site", [text], indirect=True)


async def statuses(site: Site, *paths: str) -> list[int]:
    return [(await site.get(path)).status for path in paths]


# Which directories


@with_config("module.static.dirs = ['other', 'static/sub']")
async def test_several_directories(site: Site) -> None:
    paths = (
        "/static/digits.txt",
        "/other/digits.txt",
        "/static/sub/page%20%C3%A4.html",
        "/sub/page%20%C3%A4.html",
    )
    assert await statuses(site, *paths) == [200, 200, 200, 404]


@with_config("module.static.dir = None\nmodule.static.map = {'/': ('static', 'digits.txt'), '/o': 'other'}")
async def test_a_start_page(site: Site) -> None:
    got = await site.get("/")
    assert (got.status, got.body) == (200, DIGITS)
    assert (await site.get("/o/digits.txt")).body == b"other"
    assert await statuses(site, "/digits.txt", "/static/digits.txt", "/other/digits.txt") == [404, 404, 404]


PATTERNS = r"""
module.static.map = {br'/v([0-9]+)/(\w+)': (b'static', br'\2.txt'), '/all': ['static', 'sub/../big.bin']}
"""


@with_config(PATTERNS)
async def test_regular_expressions(site: Site) -> None:
    assert (await site.get("/v17/digits")).body == DIGITS
    assert (await site.get("/all")).body == BIG
    assert await statuses(site, "/vx/digits", "/v1/digits/", "/all/x") == [404, 404, 404]


@with_config("module.static.dir = 'ROOT/other'\nmodule.static.map = {'/': '.'}")
async def test_absolute_directories_and_a_whole_tree(site: Site) -> None:
    assert (await site.get(f"{site.root}/other/digits.txt")).body == b"other"
    assert (await site.get("/static/digits.txt")).body == DIGITS
    assert await statuses(site, "/../vlcp.conf", "/%2e%2e/vlcp.conf") == [404, 404]


async def test_a_module_tells_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "staticowner"
    (own / "pages").mkdir(parents=True)
    (own / "__init__.py").write_text("")
    (own / "pages" / "a.txt").write_text("a")
    monkeypatch.syspath_prepend(str(tmp_path))
    more = "module.static.relativeroot = None\nmodule.static.relativemodule = 'staticowner'\n"
    async with serving(tmp_path, more + "module.static.dir = 'pages'") as site:
        assert (await site.get("/pages/a.txt")).body == b"a"


async def test_the_working_directory_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    more = "module.static.relativeroot = None\nmodule.static.relativemodule = 'no.such'\n"
    async with serving(tmp_path, more + "module.static.dir = 'pages'") as site:
        assert (await site.get("/pages/a.txt")).body == b"a"


async def test_what_is_missing_is_told_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(tmp_path, "module.static.dirs = ['nosuch', 'other']") as site:
            assert await statuses(site, "/nosuch/x", "/other/digits.txt") == [404, 200]
    (told,) = caplog.messages
    assert told.endswith("root/nosuch' is not served: there is no such directory")
    assert "vlcp.conf:3: module.static.dirs: " in told


async def test_the_default_need_not_exist(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(tmp_path, f"module.static.relativeroot = {str(tmp_path)!r}") as site:
            assert await statuses(site, "/static/digits.txt") == [404]
    assert caplog.messages == []


async def test_programs_are_not_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "root" / "program").mkdir(parents=True)
    (tmp_path / "root" / "program" / "__init__.py").write_text("")
    async with serving(tmp_path, "module.static.dirs = ['program', 'other']") as site:
        assert await statuses(site, "/program/__init__.py", "/other/digits.txt") == [404, 200]
    assert "there is a program in it" in caplog.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("map = {'(': ('a', 'b')}", "module.static.map: '(' with 'b': missing )"),
        (r"map = {'/x': ('a', r'\1')}", "invalid group reference 1"),
        ("map = {'/x': 5}", "module.static.map = {'/x': 5}: expected `str | array`, got `int`"),
        ("map = {'/x': ('a',)}", "expected `array` of length 2"),
        ("dir = '../x'", "module.static.dir = '../x' has no path of its own: use module.static.map"),
        ("symlinks = 'sometimes'", "module.static.symlinks = 'sometimes': invalid enum value"),
        ("maxage = -1", "module.static.maxage = -1: expected `int` >= 0"),
        ("contentdisposition = 'x'", "module.static.contentdisposition = 'x': invalid enum value"),
        ("extraheaders = [('a b', 'c')]", "'a b': 'c' is not a header"),
        ("extraheaders = [('a', 'c\\r\\nd: e')]", "is not a header"),
        ("extraheaders = [('Content-Length', '1')]", "the header Content-Length cannot be set"),
        ("mimetypes = ['/nosuch']", "cannot read /nosuch: No such file"),
        ("vdir.a.map = {'(': 'b'}", "x:1: module.static.vdir.a.map: "),
        ("vdir.a.maxage = 'x'", "x:1: module.static.vdir.a.maxage = 'x'"),
        ("vdir = 5", "module.static.vdir = 5: expected `object`"),
        ("hostbind = 5", "module.static.hostbind = 5"),
    ],
)
async def test_wrong_configurations(text: str, told: str) -> None:
    server = Server(parse(f"module.static.{text}\nmodule.httpserver.url = None", "x"))
    try:
        with pytest.raises(ModuleError, match=r": x:1: module\.static") as caught:
            await server.load(Static)
        assert told in str(caught.value)
    finally:
        await server.loader.unload_all()


# Directories of their own


VDIRS = """
module.static.dir = None
module.static.extraheaders = [(b'X-All', b'all')]
module.static.vdir.down.dir = 'static'
module.static.vdir.down.contentdisposition = 'attachment'
module.static.vdir.down.extraheaders = [('X-Down', '1'), ('Cache-Control', 'no-store'), ('X-Down', '2')]
module.static.vdir.show.map = {'/show': 'static'}
module.static.vdir.show.maxage = 60
module.static.vdir.show.vdir.inner.dirs = ['other']
module.static.vdir.show.vdir.inner.contenttype = 'text/x-own'
"""


@with_config(VDIRS)
async def test_each_has_its_own_headers(site: Site) -> None:
    for _ in range(2):  # also when one was answered just before by another
        down = await site.get("/static/digits.txt")
        show = await site.get("/show/digits.txt")
        inner = await site.get("/other/digits.txt")
        assert (down.status, show.status, inner.status) == (200, 200, 200)
        assert down.headers["content-disposition"] == 'attachment; filename="digits.txt"'
        assert (down.headers["x-down"], down.headers["cache-control"]) == ("2", "no-store")
        assert "x-all" not in down.headers
        assert (show.headers["x-all"], show.headers["cache-control"]) == ("all", "max-age=60")
        assert not {"content-disposition", "x-down"} & show.headers.keys()
        assert (inner.headers["x-all"], inner.headers["cache-control"]) == ("all", "max-age=60")
        assert inner.headers["content-type"] == "text/x-own"


@with_config("module.static.dir = None\nmodule.static.vdir.a.dir = 'static'")
async def test_nothing_but_vdirs(site: Site) -> None:
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [200, 404]


@with_config("module.static.contentdisposition = 'inline'")
async def test_file_names_in_headers(site: Site) -> None:
    got = await site.get("/static/sub/page%20%C3%A4.html")
    assert (
        got.headers["content-disposition"]
        == "inline; filename=\"page _.html\"; filename*=UTF-8''page%20%C3%A4.html"
    )
    (site.root / "static" / 'a"b\n.txt').write_text("x")
    got = await site.get("/static/a%22b%0a.txt")
    assert (
        got.headers["content-disposition"] == "inline; filename=\"a_b_.txt\"; filename*=UTF-8''a%22b%0A.txt"
    )


async def test_types(site: Site) -> None:
    (site.root / "types").write_text("text/x-own own\n")
    site.configure("module.static.mimetypes = ['ROOT/types']")
    await site.server.call("static", "updateconfig")
    types = {
        "a.html": "text/html; charset=utf-8",
        "a.js": "text/javascript; charset=utf-8",
        "a.svg": "image/svg+xml",
        "a.woff2": "font/woff2",
        "a.own": "text/x-own; charset=utf-8",
        "a.tar.bz2": "application/octet-stream",
        "a.unknown": "application/octet-stream",
        "a:b.html": "text/html; charset=utf-8",
        "a.pic": "application/octet-stream",
    }
    for name, kind in types.items():
        (site.root / "static" / name).write_text("x")
        assert (await site.get(f"/static/{name}")).headers["content-type"] == kind, name


@with_config("module.static.mimestrict = False")
async def test_types_that_are_not_registered(site: Site) -> None:
    (site.root / "static" / "a.pic").write_text("x")
    assert (await site.get("/static/a.pic")).headers["content-type"] == "image/pict"


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


# Changes


async def test_the_configuration_changes(site: Site) -> None:
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [200, 404]
    site.configure("module.static.dir = 'other'\nmodule.static.maxage = 7")
    assert await site.server.call("static", "updateconfig") is None
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [404, 200]
    assert (await site.get("/other/digits.txt")).headers["cache-control"] == "max-age=7"


@pytest.mark.parametrize("text", ["map = {'(': 'x'}", "maxage = 'x'", "dir ="])
async def test_a_bad_file_changes_nothing(site: Site, text: str) -> None:
    site.configure(f"module.static.{text}")
    with pytest.raises(ConflictError, match=r"^nothing is changed: .*vlcp.conf:3: "):
        await site.server.call("static", "updateconfig")
    assert await statuses(site, "/static/digits.txt") == [200]
    assert site.server.config.get("module.static.maxage") is None
    site.configure("module.static.dir = 'other'")
    await site.server.call("static", "updateconfig")
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [404, 200]


async def test_unloading_and_reloading(site: Site) -> None:
    path = module_path(Static)
    await site.server.load(HttpServer)
    async with reloaded(site.server, path):
        assert site.server.modules["static"].statistics()["directories"] == 1
        assert await statuses(site, "/static/digits.txt") == [200]
        await site.server.unload(path)
        assert await statuses(site, "/static/digits.txt") == [404]
