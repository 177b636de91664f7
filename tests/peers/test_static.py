"""Static files of a whole controller: nothing outside the directories, right parts, headers that are not mixed up."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from peers.controller import WEBAPI, Controller, free_port

MANAGER = "vlcp.service.manage.modulemanager.Manager"
STATIC = "vlcp.service.web.static.Static"
DIGITS = b"0123456789"
HUGE = 256 * 1024 * 1024
CONFIG = """
module.httpserver.url = 'tcp://127.0.0.1:{port}'
protocol.http.errorrewrite = {{404: '/errors/404.html'}}
module.static.relativeroot = '{root}'
module.static.dirs = ['links']
module.static.map = {{'/': ('static', 'index.html'), '/mine/([a-z]+)': ('static', r'\\1.txt')}}
module.static.vdir.down.map = {{'/down': 'static'}}
module.static.vdir.down.contentdisposition = 'attachment'
module.static.vdir.down.extraheaders = [(b'X-Down', b'1')]
module.static.vdir.linked.map = {{'/linked': 'links'}}
module.static.vdir.linked.symlinks = 'follow'
module.static.vdir.errors.dir = 'errors'
module.static.vdir.errors.rewriteonly = True
module.static.vdir.errors.errorpage = True
"""


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Files:
    """The files of a running controller."""

    def __init__(self, controller: Controller, root: Path, port: int) -> None:
        self.controller = controller
        self.root = root
        self.port = port

    def get(self, path: str, method: str = "GET", **headers: str) -> Got:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={n.replace("_", "-"): v for n, v in headers.items()})
            answer = connection.getresponse()
            return Got(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


def fill(root: Path) -> None:
    """Files, links, and a secret beside."""
    for name in ("static", "links", "errors"):
        (root / name).mkdir(parents=True)
    (root / "static" / "digits.txt").write_bytes(DIGITS)
    (root / "static" / "index.html").write_text("<h1>start")
    (root / "errors" / "404.html").write_text("<h1>gone")
    (root / "secret.txt").write_text("secret")
    (root / "links" / "out.txt").symlink_to("../secret.txt")
    (root / "links" / "up").symlink_to("..")
    (root / "links" / "in.txt").symlink_to("plain.txt")
    (root / "links" / "plain.txt").write_text("plain")
    with (root / "static" / "huge.bin").open("wb") as file:
        file.truncate(HUGE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    directory, port = tmp_path_factory.mktemp("static"), free_port()
    fill(directory / "root")
    more = CONFIG.format(port=port, root=directory / "root")
    controller = Controller(directory, (WEBAPI, MANAGER, STATIC), more, "manager/status")
    try:
        yield Files(controller, directory / "root", port)
    finally:
        status = controller.end()
    assert (status, [line for line in controller.log().splitlines() if "Traceback" in line]) == (0, [])
    assert "unknown key" not in controller.log()


def test_files_and_the_start_page(files: Files) -> None:
    start, digits = files.get("/"), files.get("/static/digits.txt")
    assert (start.body, start.headers["Content-Type"]) == (b"<h1>start", "text/html; charset=utf-8")
    assert (digits.status, digits.body) == (200, DIGITS)
    assert files.get("/mine/digits").body == DIGITS


@pytest.mark.parametrize("directory", ["static", "down", "links", "linked"])
@pytest.mark.parametrize(
    "way", ["../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "x/../../secret.txt", "..%5csecret.txt",
            "%2fROOT/secret.txt", "/ROOT/secret.txt", "....//secret.txt", "%00/../../secret.txt", "..;/secret.txt"],
)  # fmt: skip
def test_no_path_leads_out(files: Files, directory: str, way: str) -> None:
    with socket.create_connection(("127.0.0.1", files.port), timeout=20) as line:
        target = f"/{directory}/{way.replace('ROOT', str(files.root))}"
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert body == b"<h1>gone"


@pytest.mark.parametrize(
    ("name", "inside", "followed"),
    [
        ("out.txt", 404, 200),
        ("up/secret.txt", 404, 200),
        ("up/links/plain.txt", 200, 200),
        ("in.txt", 200, 200),
        ("plain.txt", 200, 200),
    ],
)
def test_symbolic_links(files: Files, name: str, inside: int, followed: int) -> None:
    assert files.get(f"/links/{name}").status == inside
    assert files.get(f"/linked/{name}").status == followed


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=9-", 206, b"9", "bytes 9-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-999", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=3-1", 200, DIGITS, None),
        ("bytes=0-1,3-4", 200, DIGITS, None),
        ("bytes=x", 200, DIGITS, None),
        ("items=0-1", 200, DIGITS, None),
    ],
)
def test_ranges(
    files: Files, wanted: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    got = files.get("/static/digits.txt", Range=wanted)
    assert (got.status, got.headers["Content-Range"]) == (status, content_range)
    assert got.body == body or (body is None and "error" in json.loads(got.body))


def test_curl_takes_up_a_download_again(files: Files, tmp_path: Path) -> None:
    begun = tmp_path / "huge.bin"
    with begun.open("wb") as file:
        file.truncate(HUGE - 1000)
    url = f"http://127.0.0.1:{files.port}/static/huge.bin"
    done = subprocess.run(
        ["curl", "-q", "-s", "-S", "-C", "-", "-o", str(begun), "-w", "%{http_code} %{size_download}", url],
        capture_output=True, check=True,
    )  # fmt: skip
    assert (done.stdout, begun.stat().st_size) == (b"206 1000", HUGE)


def test_versions(files: Files) -> None:
    first = files.get("/static/digits.txt")
    tag, date = first.headers["ETag"], first.headers["Last-Modified"]
    inode = f"{os.stat(files.root / 'static' / 'digits.txt').st_ino:x}"
    assert inode not in tag.strip('"').split("-")
    for condition in (
        {"If_None_Match": f'"x", W/{tag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": date},
    ):
        got = files.get("/static/digits.txt", **condition)
        assert (got.status, got.body, got.headers["ETag"]) == (304, b"", tag)
    assert files.get("/static/digits.txt", If_Match='"x"').status == 412
    assert files.get("/static/digits.txt", Range="bytes=1-1", If_Range=tag).status == 206
    assert files.get("/static/digits.txt", Range="bytes=1-1", If_Range='"x"').status == 200
    head = files.get("/static/digits.txt", "HEAD")
    assert (head.status, head.headers["Content-Length"], head.headers["ETag"], head.body) == (
        200,
        "10",
        tag,
        b"",
    )


def test_directories_keep_their_headers_apart(files: Files) -> None:
    for _ in range(3):
        plain, down = files.get("/static/digits.txt"), files.get("/down/digits.txt")
        assert (plain.body, down.body) == (DIGITS, DIGITS)
        assert (down.headers["X-Down"], plain.headers["X-Down"]) == ("1", None)
        assert down.headers["Content-Disposition"] == 'attachment; filename="digits.txt"'
        assert plain.headers["Content-Disposition"] is None
        assert plain.headers["X-Content-Type-Options"] == down.headers["X-Content-Type-Options"] == "nosniff"


def test_error_pages(files: Files) -> None:
    for path in ("/nowhere", "/static/nosuch", "/errors/404.html"):
        got = files.get(path, If_None_Match="*")
        assert (got.status, got.body, got.headers["Content-Type"]) == (
            404,
            b"<h1>gone",
            "text/html; charset=utf-8",
        )


def test_many_slow_downloads_hold_nobody_up(files: Files) -> None:
    before = files.controller.memory()
    clients = [socket.create_connection(("127.0.0.1", files.port), timeout=20) for _ in range(30)]
    for client in clients:
        client.sendall(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    longest = max(files.controller.call("manager/status").seconds for _ in range(20))
    assert longest < 1
    assert files.get("/static/digits.txt").body == DIGITS
    for client in clients:
        client.close()
    assert files.controller.memory() - before < 30


def test_a_whole_download(files: Files) -> None:
    got = files.get("/static/huge.bin")
    assert (got.status, len(got.body)) == (200, HUGE)


def test_the_configuration_is_followed(files: Files) -> None:
    file, root = files.controller.file, files.root
    text = file.read_text()
    (root / "late").mkdir()
    (root / "late" / "a.txt").write_text("late")
    try:
        file.write_text(f"{text}module.static.dirs = ['late']\n")
        files.controller.result("static/updateconfig")
        assert (files.get("/late/a.txt").body, files.get("/links/plain.txt").status) == (b"late", 404)
        file.write_text(f"{text}module.static.map = {{'(': 'late'}}\n")
        refused = files.controller.call("static/updateconfig")
        assert (refused.status, "nothing is changed: " in refused.body["error"]) == (409, True)
        assert f"{file}:{len(text.splitlines()) + 1}: module.static.map: " in refused.body["error"]
        assert files.get("/late/a.txt").body == b"late"
    finally:
        file.write_text(text)
        os.kill(files.controller.process.pid, signal.SIGHUP)
    limit = time.monotonic() + 10
    while files.get("/links/plain.txt").status != 200 or files.get("/late/a.txt").status != 404:
        assert time.monotonic() < limit, files.controller.log()
        time.sleep(0.02)
