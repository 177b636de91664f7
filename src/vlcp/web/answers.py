"""Answers of our own, on aiohttp. All are JSON; those to errors are `{"error": text}`."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus

import msgspec
from aiohttp import web

from vlcp.server.api import status_of
from vlcp.web.errors import RequestError
from vlcp.web.reply import Reply, check_header

logger = logging.getLogger(__name__)
_LONGEST_TEXT = 2000
"""Characters of an error; it may repeat what a caller gave, however long that is."""


def failure(error: Exception, *, details: bool = True, trace: bool = False) -> web.Response:
    """The answer for an error: its own status, or 500 with a log entry.

    Without `details` the text says only what the status means; with `trace` the Python traceback is added.
    """
    status, text = status_of(error), str(error)
    if status is None:
        status, text = 500, f"internal error: {type(error).__name__}: {error}"
        logger.error("a request failed", exc_info=error)
    frames = "".join(traceback.format_exception(error)) if trace else None
    response = error_response(status, text if details else HTTPStatus(status).phrase, frames)
    if isinstance(error, RequestError):
        response.headers.update(error.headers)
    return response


def error_response(status: int, text: str, trace: str | None = None) -> web.Response:
    """`{"error": text}`, and the traceback if there is one."""
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    body = {"error": shown} if trace is None else {"error": shown, "trace": trace}
    return json_response(msgspec.json.encode(body), status)


def json_response(body: bytes, status: int = 200) -> web.Response:
    """An answer that is JSON text already."""
    return web.Response(body=body, status=status, content_type="application/json")


def respond(reply: Reply) -> web.Response:
    """A reply as aiohttp sends it. Raises ValueError for headers that cannot be sent."""
    for name, value in reply.headers.items():
        check_header(name, value)
    text = isinstance(reply.body, str)
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    response = web.Response(body=body, status=reply.status, headers=reply.headers)
    if body and "Content-Type" not in reply.headers:
        response.content_type = reply.content_type
        if text:
            response.charset = "utf-8"
    return response
