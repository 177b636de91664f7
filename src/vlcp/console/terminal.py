"""Where a session reads and writes: a telnet client, or the terminal of the process."""

from __future__ import annotations

import asyncio
import contextlib
import io
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
MOST_OUTPUT = 1 << 20
"""Bytes that may wait for a client."""
_READ_SIZE = 4096
_LOST = b"\r\n... (output is lost here)\r\n"


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


class Connection(Protocol):
    """A connected socket, or what does the same for TLS: one thread reads while another one writes."""

    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


def limit_writes(connection: socket.socket) -> None:
    """Let a blocking socket give up a write after `WRITE_LIMIT`; a read may wait for ever."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(WRITE_LIMIT), 0))


class TelnetTerminal:
    """A telnet client on a connection. One thread reads from it, one writes to it."""

    def __init__(self, connection: Connection, refuse: Callable[[str], None]) -> None:
        """`connection` gives up a write after `WRITE_LIMIT`. `refuse` is told why, when it is no telnet client."""
        self._connection = connection
        self._refuse = refuse
        self._lines: queue.SimpleQueue[str | Control] = queue.SimpleQueue()
        self._said_all = False
        self._output = bytearray()
        self._changed = threading.Condition()
        """Of the output, and of the two ends of the terminal."""
        self._lost = False
        self._gone = False
        self._closed = threading.Event()

    def start(self, on_interrupt: Callable[[], bool]) -> None:
        """Begin to read and to write."""
        sender = threading.Thread(target=self._transmit, name="console output", daemon=True)
        receiver = threading.Thread(
            target=self._receive, args=(on_interrupt, sender), name="console input", daemon=True
        )
        sender.start()
        receiver.start()

    def _receive(self, on_interrupt: Callable[[], bool], sender: threading.Thread) -> None:
        decoder = Decoder()
        try:
            while data := self._connection.recv(_READ_SIZE):
                events = decoder.feed(data)
                if decoder.replies:
                    self._send(bytes(decoder.replies), wait=False)
                    decoder.replies.clear()
                for event in events:
                    if event is not Control.INTERRUPT or not on_interrupt():
                        self._lines.put(event)
        except ForeignProtocolError as error:
            self._refuse(str(error))
        except OSError:
            pass  # it is gone, which is all that there is to say
        self._said_all = True
        self._lines.put(Control.END)
        if not self._closed.wait(LAST_STATEMENT):
            on_interrupt()
            self._closed.wait()
        sender.join()
        self._connection.close()

    def read(self, prompt: str) -> str | Control:
        """The next line, after a prompt."""
        self.write(prompt)
        line = self._lines.get()
        if line is Control.END and self._said_all:
            self._lines.put(line)  # pdb and the session read here: both shall know
        return line

    def write(self, text: str) -> None:
        """Send text. While the client takes nothing this waits, at most `WRITE_LIMIT` seconds.

        In an event loop it neither waits nor fails: what is too much is lost, and the client is told so.
        """
        self._send(encode(text), wait=not _in_event_loop())

    def _send(self, data: bytes, *, wait: bool) -> None:
        with self._changed:
            if wait and not self._changed.wait_for(self._has_room, WRITE_LIMIT):
                raise TimeoutError("the client takes nothing")
            if wait and self._gone:
                raise BrokenPipeError("the client is gone")
            if self._gone or not self._has_room():
                self._lost = True
                return
            if self._lost:
                data = _LOST + data
                self._lost = False
            self._output += data
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._gone or len(self._output) < MOST_OUTPUT

    def _transmit(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._take_output():
                self._connection.sendall(data)
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _take_output(self) -> bytes:
        """What waits to be sent; nothing when the terminal was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._output or self._closed.is_set())
            data = bytes(self._output)
            self._output.clear()
            self._changed.notify_all()
            return data

    def close(self) -> None:
        """Close the connection, once what was written is sent."""
        self._lines.put(Control.END)
        self._closed.set()
        with self._changed:
            self._changed.notify_all()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class StandardTerminal:
    """The terminal that the process was started from; Ctrl-C stops the server, as ever."""

    def start(self, on_interrupt: Callable[[], bool]) -> None:
        """Lines are edited by the terminal itself."""

    def read(self, prompt: str) -> str | Control:
        """The next line, after a prompt."""
        # Unbuffered: a thread that waits in a buffered read makes Python abort at its end.
        self.write(prompt)
        line = io.FileIO(sys.stdin.fileno(), closefd=False).readline()
        return line.decode("utf-8", "replace").rstrip("\r\n") if line else Control.END

    def write(self, text: str) -> None:
        """Show text."""
        usual = sys.__stdout__ or sys.stdout
        usual.write(text)
        usual.flush()

    def close(self) -> None:
        """A read that waits cannot be woken: its thread ends with the process."""
