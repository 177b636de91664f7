"""What requests may take, and how they are answered."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from vlcp.server.config import Limit, Seconds
from vlcp.web.reply import check_header


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may take, and how it is answered; the keys of `protocol.http.*`."""

    idletimeout: Seconds = 20.0
    """Seconds until an idle connection is closed."""
    closetimeout: Seconds = 5.0
    """Seconds that the rest of a body is still read after an answer that did not need it."""
    headlinelimit: Limit = 8192
    """Bytes of the request line, and of one header."""
    headerlimit: Limit = 1024 * 1024
    """Bytes of all headers."""
    headercountlimit: Limit = 1024
    """Number of headers."""
    fastfail: bool = False
    """Close the connection after a malformed request instead of answering it."""
    showerrorinfo: bool = False
    """Add the Python traceback to errors."""
    unquoteplus: bool = True
    """A `+` in a path is a space."""
    processtimeout: Seconds | None = None
    """Seconds that answering may take; None: as long as it takes."""
    defaulthost: str = ""
    """The host of requests that do not name one."""
    rewritedepthlimit: Limit = 32
    """Rewrites of one request."""
    errorrewrite: dict[int, str] = msgspec.field(default_factory=dict)
    """Status of an error -> the path whose page is sent with it."""
    errorredirect: dict[int, str] = msgspec.field(default_factory=dict)
    """Status of an error -> where the client is sent instead."""
    defaultresponseheaders: dict[str, str] | tuple[tuple[str, str], ...] = ()
    """Headers of answers that do not have them otherwise: a dictionary, or pairs."""

    def __post_init__(self) -> None:
        try:
            for name, value in self.default_headers():
                check_header(name, value)
        except ValueError as error:
            raise ValueError(f"defaultresponseheaders: {error}") from None
        for name in ("errorrewrite", "errorredirect"):
            for status, target in getattr(self, name).items():
                if not (400 <= status <= 599 and target.isprintable()):
                    raise ValueError(f"{name}: {status}: {target!r} is not an error and where to go")
                if name == "errorrewrite" and not target.startswith("/"):
                    raise ValueError(f"{name}: {target!r} is not a path, which begins with /")

    def default_headers(self) -> Iterable[tuple[str, str]]:
        """The pairs of `defaultresponseheaders`."""
        headers = self.defaultresponseheaders
        return headers.items() if isinstance(headers, dict) else headers
