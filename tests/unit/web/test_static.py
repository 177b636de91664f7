"""Static files over real connections: which file is answered, and no other, whatever clients do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certificates import Authority
from unit.web.static_site import BIG, DIGITS, Site, serving


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path, getattr(request, "param", "")) as running:
        yield running


def error_of(body: bytes) -> str:
    return str(json.loads(body)["error"])


# Which file


async def test_a_file(site: Site) -> None:
    got = await site.get("/static/digits.txt")
    assert (got.status, got.body) == (200, DIGITS)
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["content-length"] == "10"
    assert got.headers["cache-control"] == "max-age=5"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["vary"] == "Accept-Encoding"


async def test_a_file_from_the_disk(site: Site) -> None:
    got = await site.get("/static/big.bin")
    assert (got.status, got.headers["content-type"]) == (200, "application/octet-stream")
    assert got.body == BIG


async def test_an_encoded_name_and_an_empty_file(site: Site) -> None:
    got = await site.get("/static/sub/page%20%C3%A4.html?v=1")
    assert (got.status, got.body.decode()) == (200, "<p>ä")
    got = await site.get("/static/empty.css")
    assert (got.status, got.headers["content-length"], got.body) == (200, "0", b"")


@pytest.mark.parametrize("name", ["digits.txt", "big.bin"])
async def test_head(site: Site, name: str) -> None:
    full, head = await site.get(f"/static/{name}"), await site.get(f"/static/{name}", "HEAD")
    assert head.status == 200
    assert head.body == b""
    drop = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in drop} == {
        k: v for k, v in full.headers.items() if k not in drop
    }


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/sub",
        "/static/sub/",
        "/static/digits.txt/",
        "/static/nosuch",
        "/static/digits.txt/x",
        "/static/pipe",
        "/static/socket",
        "/static/a%00b",
        "/static/" + "x" * 300,
        "/secret.txt",
        "/digits.txt",
    ],
)
async def test_what_is_no_file(site: Site, path: str) -> None:
    os.mkfifo(site.root / "static" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site.root / "static" / "socket"))
        got = await site.get(path)
    assert got.status == 404
    assert error_of(got.body)


async def test_other_methods(site: Site) -> None:
    got = await site.get("/static/digits.txt", "DELETE")
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


async def test_a_file_that_may_not_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError

    monkeypatch.setattr("vlcp.web.folder.os.open", refuse)
    assert (await site.get("/static/digits.txt")).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret.txt",
        "/static/../../../../../../etc/passwd",
        "/static/..%2fsecret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/sub/../../secret.txt",
        "/static/sub/..%2f..%2fsecret.txt",
        "/static//ROOT/secret.txt",
        "/static/%2FROOT/secret.txt",
        "/static/..\\secret.txt",
        "/static/..%5csecret.txt",
        "/static/....//secret.txt",
        "/static/digits.txt%00/../../secret.txt",
        "/static/%252e%252e/secret.txt",
        "http://x/static/../secret.txt",
    ],
)
async def test_no_path_leads_out(site: Site, path: str) -> None:
    got = await site.get(path.replace("ROOT", str(site.root).lstrip("/")))
    assert got.status == 404
    assert error_of(got.body).startswith(("there is no file at", "nothing answers at"))


async def test_dots_stay_inside(site: Site) -> None:
    assert (await site.get("/static/sub/../digits.txt")).body == DIGITS
    assert (await site.get("/static/../../digits.txt")).body == DIGITS


LINKS = {
    "in": ("inside.txt", "digits.txt"),
    "out": ("outside.txt", "../secret.txt"),
    "absolute": ("absolute.txt", "/etc/hostname"),
    "directory": ("directory/secret.txt", ".."),
    "directory inside": ("directory/page ä.html", "sub"),
    "beside": ("beside.txt", "../static2/x.txt"),
    "circle": ("circle.txt", "circle.txt"),
    "nowhere": ("nowhere.txt", "nosuch"),
}


@pytest.mark.parametrize(
    ("site", "followed"),
    [
        ("", {"in", "directory inside"}),
        ("module.static.symlinks = 'inside'", {"in", "directory inside"}),
        ("module.static.symlinks = 'deny'", set()),
        (
            "module.static.symlinks = 'follow'",
            {"in", "directory inside", "out", "absolute", "directory", "beside"},
        ),
    ],
    indirect=["site"],
)
async def test_symbolic_links(site: Site, followed: set[str]) -> None:
    (site.root / "static2").mkdir()
    (site.root / "static2" / "x.txt").write_text("x")
    found = set()
    for kind, (path, target) in LINKS.items():
        link = site.root / "static" / path.split("/")[0]
        link.symlink_to(target)
        got = await site.get("/static/" + path.replace(" ", "%20").replace("ä", "%C3%A4"))
        assert got.status in (200, 404)
        if got.status == 200:
            found.add(kind)
        link.unlink()
    assert found == followed


async def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    async with serving(tmp_path, "module.static.dir = 'current'") as site:
        assert (await site.get("/current/digits.txt")).status == 404, "it was not there when we began"
        (site.root / "current").symlink_to("static")
        await site.server.call("static", "updateconfig")
        assert (await site.get("/current/digits.txt")).body == DIGITS
        (site.root / "current").unlink()
        (site.root / "current").symlink_to("other")
        assert (await site.get("/current/digits.txt")).body == b"other", "a link that is replaced is followed"


# Ways to send


async def test_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    text = f"""
module.httpserver.url = 'ssl://127.0.0.1:0'
module.httpserver.certificate = {certificate!r}
module.httpserver.key = {key!r}
"""
    context = ssl.create_default_context(cafile=authority.certificate)
    async with serving(tmp_path, text) as site:
        for path, content in (("big.bin", BIG), ("digits.txt", DIGITS)):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=context)
            writer.write(f"GET /static/{path} HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(content) - 5) == content[5:]
            writer.close()
            await writer.wait_closed()


async def test_where_the_system_cannot_send_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sendfile", refuse)
    assert (await site.get("/static/big.bin")).body == BIG
    got = await site.get("/static/big.bin", Range="bytes=10-300000")
    assert (got.status, got.body) == (206, BIG[10:300001])


# Rudeness


async def test_the_end_waits_for_no_slow_download(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        with (site.root / "static" / "huge.bin").open("wb") as content:
            content.truncate(64 * 1024 * 1024)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            await site.server.loader.unload_all()
        writer.close()


async def test_clients_that_leave_in_the_middle(site: Site) -> None:
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /static/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0)
        writer.transport.abort()
    assert (await site.get("/static/big.bin")).body == BIG


async def test_a_file_that_shrinks_while_it_is_sent(site: Site) -> None:
    file = site.root / "static" / "huge.bin"
    with file.open("wb") as content:
        content.truncate(64 * 1024 * 1024)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    os.truncate(file, 1024)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(10):
            await reader.readexactly(64 * 1024 * 1024)
    writer.close()
    assert (await site.get("/static/digits.txt")).body == DIGITS


async def test_several_requests_on_one_connection(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    request = "GET /static/{} HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write("".join(request.format(name) for name in ("big.bin", "digits.txt", "big.bin")).encode())
    for content in (BIG, DIGITS, BIG):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(content)) == content
    writer.close()
    await writer.wait_closed()
