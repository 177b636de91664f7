"""Requests that a browser sends on behalf of another site are refused.

A page that an operator visits can make the browser call a controller on its own machine, directly (then the header
Origin or Sec-Fetch-Site tells of the other site) or by a host name that it lets resolve to our address (then the
header Host holds that name; "DNS rebinding"). RFC 6454 describes Origin, W3C Fetch Metadata the other.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vlcp.server.api import ForbiddenError

if TYPE_CHECKING:
    from aiohttp import web

_OURS = frozenset({"none", "same-origin"})


def check(request: web.BaseRequest, names: Collection[str]) -> None:
    """Raise `ForbiddenError` unless Host is ours and Origin, if there is one, is the same place.

    Ours are: the address that the connection came in on, localhost, and `names` (in lower case). Connections over
    Unix sockets are exempt from the check of Host: no browser makes them.
    """
    host = request.headers.get("Host", "")
    sockname = request.transport.get_extra_info("sockname") if request.transport else None
    if host and isinstance(sockname, tuple) and not _is_ours(_hostname(host), str(sockname[0]), names):
        raise ForbiddenError(
            f"the host {host!r} is not known here; use the IP address or localhost, or add the name to "
            "module.webapi.hostbind"
        )
    origin = request.headers.get("Origin")
    if origin is not None and _authority(origin) != host.lower():
        raise ForbiddenError(f"requests from pages of {origin!r} are refused")
    if request.headers.get("Sec-Fetch-Site", "none") not in _OURS:
        raise ForbiddenError("requests from pages of other sites are refused")


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ours(name: str, local: str, names: Collection[str]) -> bool:
    return name == "localhost" or name in names or _same_address(name, local)


def _same_address(name: str, local: str) -> bool:
    try:
        one, other = ip_address(name), ip_address(local.partition("%")[0])
    except ValueError:
        return False
    return one == other or (one.is_loopback and other.is_loopback)
