"""The console of the running process."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from vlcp.console.console import Console as Sessions
from vlcp.link.address import Address, AddressError, Listener, listen, parse
from vlcp.link.tls import TlsError, TlsFiles, server_context
from vlcp.server.config import ConfigError
from vlcp.server.module import Module, ModuleError
from vlcp.server.server import Server

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Console(Module):
    """VLCP debugging console: Python statements in the running process, by telnet or in its own terminal.

    Only processes of the same user, or of root, are let in; see `console_help()` there for what can be used.
    """

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.console.*`."""

        startinconsole: bool = False
        """Use the terminal of the process; the server stops when that session ends."""
        telnetconsole: str | None = "ptcp://localhost:9923/"
        """Where to listen: ptcp or pssl on a loopback address, or punix, whose file only our user may use; None for
        nowhere. With pssl and ca_certs any address is allowed."""
        key: str | None = None
        """PEM file of the private key, for pssl."""
        certificate: str | None = None
        """PEM file of the certificate."""
        ca_certs: str | None = None
        """PEM file of the authorities that must have signed the certificates of clients."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._tls: ssl.SSLContext | None = None
        self._listener: Listener | None = None
        self._address = self._checked(self.settings.telnetconsole) if self.settings.telnetconsole else None

    def _checked(self, url: str) -> Address:
        s, key = self.settings, "telnetconsole"
        try:
            address = parse(url, 9923)
            if address.tls:
                self._tls = server_context(TlsFiles(s.key, s.certificate, s.ca_certs))
        except (AddressError, TlsError) as error:
            raise self._wrong(key, error) from None
        authenticated = address.tls and s.ca_certs
        if not address.unix and address.host not in _LOOPBACK and not authenticated:
            raise self._wrong(
                key, f"{url!r} is not on a loopback address: use localhost, or pssl with ca_certs"
            )
        return replace(
            address, scheme="punix" if address.unix else "ptcp"
        )  # TLS begins in the session's thread

    def _wrong(self, name: str, why: object) -> ConfigError:
        key = f"module.console.{name}"
        return ConfigError(f"{self.server.config.origin(key)}: {key}: {why}")

    async def load(self) -> None:
        """Let sessions begin."""
        self._sessions = Sessions(self.server, self._tls)
        self._sessions.start()
        if self.settings.startinconsole:
            self._sessions.begin_here()
        if self._address is None:
            return
        try:
            self._listener = await listen(self._address, lambda: _Handover(self._sessions.accept), mode=0o600)
        except OSError as error:
            raise ModuleError(f"module.console.telnetconsole: {error.strerror or error}") from None
        self.logger.warning("everybody who is our user or root gets a console at %s", self._listener.address)

    async def unload(self) -> None:
        """End all sessions."""
        if self._listener is not None:
            self._listener.close()
        if hasattr(self, "_sessions"):
            await self._sessions.close()

    @property
    def working(self) -> bool:
        """It waits for sessions."""
        return self._listener is not None or self.settings.startinconsole

    def statistics(self) -> dict[str, Any]:
        """Figures of the sessions."""
        return {**super().statistics(), **self._sessions.statistics()}


class _Handover(asyncio.Protocol):
    """Takes the socket of an accepted connection away from the event loop: sessions go on while the loop is held."""

    def __init__(self, take: Callable[[socket.socket], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing was read yet."""
        accepted = cast(asyncio.Transport, transport)  # that of uvloop is of no class of asyncio
        accepted.pause_reading()
        try:
            own = socket.socket(fileno=os.dup(accepted.get_extra_info("socket").fileno()))
        finally:
            accepted.abort()
        self._take(own)
