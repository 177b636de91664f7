"""A TLS connection that one thread reads while another one writes."""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class SecureConnection:
    """Takes turns: OpenSSL allows no two calls at a time on one connection, SSL_read(3)."""

    def __init__(self, connection: ssl.SSLSocket, write_limit: float) -> None:
        """`write_limit`: seconds in which the peer must take something of what it is sent."""
        connection.setblocking(False)
        self._connection = connection
        self._write_limit = write_limit
        self._turn = threading.Lock()

    def recv(self, size: int) -> bytes:
        """Some bytes; none at the end of the connection."""
        return self._when_ready(partial(self._connection.recv, size), None)

    def sendall(self, data: bytes) -> None:
        """Send everything. Raises `TimeoutError` when the peer takes nothing."""
        rest = memoryview(data)
        while rest:
            sent = self._when_ready(partial(self._connection.send, rest), self._write_limit)
            rest = rest[sent:]

    def shutdown(self, how: int) -> None:
        """End the connection below TLS; a read that waits returns."""
        with self._turn:
            self._connection.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def _when_ready(self, work: Callable[[], T], limit: float | None) -> T:
        while True:
            try:
                with self._turn:
                    return work()
            except ssl.SSLWantReadError:
                awaited = select.POLLIN
            except ssl.SSLWantWriteError:
                awaited = select.POLLOUT
            poll = select.poll()
            poll.register(self._connection, awaited)
            if not poll.poll(None if limit is None else limit * 1000):
                raise TimeoutError("the peer takes nothing")
