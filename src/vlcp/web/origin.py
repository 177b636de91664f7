"""Requests that a browser sends on behalf of another site are refused.

A page that an operator visits can make the browser call a controller on its own machine, directly (then the header
Origin or Sec-Fetch-Site tells of the other site) or by a host name that it lets resolve to our address (then the
header Host holds that name; "DNS rebinding"). RFC 6454 describes Origin, W3C Fetch Metadata the other.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vlcp.server.api import ForbiddenError
from vlcp.web.environment import hostname

if TYPE_CHECKING:
    from vlcp.web.environment import Environment

_OURS = frozenset({"none", "same-origin"})
_PORTS = {"http": ":80", "https": ":443"}


def check(env: Environment, *names: Collection[str]) -> None:
    """Raise `ForbiddenError` unless Host is ours and Origin, if there is one, is the same place.

    Ours are: every IP address, since nobody else's page has one of ours as its name; localhost; the name of this
    machine; and `names`, in lower case. Connections over Unix sockets are exempt from the check of Host: no browser
    makes them.
    """
    host = env.request.headers.get("Host", "")
    if host and not _is_ours(hostname(host), names) and env.peer is not None:
        raise ForbiddenError(
            f"the host {host!r} is not known here; use the IP address or localhost, or add the name to "
            "module.webapi.hostbind"
        )
    check_site(env, *names)


def check_site(env: Environment, *names: Collection[str]) -> None:
    """Raise `ForbiddenError` when a page of another site made the browser send the request.

    Behind a proxy that passes on another Host, pages of `names` are ours: names, or with a port that is not that of
    the scheme `name:port`.
    """
    headers = env.request.headers
    origin = headers.get("Origin")
    if origin is not None and not _is_same(origin, headers.get("Host", ""), names):
        raise ForbiddenError(f"requests from pages of {origin!r} are refused")
    if headers.get("Sec-Fetch-Site", "none") not in _OURS:
        raise ForbiddenError("requests from pages of other sites are refused")


def _is_same(origin: str, host: str, names: Collection[Collection[str]]) -> bool:
    try:
        scheme, authority = urlsplit(origin)[:2]
    except ValueError:
        return False
    usual = _PORTS.get(scheme, "")
    authority = authority.lower().removesuffix(usual)
    if not authority:
        return False
    return authority == host.lower().removesuffix(usual) or any(authority in some for some in names)


def _is_ours(name: str, names: Collection[Collection[str]]) -> bool:
    return (
        name == "localhost" or _is_address(name) or any(name in some for some in names) or name in _machine()
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@cache
def _machine() -> frozenset[str]:
    """The name of this machine, with its domain and without."""
    name = os.uname().nodename.lower()
    return frozenset({name, name.partition(".")[0]}) - {""}
