"""Sessions of the console of a running controller."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from peers.controller import WEBAPI, Controller, free_port

CONSOLE = "vlcp.service.debugging.console.Console"
KNOWLEDGE = "vlcp.service.utils.knowledge.Knowledge"
MANAGER = "vlcp.service.manage.modulemanager.Manager"
PROMPT = b">>> "
PATIENCE = 20.0


class Client:
    """A session: what is said to it, and what it answers before the next prompt."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(PATIENCE)
        self.banner = self.until(PROMPT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def until(self, end: bytes) -> str:
        """What comes until `end`, without it."""
        text = b""
        while not text.endswith(end):
            piece = self.connection.recv(65536)
            assert piece, text
            text += piece
        return text.removesuffix(end).decode()

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def ask(self, statement: str) -> str:
        """Carry out a statement of one line."""
        self.send(f"{statement}\r\n".encode())
        return self.until(PROMPT)

    def rest(self) -> bytes:
        """What comes until the connection is closed."""
        text = b""
        while piece := self.connection.recv(65536):
            text += piece
        return text


class Process:
    """A controller with a console on a port of its own."""

    def __init__(self, directory: Path, scheme: str = "ptcp", more: str = "") -> None:
        self.port = free_port()
        more += f"module.console.telnetconsole = '{scheme}://localhost:{self.port}/'\n"
        self.controller = Controller(
            directory, (WEBAPI, KNOWLEDGE, MANAGER, CONSOLE), more, up="knowledge/discover"
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def client(self) -> Client:
        return Client(self.connect())


@contextlib.contextmanager
def running(directory: Path, scheme: str = "ptcp", more: str = "") -> Iterator[Process]:
    """A process that must end well, and log no fault."""
    process = Process(directory, scheme, more)
    yield process
    assert process.controller.end() == 0
    log = process.controller.log()
    assert "Traceback" not in log, log
