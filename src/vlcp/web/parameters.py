"""The parameters of a request: the query of a GET; the form or the JSON object of a POST, or its query without a body.

Forms are application/x-www-form-urlencoded (WHATWG URL section 5) or multipart/form-data (RFC 7578). The last of
several equal names wins; `name[]` collects a list under `name`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import BodyPartReader, HttpVersion11, MultipartReader, web

from vlcp.web.errors import BodyTooLargeError, BodyTooSlowError, RequestError
from vlcp.web.literals import is_quoted, unquote

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
JSON = "application/json"
MOST_FIELDS = 10_000
"""Fields of one query or form."""
LONGEST_LITERALS = 1 << 18
"""Characters of all back-quoted texts of one request. To parse them costs far more than JSON does."""
BODY_TIME = 30.0
"""Seconds in which a body must have arrived."""

_ENCODINGS = frozenset(
    {"ascii", "cp1252", "iso-8859-1", "latin-1", "latin1", "us-ascii", "utf-8", "utf8", "windows-1252"}
)
"""Those of text. Python has others that take hours for a body within the limit."""


class Request(web.BaseRequest):
    """A request whose forms are read with care."""

    async def multipart(self) -> MultipartReader:
        """The parts of the body."""
        reader = await super().multipart()
        reader.part_reader_cls = _Part
        return reader


class _Part(BodyPartReader):
    def get_charset(self, default: str) -> str:
        return _encoding(super().get_charset(default))


class File(msgspec.Struct, frozen=True):
    """A file in a form."""

    name: str
    """What the client calls it: never use it as a path."""
    content_type: str
    data: bytes


Field = tuple[str, str | File]


async def read(
    request: web.BaseRequest, method: str, querystring: str, *, literals: bool = True, json: bool = True
) -> dict[str, Any]:
    """The parameters of a request; with `literals` back-quoted text is a Python literal, but never inside JSON.

    Raises `RequestError` that names the parameter or the position, `BodyTooLargeError` and `BodyTooSlowError`.
    """
    if method in ("GET", "HEAD"):
        return _collected(_fields(querystring, "the query"), literals)
    kind, fields = await _arrived(request, json)
    if querystring and kind is not None:
        raise RequestError("there are parameters in the query and a body: give all of them in one place")
    if querystring:
        fields = _fields(querystring, "the query")
    return fields if isinstance(fields, dict) else _collected(_texts(fields), literals)


async def form(request: web.BaseRequest) -> dict[str, str | File | list[str | File]]:
    """The fields of a form, files as `File`. Raises as `read`."""
    kind, fields = await _arrived(request)
    if isinstance(fields, dict):
        raise RequestError(f"a body of type {kind} is no form")
    return _collected(fields, literals=False)


async def _arrived(
    request: web.BaseRequest, json: bool = True
) -> tuple[str | None, dict[str, Any] | list[Field]]:
    """The type of the body, None without one, and its fields: as they came, or as JSON has them."""
    if (request.content_length or 0) > request.client_max_size:
        raise _too_large(request)
    await _continue(request)
    try:
        async with asyncio.timeout(BODY_TIME):
            return await _body(request, json)
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request) from None
    except TimeoutError:
        raise BodyTooSlowError(f"the body did not arrive within {BODY_TIME:g} s") from None
    except ConnectionError:
        raise RequestError("the connection was closed before the end of the body") from None
    except web.RequestPayloadError as error:
        raise RequestError(f"the body is malformed: {str(error).splitlines()[-1].strip()}") from None


def _too_large(request: web.BaseRequest) -> BodyTooLargeError:
    limit = request.client_max_size
    return BodyTooLargeError(f"the body is longer than {limit} bytes (module.httpserver.bodylimit)")


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that asked first (RFC 9110 section 10.1.1) to send its body."""
    if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _body(request: web.BaseRequest, json: bool) -> tuple[str | None, dict[str, Any] | list[Field]]:
    kind = request.content_type
    if kind == MULTIPART:
        return kind, await _multipart(request)
    body = await request.read()
    if kind == JSON:
        if not json:
            raise RequestError("JSON bodies are not accepted here (module.webapi.acceptjson)")
        return kind, _json(body, request.charset)
    if not body:
        return None, []
    if kind != FORM:
        raise RequestError(f"a body of type {kind} is not understood; send {FORM}, {MULTIPART} or {JSON}")
    return kind, _fields(_text(body.rstrip(b"\r\n"), "the form", request.charset), "the form")


