"""How long a session waits for a switch."""

from __future__ import annotations

from typing import NamedTuple


class Patience(NamedTuple):
    """Seconds: until the peer said `hello`, until it said who it is (`features`), until a peer that was `idle` for so
    long is asked for a sign of life (None: never), until it must have given one (`echo`)."""

    hello: float = 10.0
    features: float = 30.0
    idle: float | None = 10.0
    echo: float = 3.0
