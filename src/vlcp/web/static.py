"""Files as answers: which file a path means, and how it is answered. The answers themselves are made in `files`."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote, urlsplit

import msgspec

from vlcp.server.api import ForbiddenError, NotFoundError
from vlcp.web.conditional import Part, Validators, accepted, http_date, part, precondition
from vlcp.web.errors import PreconditionError, RangeError
from vlcp.web.folder import SUFFIXES, Folder, Found, Symlinks, below

if TYPE_CHECKING:
    from aiohttp import web

    from vlcp.web.environment import Environment

SMALL = 64 * 1024
"""Bytes of a file that is read at once; a longer one goes from the disk to the connection piece by piece."""
_ENCODED = "application/octet-stream"
"""The type of what is unknown, and of what a browser must not decompress by itself."""
_NEWER_TYPES = {
    ".avif": "image/avif",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
}
"""Types that some versions of Python do not know or call otherwise (the media types of IANA)."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"connection", "content-length", "content-range", "transfer-encoding"})
"""Headers that only we can know."""
Age = Annotated[int, msgspec.Meta(ge=0)]


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How files are answered: keys of `module.static.*`, each of which a directory of its own may have otherwise."""

    allowrange: bool = True
    """Send a part of a file to clients that ask for it."""
    etag: bool = True
    """Give every version of a file a tag; clients that have this version get 304."""
    gzip: bool = True
    """Send `x.gz`, `x.br` or `x.zst` for `x` to clients that take it; `x.gz` cannot be asked for by that name."""
    maxage: Age | None = 5
    """Seconds that clients may use a file without asking again; None: no header Cache-Control."""
    symlinks: Symlinks = "inside"
    """Symbolic links: inside follows those that end in the directory or below it, follow all, deny none."""
    mimetypes: tuple[str, ...] = ()
    """Names of files with further types, in the form of /etc/mime.types."""
    mimestrict: bool = True
    """Use only types that are registered; False also those that are only common."""
    contenttype: str | None = None
    """The type of all files; None: by the end of their names."""
    contentdisposition: Literal["attachment", "inline"] | None = None
    """Tell browsers to save the file, or to show it, with its name."""
    extraheaders: tuple[tuple[str, str], ...] = ()
    """Pairs of further headers, which replace ours of the same name."""
    errorpage: bool = False
    """Answer with the status that a file name begins with, such as 404.html, and without tag, ranges and name."""
    rewriteonly: bool = False
    """Answer only requests that were rewritten from another path, such as those of pages for errors."""
    checkreferer: bool = False
    """Answer only when the header Referer names a page of a host that is allowed; else 403."""
    refererallowlocal: bool = True
    """With checkreferer, pages of the host that the request is for are allowed."""
    refererallows: tuple[str, ...] = ()
    """Further hosts whose pages are allowed, as in URLs: with the port if there is one."""
    xsendfile: bool = False
    """Answer with the header X-Sendfile, and let the server in front of us send the file."""
    xlighttpdsendfile: bool = False
    """As xsendfile, with the header X-LIGHTTPD-send-file."""
    xaccelredirect: bool = False
    """As xsendfile, with the header X-Accel-Redirect."""
    xaccelredirect_root: str = "/static"
    """With xaccelredirect: the path in the server in front of us that stands for the directory."""

    def __post_init__(self) -> None:
        for name, value in self.extraheaders:
            if not _HEADER.fullmatch(name) or not (value.isprintable() and value.isascii()):
                raise ValueError(f"extraheaders: {name!r}: {value!r} is not a header")
            if name.lower() in _FRAMING:
                raise ValueError(f"extraheaders: the header {name} cannot be set")
        types_of(self.mimetypes)

    @property
    def is_handed_on(self) -> bool:
        """Whether a server in front of us sends the files."""
        return self.xsendfile or self.xlighttpdsendfile or self.xaccelredirect


def types_of(files: tuple[str, ...]) -> mimetypes.MimeTypes:
    """The types of Python with those of some files. Raises ValueError when one cannot be read."""
    types = mimetypes.MimeTypes()
    for end, kind in _NEWER_TYPES.items():
        types.add_type(kind, end)
    for file in files:
        try:
            types.read(file)
        except OSError as error:
            raise ValueError(f"mimetypes: cannot read {file}: {error.strerror}") from None
    return types


class StaticFiles:
    """The files of a folder that paths lead to. `template` makes the path below the folder from the match."""

    def __init__(self, folder: Folder, template: str, serving: Serving) -> None:
        self._folder = folder
        self._template = template
        self._serving = serving
        self._types = types_of(serving.mimetypes)

    async def answer(self, env: Environment, match: re.Match[str]) -> web.StreamResponse:
        """The answer to a GET or HEAD. Raises errors with a status."""
        self._check(env)
        path = match.expand(self._template)
        found, data = await asyncio.to_thread(self._fetch, path, self._encodings(env, path))
        return self._response(env, below(path), found, data)

    # Whether, and which

    def _check(self, env: Environment) -> None:
        s = self._serving
        if s.rewriteonly and not env.rewritefrom:
            raise NotFoundError(f"nothing answers at {env.path!r}")
        referer = _authority(env.headers.get("Referer", ""))
        local = s.refererallowlocal and referer == env.headers.get("Host", "").lower()
        if s.checkreferer and not (referer and (local or referer in s.refererallows)):
            raise ForbiddenError("the file is only for pages that are allowed (module.static.refererallows)")

    def _encodings(self, env: Environment, path: str) -> list[str]:
        s = self._serving
        if not s.gzip or s.is_handed_on:
            return []
        if path.endswith(".gz"):
            raise ForbiddenError("compressed files are sent in the place of others only (module.static.gzip)")
        return accepted(env.headers.get("Accept-Encoding", ""), SUFFIXES)

    def _fetch(self, path: str, encodings: list[str]) -> tuple[Found, bytes | None]:
        """The file and all that is in it, if it is small; then it is closed. Waits for the disk."""
        found = self._folder.find(path, encodings)
        if found.status.st_size > SMALL:
            return found, None
        with found.file:
            return found, os.pread(found.file.fileno(), found.status.st_size, 0)

    # The answer

    def _response(self, env: Environment, name: str, found: Found, data: bytes | None) -> web.StreamResponse:
        from vlcp.web.files import response

        try:
            size = found.status.st_size if data is None else len(data)
            status, wanted, headers = self._decide(env, name, found, size)
            return response(status, headers, found.file, data, wanted, head=env.method == "HEAD")
        except BaseException:
            found.file.close()
            raise

    def _decide(
        self, env: Environment, name: str, found: Found, size: int
    ) -> tuple[int, Part, list[tuple[str, str]]]:
        """Status, the part of the file and the headers. Raises `PreconditionError` and `RangeError`."""
        s, whole = self._serving, Part(0, size)
        headers = {
            "X-Content-Type-Options": "nosniff",
            **self._caching(),
            **self._about(name, found.encoding),
        }
        if s.is_handed_on:
            return 200, Part(0, 0), self._with_extra({**headers, **self._handing_on(name, found)})
        if s.errorpage:
            return _status_in(name), whole, self._with_extra(headers)
        now = self._validators(found)
        headers |= {"Last-Modified": http_date(now.modified), **({"ETag": now.etag} if now.etag else {})}
        match precondition(env.headers, now):
            case 304:
                return 304, Part(0, 0), self._with_extra(headers)
            case 412:
                raise PreconditionError("the file is another one by now")
        headers |= {"Accept-Ranges": "bytes" if s.allowrange else "none"}
        wanted = self._part(env, size, now)
        if wanted is None:
            return 200, whole, self._with_extra(headers)
        last = wanted.start + wanted.length - 1
        headers["Content-Range"] = f"bytes {wanted.start}-{last}/{size}"
        return 206, wanted, self._with_extra(headers)

    def _part(self, env: Environment, size: int, now: Validators) -> Part | None:
        if env.method != "GET" or not self._serving.allowrange:
            return None
        try:
            return part(env.headers, size, now)
        except ValueError as error:
            raise RangeError(str(error), size) from None

    def _validators(self, found: Found) -> Validators:
        status = found.status
        tag = f"{status.st_mtime_ns:x}-{status.st_size:x}" + (f"-{found.encoding}" if found.encoding else "")
        modified = int(min(status.st_mtime, time.time()))  # never in the future, RFC 9110 section 8.8.2.1
        return Validators(f'"{tag}"' if self._serving.etag else None, modified)

    def _caching(self) -> dict[str, str]:
        s = self._serving
        age = {} if s.maxage is None else {"Cache-Control": f"max-age={s.maxage}"}
        return age | ({"Vary": "Accept-Encoding"} if s.gzip and not s.is_handed_on else {})

    def _about(self, name: str, encoding: str | None) -> dict[str, str]:
        s = self._serving
        headers = {"Content-Type": s.contenttype or self._type(name)}
        if encoding:
            headers["Content-Encoding"] = encoding
        if s.contentdisposition and not s.errorpage:
            headers["Content-Disposition"] = f"{s.contentdisposition}; {_filename(name.rpartition('/')[2])}"
        return headers

    def _type(self, name: str) -> str:
        last = name.rpartition("/")[2]
        kind, encoding = self._types.guess_type(
            f"./{last}", self._serving.mimestrict
        )  # a URL, so not just "a:b"
        if kind is None or encoding is not None:
            return _ENCODED
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind

    def _handing_on(self, name: str, found: Found) -> dict[str, str]:
        s = self._serving
        if s.xaccelredirect:
            return {"X-Accel-Redirect": quote(f"{s.xaccelredirect_root.rstrip('/')}/{name}")}
        return {"X-Sendfile" if s.xsendfile else "X-LIGHTTPD-send-file": quote(found.path)}

    def _with_extra(self, headers: dict[str, str]) -> list[tuple[str, str]]:
        extra = self._serving.extraheaders
        replaced = {name.lower() for name, _ in extra}
        return [*((name, v) for name, v in headers.items() if name.lower() not in replaced), *extra]


def _status_in(name: str) -> int:
    """The status that a file name begins with, if it is that of an error; else 200."""
    found = re.match(r"[45][0-9]{2}(?![0-9])", name.rpartition("/")[2])
    return int(found[0]) if found else 200


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _filename(name: str) -> str:
    """The parameters of Content-Disposition for a file name (RFC 6266, appendix D)."""
    plain = "".join(_plain(name))
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'filename="{plain}"{extended}'


def _plain(name: str) -> Iterator[str]:
    for letter in name:
        yield letter if letter.isascii() and letter.isprintable() and letter not in '"\\%' else "_"
