"""Files as answers, on aiohttp: what `web.FileResponse` does not do is decided before (see `static`).

That class takes a part of a new file for one of an old when If-Range is a tag, ignores the weights of Accept-Encoding,
and opens files by their path, wherever links lead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from io import FileIO

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from vlcp.web.conditional import Part

_PIECE = 256 * 1024
"""Bytes that are read at once where the system cannot send files by itself."""


def response(
    status: int,
    headers: Iterable[tuple[str, str]],
    file: FileIO,
    data: bytes | None,
    wanted: Part,
    *,
    head: bool,
) -> web.StreamResponse:
    """The answer with a part of a file, whose content is `data` unless it is to be sent from the disk.

    The file is closed afterwards. With `head` only the headers are sent.
    """
    fields = CIMultiDict(headers)
    if data is None and not head and wanted.length:
        return _FromDisk(file, wanted, status, fields)
    file.close()
    if data is None and wanted.length:
        answer = web.StreamResponse(status=status, headers=fields)
        answer.content_length = wanted.length
        return answer
    part = b"" if data is None else data[wanted.start : wanted.start + wanted.length]
    return web.Response(body=part, status=status, headers=fields)


class _FromDisk(web.StreamResponse):
    """An answer whose content is sent by the system, or in a thread; closes the file."""

    def __init__(self, file: FileIO, wanted: Part, status: int, headers: CIMultiDict[str]) -> None:
        super().__init__(status=status, headers=headers)
        self._file = file
        self._wanted = wanted
        self.content_length = wanted.length

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and content. Raises ConnectionError when the client is gone, or the file is shorter now."""
        if self.prepared:
            return None
        with self._file:
            writer = await super().prepare(request)
            await self._send(request)
        return writer

    async def _send(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        loop, (start, count) = asyncio.get_running_loop(), self._wanted
        try:
            sent = await loop.sendfile(transport, self._file, start, count)
        except NotImplementedError:
            sent = await self._copy(start, count)
        if sent < count:
            transport.abort()
            raise ConnectionResetError("the file became shorter while it was sent")

    async def _copy(self, start: int, count: int) -> int:
        sent = 0
        while sent < count:
            length = min(_PIECE, count - sent)
            piece = await asyncio.to_thread(os.pread, self._file.fileno(), length, start + sent)
            if not piece:
                break
            await self.write(piece)
            sent += len(piece)
        return sent