def _fields(text: str, where: str) -> list[Field]:
    try:
        return list(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except UnicodeDecodeError:
        raise RequestError(f"{where} is not UTF-8 text after percent-decoding") from None
    except ValueError:
        raise RequestError(f"{where} has more than {MOST_FIELDS} fields") from None


async def _multipart(request: web.BaseRequest) -> list[Field]:
    try:
        fields = (await request.post()).items()
        return [(name, _field(name, value)) for name, value in fields]
    except (ValueError, LookupError, AssertionError) as error:
        raise RequestError(f"the multipart form is malformed: {error}") from None


def _field(name: str, value: str | bytes | bytearray | web.FileField) -> str | File:
    if isinstance(value, str):
        return value
    if isinstance(value, web.FileField):
        with value.file:
            return File(value.filename, value.content_type, value.file.read())
    return _text(bytes(value), f"parameter {name!r}")


def _texts(fields: Iterable[Field]) -> Iterator[tuple[str, str]]:
    """Files as the text in them."""
    for name, value in fields:
        if isinstance(value, File):
            yield name, _text(value.data, f"the file of parameter {name!r}")
        else:
            yield name, value


def _text(data: bytes, what: str, charset: str | None = None) -> str:
    try:
        return data.decode(_encoding(charset))
    except UnicodeError as error:
        raise RequestError(f"{what} cannot be decoded: {error}") from None


def _encoding(charset: str | None) -> str:
    name = (charset or "utf-8").lower()
    if name not in _ENCODINGS:
        raise RequestError(f"the charset {charset!r} is not understood; send UTF-8")
    return name


def _json(body: bytes, charset: str | None) -> dict[str, Any]:
    if charset and charset.lower() not in ("utf-8", "utf8"):
        body = _text(body, "the JSON body", charset).encode()
    if not body.strip():
        raise RequestError("the JSON body is empty; send an object, such as {}")
    try:
        params = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the JSON body is malformed at {_position(error, body)}: {error}") from None
    except RecursionError:
        raise RequestError("the JSON body is nested too deeply") from None
    if not isinstance(params, dict):
        raise RequestError(f"the JSON body must be an object of parameters, not {type(params).__name__}")
    return params


def _position(error: Exception, body: bytes) -> str:
    """Line and column of an error that tells its byte offset; otherwise the end."""
    digits = str(error).rpartition("(byte ")[2].rstrip(")")
    before = body[: int(digits)] if digits.isdigit() else body
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"line {line}, column {column}"


def _collected(fields: Iterable[Field], literals: bool) -> dict[str, Any]:
    params: dict[str, Any] = {}
    value: Any
    lists: dict[str, list[Any]] = {}
    room = LONGEST_LITERALS
    for name, value in fields:
        if literals and isinstance(value, str) and is_quoted(value):
            room -= len(value)
            value = _value(name, value, room)
        if name.endswith("[]"):
            params[name[:-2]] = lists.setdefault(name[:-2], [])
            lists[name[:-2]].append(value)
        else:
            params[name] = value
    return params


def _value(name: str, text: str, room: int) -> Any:
    if room < 0:
        raise RequestError(
            f"parameter {name!r}: back-quoted texts have more than {LONGEST_LITERALS} characters; send JSON instead"
        )
    try:
        return unquote(text)
    except ValueError as error:
        raise RequestError(f"parameter {name!r}: {error}") from None
