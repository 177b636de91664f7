"""The keys of `protocol.*` that concern connections, and of `protocol` below the level of a server module.

`protocol.default.<key>` serves only what a protocol does not declare itself: `protocol.default.keepalivetime` is for
plain JSON-RPC, because OpenFlow and OVSDB have values of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, TypeVar

import msgspec

from vlcp.server.config import Config, Limit, Seconds

P = TypeVar("P", bound="Protocol")
S = TypeVar("S", bound=msgspec.Struct)
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `protocol.default.*`, which every protocol has."""

    sections: ClassVar[tuple[str, ...]] = ("default",)
    """Where the keys of the structure are: below `protocol.`, of itself first, then of those it derives from."""

    persist: bool = False
    """A client connects again when the connection is lost or cannot be made."""
    connect_timeout: Seconds = 30.0
    """Seconds that connecting may take, resolving the name and TLS included."""
    reuseport: bool = False
    """Several processes may listen at one port; the system shares the connections among them."""
    listen_persist: bool = True
    """A listener whose place is taken is tried again; otherwise the module fails."""
    retrylisten_interval: Seconds = 3.0
    """Seconds between two attempts to listen."""
    backlogsize: Annotated[int, msgspec.Meta(gt=0, lt=2**31)] = 2048
    """Connections that may wait to be accepted."""
    keepalivetime: Seconds | None = None
    """Seconds of silence until a peer is asked for a sign of life; None: never."""
    keepalivetimeout: Seconds = 3.0
    """Seconds until it must have given one."""
    defaultport: PortNumber = 0
    """Port of a URL without one."""
    ssldefaultport: PortNumber | None = None
    """Port of a URL with TLS without one; None: the same."""


class Http(Protocol, frozen=True, kw_only=True):
    """The keys of `protocol.http.*` that concern connections."""

    sections: ClassVar[tuple[str, ...]] = ("http", "default")
    defaultport: PortNumber = 80
    ssldefaultport: PortNumber | None = 443


class JsonRpc(Protocol, frozen=True, kw_only=True):
    """The keys of `protocol.jsonrpc.*`."""

    sections: ClassVar[tuple[str, ...]] = ("jsonrpc", "default")
    persist: bool = True
    defaultport: PortNumber = 6632
    messagelimit: Limit = 16 * 1024 * 1024
    """Bytes that a message may have."""
    levellimit: Limit = 1024
    """Levels that objects and arrays in a message may be nested."""
    allowedrequests: tuple[str, ...] | None = None
    """The methods that peers may call; None: all that there are."""


class Ovsdb(JsonRpc, frozen=True, kw_only=True):
    """The keys of `protocol.ovsdb.*`."""

    sections: ClassVar[tuple[str, ...]] = ("ovsdb", "jsonrpc", "default")
    defaultport: PortNumber = 6632
    allowedrequests: tuple[str, ...] | None = ("echo",)
    keepalivetime: Seconds | None = 10.0
    keepalivetimeout: Seconds = 3.0


class OpenFlow(Protocol, frozen=True, kw_only=True):
    """The keys of `protocol.openflow.*`."""

    sections: ClassVar[tuple[str, ...]] = ("openflow", "default")
    persist: bool = True
    defaultport: PortNumber = 6653
    keepalivetime: Seconds | None = 10.0
    keepalivetimeout: Seconds = 3.0
    hellotimeout: Seconds = 10.0
    """Seconds until a peer must have said which versions it speaks."""
    featurerequesttimeout: Seconds = 30.0
    """Seconds until it must have said who it is."""
    allowedversions: tuple[int, ...] = (1, 4)
    """Versions as OpenFlow numbers them; 4, which is OpenFlow 1.3 and the only one spoken, must be among them."""


def settings(config: Config, cls: type[P], nodes: Sequence[str]) -> P:
    """The settings of a protocol at one level of a server module.

    `nodes`: the keys of the level and of those around it, the innermost first. `<node>.protocol.<protocol>.<key>` wins
    over `<node>.protocol.<key>`, both over the levels around, and all of them over `protocol.<protocol>.<key>`.
    """
    return overridden(config, cls, nodes, cls.sections)


def overridden(config: Config, cls: type[S], nodes: Sequence[str], sections: Sequence[str]) -> S:
    """As `settings`, for any structure whose keys are in these sections of `protocol`."""
    for node in nodes:
        config.check_keys_below(f"{node}.protocol")
    above = _overrides(nodes, sections)
    return config.settings(cls, *above, *(f"protocol.{name}" for name in sections), derived=len(above))


def key_of(config: Config, cls: type[Protocol], nodes: Sequence[str], name: str) -> str:
    """The full key where a setting of a protocol was assigned."""
    places = [*_overrides(nodes, cls.sections), *(f"protocol.{section}" for section in cls.sections)]
    found = next((place for place in places if name in config.subtree(place)), f"protocol.{cls.sections[0]}")
    return f"{found}.{name}"


def _overrides(nodes: Sequence[str], sections: Sequence[str]) -> list[str]:
    named = [f"protocol.{section}" for section in sections if section != "default"]
    return [f"{node}.{place}" for node in nodes for place in (*named, "protocol")]
