"""Static files over real connections: parts of them, versions of them, and compressed ones."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import AsyncIterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from unit.web.static_site import BIG, DIGITS, Site, serving

MODIFIED = 1_700_000_000
LAST = formatdate(MODIFIED, usegmt=True)
EARLIER, LATER = (formatdate(MODIFIED + seconds, usegmt=True) for seconds in (-1, 1))


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path, getattr(request, "param", "")) as running:
        yield running


def with_config(text: str) -> Any:
    return pytest.mark.parametrize("site", [text], indirect=True)


def error_of(body: bytes) -> str:
    return str(json.loads(body)["error"])


# Parts


@pytest.mark.parametrize("name", ["digits.txt", "big.bin"])
@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=2-4", 2, 4),
        ("bytes=7-", 7, -1),
        ("bytes=-3", -3, -1),
        ("bytes=0-99999999999", 0, -1),
        ("bytes=-99999999999", 0, -1),
        ("BYTES=1-1", 1, 1),
    ],
)
async def test_a_part(site: Site, name: str, wanted: str, first: int, last: int) -> None:
    content = DIGITS if name == "digits.txt" else BIG
    begin, end = first % len(content), last % len(content)
    got = await site.get(f"/static/{name}", Range=wanted)
    assert got.status == 206
    assert got.body == content[begin : end + 1]
    assert got.headers["content-range"] == f"bytes {begin}-{end}/{len(content)}"


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=0-1,4-5",
        "bytes=5-2",
        "bytes=-",
        "bytes=a-b",
        "bytes",
        "bytes=",
        "bytes=--1",
        "bytes=1-2-3",
        "lines=0-1",
        "bytes=+1-2",
    ],
)
async def test_ranges_that_mean_everything(site: Site, wanted: str) -> None:
    got = await site.get("/static/digits.txt", Range=wanted)
    assert (got.status, got.body) == (200, DIGITS)
    assert "content-range" not in got.headers


@pytest.mark.parametrize(("name", "size"), [("digits.txt", 10), ("big.bin", len(BIG)), ("empty.css", 0)])
@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0"])
async def test_a_range_with_nothing_in_it(site: Site, name: str, size: int, wanted: str) -> None:
    got = await site.get(f"/static/{name}", Range=wanted)
    assert (got.status, got.headers["content-range"]) == (416, f"bytes */{size}")
    assert wanted in error_of(got.body)


async def test_ranges_are_for_get(site: Site) -> None:
    got = await site.get("/static/digits.txt", "HEAD", Range="bytes=0-1")
    assert (got.status, got.headers["content-length"]) == (200, "10")


@with_config("module.static.allowrange = False")
@pytest.mark.parametrize("name", ["digits.txt", "big.bin"])
async def test_without_ranges(site: Site, name: str) -> None:
    got = await site.get(f"/static/{name}", Range="bytes=0-1")
    assert (got.status, got.headers["accept-ranges"]) == (200, "none")
    assert got.body == (DIGITS if name == "digits.txt" else BIG)


# Conditions


async def etag(site: Site) -> str:
    os.utime(site.root / "static" / "digits.txt", (MODIFIED, MODIFIED))
    got = await site.get("/static/digits.txt")
    assert got.headers["last-modified"] == LAST
    return got.headers["etag"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_None_Match": "ETAG"}, 304),
        ({"If_None_Match": "W/ETAG"}, 304),
        ({"If_None_Match": '"a", W/"b,c", ETAG'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"a"'}, 200),
        ({"If_None_Match": '"a"', "If_Modified_Since": LAST}, 200),
        ({"If_Modified_Since": LAST}, 304),
        ({"If_Modified_Since": LATER}, 304),
        ({"If_Modified_Since": EARLIER}, 200),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_Modified_Since": "Sun, 99 Nov 99999 08:49:37 GMT"}, 200),
        ({"If_Match": "ETAG"}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"a"'}, 412),
        ({"If_Match": "W/ETAG"}, 412),
        ({"If_Match": "ETAG", "If_Unmodified_Since": EARLIER}, 200),
        ({"If_Unmodified_Since": LAST}, 200),
        ({"If_Unmodified_Since": EARLIER}, 412),
        ({"If_None_Match": "ETAG", "Range": "bytes=0-1"}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_preconditions(site: Site, headers: dict[str, str], status: int, method: str) -> None:
    tag = await etag(site)
    got = await site.get(
        "/static/digits.txt", method, **{name: value.replace("ETAG", tag) for name, value in headers.items()}
    )
    assert got.status == status
    if status == 304:
        assert got.body == b""
        assert (got.headers["etag"], got.headers["cache-control"]) == (tag, "max-age=5")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("ETAG", 206),
        (LAST, 206),
        ("W/ETAG", 200),
        ('"another"', 200),
        (EARLIER, 200),
        (LATER, 200),
        ("nonsense", 200),
    ],
)
async def test_a_part_of_the_same_version(site: Site, condition: str, status: int) -> None:
    tag = await etag(site)
    got = await site.get("/static/digits.txt", If_Range=condition.replace("ETAG", tag), Range="bytes=3-4")
    assert (got.status, got.body) == (status, b"34" if status == 206 else DIGITS)


async def test_a_tag_tells_versions_apart_and_nothing_else(site: Site) -> None:
    first = await etag(site)
    file = site.root / "static" / "digits.txt"
    file.rename(file.with_name("old"))
    file.write_bytes(DIGITS)  # another inode, the same content
    assert await etag(site) == first
    file.write_bytes(b"0123456789!")
    assert await etag(site) != first


async def test_a_file_from_the_future(site: Site) -> None:
    os.utime(site.root / "static" / "digits.txt", (2**32, 2**32))
    got = await site.get("/static/digits.txt")
    told = parsedate_to_datetime(got.headers["last-modified"])
    assert told <= parsedate_to_datetime(got.headers["date"])


@with_config("module.static.etag = False\nmodule.static.maxage = None")
async def test_without_tags_and_age(site: Site) -> None:
    got = await site.get("/static/digits.txt", If_None_Match='"x"')
    assert got.status == 200
    assert not {"etag", "cache-control"} & got.headers.keys()
    assert (
        await site.get("/static/digits.txt", If_Modified_Since=got.headers["last-modified"])
    ).status == 304


# Compressed files


def compress(site: Site, *ends: str) -> None:
    for end in ends:
        content = gzip.compress(DIGITS) if end == "gz" else end.encode()
        (site.root / "static" / f"digits.txt.{end}").write_bytes(content)


@pytest.mark.parametrize(
    ("there", "accept", "encoding"),
    [
        ("gz br zst", "gzip, br, zstd", "br"),
        ("gz br zst", "gzip", "gzip"),
        ("gz zst", "gzip, br, zstd", "zstd"),
        ("gz br", "gzip;q=1.0, br;q=0.5", "gzip"),
        ("gz", "br, gzip;q=0.1", "gzip"),
        ("gz", "gzip;q=0", None),
        ("gz", "gzip;q=0.000, *;q=0", None),
        ("gz", "*", "gzip"),
        ("gz", "*;q=0.5, gzip;q=0", None),
        ("gz", "GZIP ; Q=1", "gzip"),
        ("gz", "gzip;q=nonsense", None),
        ("gz", "", None),
        ("gz", "deflate", None),
        ("", "gzip, br, zstd", None),
    ],
)
async def test_precompressed_files(site: Site, there: str, accept: str, encoding: str | None) -> None:
    compress(site, *there.split())
    got = await site.get("/static/digits.txt", Accept_Encoding=accept)
    assert (got.status, got.headers.get("content-encoding")) == (200, encoding)
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["vary"] == "Accept-Encoding"
    if encoding == "gzip":
        assert gzip.decompress(got.body) == DIGITS
    elif encoding is None:
        assert got.body == DIGITS


async def test_only_the_compressed_file_is_there(site: Site) -> None:
    compress(site, "gz")
    (site.root / "static" / "digits.txt").unlink()
    assert (await site.get("/static/digits.txt", Accept_Encoding="gzip")).status == 200
    assert (await site.get("/static/digits.txt")).status == 404


async def test_every_form_has_its_own_tag_and_parts(site: Site) -> None:
    compress(site, "br")
    (site.root / "static" / "digits.txt.br").write_bytes(DIGITS)  # as long, and as old
    for name in ("digits.txt", "digits.txt.br"):
        os.utime(site.root / "static" / name, (MODIFIED, MODIFIED))
    plain = await site.get("/static/digits.txt")
    packed = await site.get("/static/digits.txt", Accept_Encoding="br")
    assert plain.headers["etag"] != packed.headers["etag"]
    got = await site.get("/static/digits.txt", Accept_Encoding="br", Range="bytes=2-3")
    assert (got.status, got.headers["content-encoding"], got.body) == (206, "br", b"23")


async def test_compressed_names_are_refused(site: Site) -> None:
    compress(site, "gz")
    got = await site.get("/static/digits.txt.gz")
    assert got.status == 403
    assert "module.static.gzip" in error_of(got.body)


@with_config("module.static.gzip = False")
async def test_without_compressed_files(site: Site) -> None:
    compress(site, "gz")
    got = await site.get("/static/digits.txt", Accept_Encoding="gzip")
    assert (got.body, "content-encoding" in got.headers, "vary" in got.headers) == (DIGITS, False, False)
    got = await site.get("/static/digits.txt.gz")
    assert (got.status, got.headers["content-type"]) == (200, "application/octet-stream")
