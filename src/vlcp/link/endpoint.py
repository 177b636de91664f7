"""Configured URLs, each kept open until it is stopped: listened on, dialled, or waiting for its one peer."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from vlcp.link.address import Address, Listener, listen
from vlcp.link.reconnect import Backoff, keep_connected


class Connection(Protocol):
    """One connection."""

    def close(self) -> None:
        """End it; what was sent before still goes out."""


C = TypeVar("C", bound=Connection)
Accept = Callable[[C], None]

_PASSING = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
"""What makes listening impossible only for a while: another process has the place, an interface is not up yet."""


class Spawn(Protocol):
    """Runs a coroutine as a task of whoever owns the endpoint."""

    def __call__(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How to listen. `tls` makes the settings anew each time; `retry`: seconds, None for not at all; `mode`: of a Unix
    socket's file, whose directory is made if it is missing with `make_directory`; `prepare` is awaited before the first
    connection is accepted."""

    tls: Callable[[], ssl.SSLContext] | None = None
    backlog: int = 2048
    reuseport: bool = False
    retry: float | None = 3.0
    mode: int | None = None
    make_directory: bool = False
    prepare: Callable[[], Awaitable[object]] | None = None

    async def at(self, address: Address, protocol_factory: Callable[[], asyncio.BaseProtocol]) -> Listener:
        """Listen. Raises `OSError`, and `ValueError` for TLS files that cannot be used."""
        if address.unix and self.make_directory:
            Path(address.path).parent.mkdir(parents=True, exist_ok=True)
        return await listen(
            address,
            protocol_factory,
            self.tls() if self.tls is not None else None,
            self.backlog,
            self.reuseport,
            mode=self.mode,
            accept=self.prepare is None,
        )


class Endpoint(ABC):
    """One URL. `error`: why the last attempt failed, None when it did not or nobody wants it any more."""

    def __init__(self, address: Address, spawn: Spawn, logger: logging.Logger) -> None:
        self.address = address
        self.error: str | None = None
        self._spawn = spawn
        self._logger = logger
        self._wanted = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def listener(self) -> Listener | None:
        """The sockets that wait for peers now."""
        return None

    async def start(self) -> bool:
        """Open it; False when it is open already, or tried again and again."""
        if self._wanted:
            return False
        self._wanted = True
        try:
            await self._start()
        except BaseException:
            self._wanted = False
            raise
        return True

    def stop(self) -> bool:
        """Make no more connections; those that there are stay. False when it was stopped already."""
        was, self._wanted = self._wanted, False
        self._stop()
        if was:
            self.error = None
        return was

    @abstractmethod
    async def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None


class _Entrance(asyncio.Protocol):
    """A peer that was accepted, until its connection is made: its TLS handshake may end when nobody wants it any more,
    and before that it costs us nothing."""

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol | None]) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._protocol()
        if protocol is None:
            cast(asyncio.Transport, transport).abort()
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Acceptor(Endpoint):
    """Accepts any number of peers. When its place is taken, it is tried again every few seconds."""

    def __init__(
        self,
        address: Address,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        manner: Listening,
        spawn: Spawn,
        logger: logging.Logger,
    ) -> None:
        super().__init__(address, spawn, logger)
        self.accepted = 0
        self._factory = protocol_factory
        self._manner = manner
        self._listener: Listener | None = None

    @property
    def listener(self) -> Listener | None:
        """The sockets that wait for peers now."""
        return self._listener

    async def _start(self) -> None:
        retry = self._manner.retry
        try:
            await self._open()
        except OSError as error:
            self.error = error.strerror or str(error)
            if retry is None or error.errno not in _PASSING:
                raise
            self._logger.error("%s; tried again every %g s", self.error, retry)
            self._task = self._spawn(self._try_again(retry), name=f"try {self.address} again")

    async def _open(self) -> None:
        listener = await self._manner.at(self.address, self._protocol)
        if not self._wanted:
            listener.close()
            return
        self._listener = listener
        self.error = None
        self._logger.info("listening at %s", listener.address)
        if self._manner.prepare is not None:
            self._task = self._spawn(self._accept(listener), name=f"accept at {self.address}")

    async def _accept(self, listener: Listener) -> None:
        assert self._manner.prepare is not None
        await self._manner.prepare()
        await listener.accept()

    async def _try_again(self, seconds: float) -> None:
        while self._listener is None and self._wanted:
            await asyncio.sleep(seconds)
            try:
                await self._open()
            except (OSError, ValueError) as error:
                self.error = str(getattr(error, "strerror", None) or error)

    def _protocol(self) -> asyncio.BaseProtocol:
        self.accepted += 1
        return _Entrance(lambda: self._factory() if self._wanted else None)

    def _stop(self) -> None:
        self._cancel_task()
        if self._listener is not None:
            self._listener.close()
        self._listener = None


