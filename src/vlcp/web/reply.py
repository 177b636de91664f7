"""What handlers of routes answer, without aiohttp."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from vlcp.server.api import BadParameterError
from vlcp.web.display import Display

_DISPLAY = Display()
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header is made of (RFC 9110 section 5.1)."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. Text is sent as UTF-8."""

    body: str | bytes = b""
    status: int = 200
    content_type: str = "text/html"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


def check_header(name: str, value: str) -> None:
    """Raise ValueError for a header that cannot be sent."""
    if not _TOKEN.fullmatch(name) or not value.replace("\t", " ").isprintable():
        raise ValueError(f"{name!r}: {value!r} is no header")


def html(text: str, status: int = 200) -> Reply:
    """A page. Values from outside belong through `html.escape` first."""
    return Reply(body=text, status=status)


def json(value: Any, status: int = 200) -> Reply:
    """Any value as JSON, as the web API shows it."""
    return Reply(body=_DISPLAY.encode(value), status=status, content_type="application/json")


def redirect(target: str, status: int = 302) -> Reply:
    """Send the client elsewhere: to a path such as `/new?a=1`, which keeps host and scheme, or to a whole URL.

    The status is 301, 302, 303, 307 or 308 (RFC 9110 section 15.4); 303 makes a GET of a POST.
    """
    if status not in _REDIRECTS:
        raise ValueError(f"{status} is not the status of a redirect")
    if not target.isprintable():
        raise BadParameterError(f"{target!r} is nowhere to redirect to: it has unprintable characters")
    return Reply(status=status, headers={"Location": target}, content_type="text/plain")


def reply(result: Any) -> Reply:
    """What a handler returned as a reply: None is 204, text plain text, bytes are bytes, all else is JSON."""
    if isinstance(result, Reply):
        return result
    if result is None:
        return Reply(status=HTTPStatus.NO_CONTENT)
    if isinstance(result, str):
        return Reply(body=result, content_type="text/plain")
    if isinstance(result, bytes):
        return Reply(body=result, content_type="application/octet-stream")
    return json(result)
