"""The configuration of static files: which directories are served, where, and each in its own manner."""

from __future__ import annotations

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
    (site.root / "types").write_text("text/x-other own\n")
    await site.server.call("static", "updateconfig")
    assert (await site.get("/static/a.own")).headers["content-type"] == "text/x-other; charset=utf-8"


@with_config("module.static.mimestrict = False")
async def test_types_that_are_not_registered(site: Site) -> None:
    (site.root / "static" / "a.pic").write_text("x")
    assert (await site.get("/static/a.pic")).headers["content-type"] == "image/pict"


# Changes


async def test_the_configuration_changes(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [200, 404]
    site.configure("module.static.dir = 'other'\nmodule.static.maxage = 7")
    assert await site.server.call("static", "updateconfig") is None
    assert await statuses(site, "/static/digits.txt", "/other/digits.txt") == [404, 200]
    assert (await site.get("/other/digits.txt")).headers["cache-control"] == "max-age=7"
    site.configure("module.static.vdir.new.dir = 'other'\nmodule.static.vdir.new.maxage = 8")
    await site.server.reconfigure()
    assert (await site.get("/other/digits.txt")).headers["cache-control"] == "max-age=8"
    assert "unknown key" not in caplog.text
    site.configure("module.static.vdir.new.maxages = 8")
    await site.server.reconfigure()
    assert (
        "unknown key module.static.vdir.new.maxages; did you mean module.static.vdir.new.maxage?"
        in caplog.text
    )


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
