"""All sessions of a process: who is let in, and the end of all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vlcp.console.functions import Functions
from vlcp.console.hold import Hold
from vlcp.console.output import divided
from vlcp.console.peer import owner
from vlcp.console.secure import SecureConnection
from vlcp.console.session import Session
from vlcp.console.terminal import WRITE_LIMIT, StandardTerminal, TelnetTerminal, Terminal, limit_writes

if TYPE_CHECKING:
    from vlcp.server.server import Server

logger = logging.getLogger(__name__)

MOST_SESSIONS = 16
END_LIMIT = 1.0
"""Seconds that a session may take to end; one that computes in C code goes on until the process ends."""
HANDSHAKE_LIMIT = 10.0
"""Seconds for TLS."""


class Console:
    """The sessions of one server."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        """With `tls` every client has to show a certificate if the context says so; users are not compared then."""
        self._server = server
        self._tls = tls
        self._hold = Hold(asyncio.get_running_loop())
        self._sessions: dict[Session, Functions] = {}
        self._handshakes = set[socket.socket]()
        self._closed = False
        self._counts = {"sessions": 0, "refused": 0}
        self._divided = contextlib.ExitStack()

    def start(self) -> None:
        """Divide standard output."""
        self._divided.enter_context(divided())

    def accept(self, connection: socket.socket) -> None:
        """Take a connected socket: begin a session, or close it. Called in the event loop's thread."""
        reason = self._objection(connection)
        if reason:
            self._refuse(reason)
            connection.close()
            return
        connection.setblocking(True)
        if self._tls is None:
            limit_writes(connection)
            self.begin(TelnetTerminal(connection, self._refuse))
        else:
            self._handshakes.add(connection)
            loop = asyncio.get_running_loop()
            handshake = threading.Thread(
                target=self._handshake, args=(connection, self._tls, loop), name="console TLS", daemon=True
            )
            handshake.start()

    def _objection(self, connection: socket.socket) -> str | None:
        if len(self._sessions) + len(self._handshakes) >= MOST_SESSIONS:
            return f"there are {MOST_SESSIONS} sessions already"
        if self._tls is not None and self._tls.verify_mode == ssl.CERT_REQUIRED:
            return None
        user = owner(connection)
        if user in (0, os.geteuid()):
            return None
        return "its user is not known" if user is None else f"it is a process of user {user}"

    def _refuse(self, reason: str) -> None:
        self._counts["refused"] += 1
        logger.warning("a console session is refused: %s", reason)

    def _handshake(
        self, connection: socket.socket, tls: ssl.SSLContext, loop: asyncio.AbstractEventLoop
    ) -> None:
        connection.settimeout(HANDSHAKE_LIMIT)
        secure, reason = None, ""
        try:
            secure = tls.wrap_socket(connection, server_side=True)
        except OSError as error:
            connection.close()
            reason = str(error)
        try:
            loop.call_soon_threadsafe(self._greeted, connection, secure, reason)
        except RuntimeError:  # the event loop has ended meanwhile
            (secure or connection).close()

    def _greeted(self, connection: socket.socket, secure: ssl.SSLSocket | None, reason: str) -> None:
        """A handshake is over, and gave a connection or the reason why not."""
        self._handshakes.discard(connection)
        if secure is None:
            self._refuse(reason)
        elif self._closed:
            secure.close()
        else:
            self.begin(TelnetTerminal(SecureConnection(secure, WRITE_LIMIT), self._refuse))

    def begin(self, terminal: Terminal, then: Callable[[], object] = lambda: None) -> Session:
        """Begin a session; `then` is called in the event loop when it has ended."""
        loop = asyncio.get_running_loop()
        session = Session(terminal, loop, self._hold)
        functions = Functions(self._server, session, session.show)
        session.on_end = lambda: self._ended(session, functions, loop, then)
        self._sessions[session] = functions
        self._counts["sessions"] += 1
        banner = (
            f"VLCP console, Python {platform.python_version()}, process {os.getpid()}\n"
            "Statements run in the server. console_help() tells what there is; exit() ends the session.\n"
        )
        session.start(banner, functions.variables())
        return session

    def begin_here(self) -> Session:
        """Begin a session in the terminal of the process; at its end the server stops."""
        return self.begin(StandardTerminal(), lambda: self._server.stop("the console has ended"))

    def _ended(
        self,
        session: Session,
        functions: Functions,
        loop: asyncio.AbstractEventLoop,
        then: Callable[[], object],
    ) -> None:
        """Called in the session's thread, which is its last step."""
        functions.let_go()
        with contextlib.suppress(RuntimeError):  # the event loop has ended before
            loop.call_soon_threadsafe(self._forget, session, then)

    def _forget(self, session: Session, then: Callable[[], object]) -> None:
        if functions := self._sessions.pop(session, None):
            functions.close()
        then()

    async def close(self) -> None:
        """End all sessions."""
        self._closed = True
        for session, functions in self._sessions.items():
            functions.close()
            session.close()
        await asyncio.gather(
            *(asyncio.to_thread(session.join, END_LIMIT) for session in self._sessions),
            return_exceptions=True,
        )
        self._hold.end()
        self._sessions.clear()
        self._divided.close()

    def statistics(self) -> dict[str, int]:
        """Sessions now and in all, and connections that were refused."""
        alive = sum(session.alive() for session in self._sessions)
        return {"sessions_now": alive, **self._counts}
