"""Where a session reads and writes: a telnet client, or the terminal of the process."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from vlcp.console.telnet import Control, Decoder, ForeignProtocolError, encode

WRITE_LIMIT = 30.0
"""Seconds that a client may take nothing of what it is sent; then the session ends."""
LAST_STATEMENT = 10.0
"""Seconds that a statement goes on when the client has nothing more to say, or is gone; then it is interrupted."""
_READ_SIZE = 4096


class Terminal(Protocol):
    """What a session needs; used from the session's thread, and `close` from any."""

    def start(self, on_interrupt: Callable[[], bool]) -> None:
        """Begin to read. `on_interrupt` is called at interruptions, by another thread; False: `read` shall tell it."""

    def read(self, prompt: str) -> str | Control:
        """The next line, after a prompt."""
        ...

    def write(self, text: str) -> None:
        """Show text. Raises `OSError` when nobody sees it any more."""

    def close(self) -> None:
        """End it: a `read` that waits returns `Control.END`."""


class TelnetTerminal:
    """A telnet client on a connected, blocking socket."""

    def __init__(self, connection: socket.socket, refuse: Callable[[str], None]) -> None:
        """`refuse` is told why, when the client turns out to be no telnet client."""
        self._connection = connection
        self._refuse = refuse
        self._lines: queue.SimpleQueue[str | Control] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._closed = threading.Event()

    def start(self, on_interrupt: Callable[[], bool]) -> None:
        """Begin to read in a thread of its own."""
        # A limit for writes only: a read may wait for ever.
        limit = struct.pack("ll", int(WRITE_LIMIT), 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        receive = threading.Thread(
            target=self._receive, args=(on_interrupt,), name="console input", daemon=True
        )
        receive.start()

    def _receive(self, on_interrupt: Callable[[], bool]) -> None:
        decoder = Decoder()
        try:
            while data := self._connection.recv(_READ_SIZE):
                events = decoder.feed(data)
                if decoder.replies:
                    self._send(bytes(decoder.replies))
                    decoder.replies.clear()
                for event in events:
                    if event is not Control.INTERRUPT or not on_interrupt():
                        self._lines.put(event)
        except ForeignProtocolError as error:
            self._refuse(str(error))
        except OSError:
            pass  # it is gone, which is all that there is to say
        self._lines.put(Control.END)
        if not self._closed.wait(LAST_STATEMENT):
            on_interrupt()
            self._closed.wait()
        self._connection.close()

    def read(self, prompt: str) -> str | Control:
        """The next line, after a prompt."""
        self.write(prompt)
        return self._lines.get()

    def write(self, text: str) -> None:
        """Send text; waits while the client takes nothing, at most `WRITE_LIMIT` seconds."""
        self._send(encode(text))

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.put(Control.END)
        self._closed.set()


class StandardTerminal:
    """The terminal that the process was started from; Ctrl-C stops the server, as ever."""

    def start(self, on_interrupt: Callable[[], bool]) -> None:
        """Lines can be edited, if Python has been built with it."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (importing it is all)

    def read(self, prompt: str) -> str | Control:
        """The next line, after a prompt."""
        try:
            return input(prompt)
        except EOFError:
            return Control.END

    def write(self, text: str) -> None:
        """Show text."""
        usual = sys.__stdout__ or sys.stdout
        usual.write(text)
        usual.flush()

    def close(self) -> None:
        """A read that waits cannot be woken: its thread ends with the process."""
