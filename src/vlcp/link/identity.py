"""What an open connection is called outside of the process: in what calls answer, and in what they are given."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_numbers = itertools.count(1)


class Identified:
    """A connection with a name of its own, which no other connection of this process ever has."""

    id: str = ""
    """`<vhost>/<peer>#<number>`."""
    vhost: str = ""
    """The virtual host that it belongs to."""
    endpoint: str = ""
    """Where the peer is: an IP address without port, or the path of a Unix socket."""
    known_as: Mapping[str, Any] = MappingProxyType({})
    """What else users know the peer by, such as `datapathid` or `systemid`."""
    peer: str
    local: str

    def identify(self, vhost: str) -> None:
        """It belongs to this virtual host; from now on it has an id."""
        self.vhost = vhost
        self.id = f"{vhost}/{self.peer}#{next(_numbers)}"

    def displayed(self) -> Mapping[str, Any]:
        """How it looks over HTTP. No plain dictionary: the short form of data objects is not meant for it."""
        ends = {"id": self.id, "vhost": self.vhost, "peer": self.peer, "local": self.local}
        return MappingProxyType({**ends, **self.known_as})

    def __str__(self) -> str:
        return self.id or super().__str__()