class Client(Endpoint, Generic[C]):
    """Has one peer. With `persist` it is sought again for as long as the endpoint is open."""

    def __init__(
        self,
        address: Address,
        dial: Callable[[], Awaitable[C]],
        serve: Callable[[C], Awaitable[None]],
        spawn: Spawn,
        logger: logging.Logger,
        *,
        name: str,
        persist: bool = True,
    ) -> None:
        super().__init__(address, spawn, logger)
        self.failures = 0
        self.connection: C | None = None
        self._dial = dial
        self._use = serve
        self._name = name
        self._persist = persist
        self._backoff = Backoff()

    async def _start(self) -> None:
        if self._task is None:
            self._task = self._spawn(self._keep(), name=self._name)

    def _stop(self) -> None:
        if self.connection is None:
            self._cancel_task()

    async def _keep(self) -> None:
        try:
            if self._persist:
                await keep_connected(
                    self._connect,
                    self._serve,
                    name=self._name,
                    logger=self._logger,
                    backoff=self._backoff,
                    wanted=lambda: self._wanted,
                )
            else:
                await self._serve(await self._connect())
        except OSError as error:
            self._logger.warning("%s: %s", self._name, error)
        except Exception as error:
            self._logger.error("%s: unexpected error", self._name, exc_info=error)
        finally:
            if self._task is asyncio.current_task():
                self._task, self._wanted = None, False

    async def _connect(self) -> C:
        try:
            connection = await self._dial()
        except Exception as error:
            self.failures += 1
            self.error = str(error) or type(error).__name__
            if isinstance(error, ValueError) and not isinstance(error, OSError):  # files for TLS
                raise ConnectionError(self.error) from None
            raise
        self.error, self.connection = None, connection
        return connection

    async def _serve(self, connection: C) -> None:
        try:
            await self._use(connection)
        except Exception as error:
            self.error = str(error) or type(error).__name__
            raise
        finally:
            self.connection = None


class PassiveClient(Client[C]):
    """Waits for its one peer where the URL says, and takes no other while it has that one."""

    def __init__(
        self,
        address: Address,
        protocol_factory: Callable[[Accept[C]], asyncio.BaseProtocol],
        manner: Listening,
        serve: Callable[[C], Awaitable[None]],
        spawn: Spawn,
        logger: logging.Logger,
        *,
        name: str,
        persist: bool = True,
    ) -> None:
        super().__init__(address, self._wait, serve, spawn, logger, name=name, persist=persist)
        self._factory = protocol_factory
        self._manner = manner
        self._listener: Listener | None = None
        self._backoff = Backoff(maximum=manner.retry or Backoff().maximum)

    @property
    def listener(self) -> Listener | None:
        """The sockets that wait for the peer now."""
        return self._listener

    async def _wait(self) -> C:
        """The first peer whose connection is made; the listening sockets are closed then."""
        came: asyncio.Future[C] = asyncio.get_running_loop().create_future()

        def take(connection: C) -> None:
            if came.done():
                connection.close()
            else:
                came.set_result(connection)

        self._listener = listener = await self._manner.at(self.address, lambda: self._factory(take))
        self.error = None
        try:
            return await came
        except asyncio.CancelledError:
            if came.done() and not came.cancelled():
                came.result().close()  # it came in this very turn
            raise
        finally:
            listener.close()
            self._listener = None
