"""Connections in use: each is given to the handlers that want it, and closed when nobody uses it any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from vlcp.link.endpoint import Endpoint, Spawn
from vlcp.link.openflow_requests import OpenFlowError
from vlcp.wire.ovsdb import OvsdbError

_GRACE = 1.0
"""Seconds that handlers get to end after their connection has ended."""


class Connection(Protocol):
    """One connection, as `OpenFlowConnection` and `JsonRpcConnection` are. `peer` and `local`: its two ends."""

    id: str
    peer: str
    local: str

    async def ready(self) -> None:
        """Wait until it can be used. ConnectionError: it ended before."""

    def close(self) -> None:
        """End it; what was sent before still goes out."""

    async def wait_closed(self) -> None:
        """Wait for the end. ConnectionError: it was not an orderly one."""

    def statistics(self) -> Mapping[str, Any]:
        """Figures of this connection."""

    def identify(self, vhost: str) -> None:
        """It belongs to this virtual host; from now on it has an `id`."""


C = TypeVar("C", bound=Connection)
K = TypeVar("K")
Handler = Callable[[Any], Awaitable[None]]


class _Wish(NamedTuple):
    """Who wants which connections: of a class, of some virtual hosts (None: of all)."""

    handler: Handler
    kind: type[Any]
    vhosts: Collection[str] | None

    def fits(self, session: Session[Any]) -> bool:
        chosen = self.vhosts is None or session.vhost in self.vhosts
        return chosen and isinstance(session.connection, self.kind)


class Session(Generic[C]):
    """One connection, where it belongs, and the tasks of its handlers."""

    def __init__(self, connection: C, vhost: str, endpoint: Endpoint | None) -> None:
        self.connection = connection
        connection.identify(vhost)
        self.vhost = vhost
        self.endpoint = endpoint
        self.since = time.time()
        self.ready = False
        self.tasks: dict[Handler, asyncio.Task[None]] = {}
        self.error: Exception | None = None

    def status(self) -> dict[str, Any]:
        """For people: its id, both ends, since when (seconds since 1970), and the connection's own figures."""
        ends = {
            "id": self.connection.id,
            "vhost": self.vhost,
            "local": self.connection.local,
            "peer": self.connection.peer,
        }
        return {**ends, "since": self.since, **self.connection.statistics()}


class Sessions(Generic[C]):
    """The connections of one kind of endpoints."""

    def __init__(self, spawn: Spawn, logger: logging.Logger) -> None:
        self._spawn = spawn
        self._logger = logger
        self._wishes: list[_Wish] = []
        self._sessions: dict[C, Session[C]] = {}

    def handle(
        self,
        kind: type[K],
        handler: Callable[[K], Awaitable[None]],
        vhosts: Collection[str] | None = None,
    ) -> None:
        """Give a handler every connection of a class, those that there are and those to come, until it is released.

        It uses the connection until that ends. What it raises ends the connection, unless others use it as well.
        """
        wish = _Wish(handler, kind, vhosts)
        self._wishes.append(wish)
        for session in self._sessions.values():
            if session.ready:
                self._give(session, wish)

    def release(self, handler: Handler) -> None:
        """Cancel the handler on every connection; they stay open for the next one."""
        self._wishes = [wish for wish in self._wishes if wish.handler != handler]
        for session in self._sessions.values():
            if (task := session.tasks.pop(handler, None)) is not None:
                task.cancel()

    def all(self) -> list[Session[C]]:
        """The connections that are open."""
        return list(self._sessions.values())

    def close(self, endpoint: Endpoint | None = None) -> None:
        """Close every connection, or those that came by an endpoint."""
        for session in self.all():
            if endpoint is None or session.endpoint is endpoint:
                session.connection.close()

    def accept(self, connection: C, vhost: str, endpoint: Endpoint | None) -> None:
        """Serve a connection that a peer has made, in a task of its own."""
        session = self._sessions[connection] = Session(connection, vhost, endpoint)
        self._spawn(self._attend(session), name=f"peer {connection.peer}")

    async def attend(self, connection: C, vhost: str, endpoint: Endpoint | None) -> None:
        """Serve a connection to its end; what goes wrong is logged."""
        await self._attend(Session(connection, vhost, endpoint))

    async def _attend(self, session: Session[C]) -> None:
        try:
            await self._serve(session)
        except OSError as error:
            self._logger.info("%s: %s", session.connection.peer, error)
        except Exception as error:
            self._logger.error("%s: unexpected error", session.connection.peer, exc_info=error)

    async def serve(self, connection: C, vhost: str, endpoint: Endpoint | None) -> None:
        """Serve a connection to its end. Raises `OSError` when that was not orderly, and what its handler raised."""
        await self._serve(Session(connection, vhost, endpoint))

    async def _serve(self, session: Session[C]) -> None:
        connection = session.connection
        self._sessions[connection] = session
        try:
            await connection.ready()
            session.ready = True
            for wish in self._wishes:
                self._give(session, wish)
            await self._end(session)
        except (OvsdbError, OpenFlowError) as error:
            raise ConnectionError(f"{connection.peer}: {error}") from error
        finally:
            for task in session.tasks.values():
                task.cancel()
            connection.close()
            self._sessions.pop(connection, None)

    async def _end(self, session: Session[C]) -> None:
        reason: Exception | None = None
        try:
            await session.connection.wait_closed()
        except OSError as error:
            reason = error
        if session.tasks:
            await asyncio.wait(session.tasks.values(), timeout=_GRACE)
        if (why := session.error or reason) is not None:
            raise why

    def _give(self, session: Session[C], wish: _Wish) -> None:
        if wish.fits(session):
            name = f"handler of {session.connection.peer}"
            session.tasks[wish.handler] = self._spawn(self._use(session, wish.handler), name=name)

    async def _use(self, session: Session[C], handler: Handler) -> None:
        error: Exception | None = None
        try:
            await handler(session.connection)
        except Exception as caught:  # it harms this connection alone
            error = caught
        finally:
            if session.tasks.get(handler) is asyncio.current_task():
                del session.tasks[handler]
        if session.tasks:
            if error is not None:
                self._logger.warning("%s: %s", session.connection.peer, error, exc_info=error)
            return
        session.error = error
        session.connection.close()
