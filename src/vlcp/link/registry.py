"""The open connections that somebody uses, and how they are found."""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

from vlcp.link.identity import Identified

C = TypeVar("C", bound=Identified)


class Registry(Generic[C]):
    """Open connections, the oldest first."""

    def __init__(self) -> None:
        self._open: dict[str, C] = {}

    def add(self, connection: C) -> None:
        """It is in use from now on."""
        self._open[connection.id] = connection

    def discard(self, connection: C) -> None:
        """It is not in use any more."""
        self._open.pop(connection.id, None)

    def get(self, id: str) -> C | None:
        """The connection with this id."""
        return self._open.get(id)

    def all(self, vhost: str | None = None) -> list[C]:
        """Those of a virtual host; None: of all."""
        return [connection for connection in self._open.values() if vhost in (None, connection.vhost)]

    def endpoints(self, vhost: str | None = None) -> list[tuple[str, str]]:
        """Pairs of a virtual host and an endpoint, each once."""
        return list(dict.fromkeys((each.vhost, each.endpoint) for each in self.all(vhost)))

    def at(self, endpoint: str, vhost: str | None = None) -> list[C]:
        """Those whose peer is at an endpoint; '' stands for every Unix socket. ValueError: it cannot be one."""
        if endpoint == "":
            return [each for each in self.all(vhost) if each.endpoint[:1] in ("", "/")]
        wanted = endpoint if endpoint[:1] == "/" else str(ipaddress.ip_address(endpoint))
        return [each for each in self.all(vhost) if each.endpoint == wanted]
