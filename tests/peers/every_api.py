"""The form of the table of all APIs: a row has a good call, its effect, a bad call and what is answered to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from peers.controller import Controller
from vlcp.server.server import Server

Params = dict[str, Any]
Check = Callable[[Controller, Any], object]
Calls = tuple[tuple[str, Params], ...]


class Over(NamedTuple):
    """An API, called over HTTP: good parameters, a check of the effect, bad parameters, and what is answered to
    them.

    The check gets the controller and the result. `before` are calls that the good one needs.
    """

    api: str
    good: Params | Callable[[Controller], Params]
    check: Check
    bad: Params
    status: int
    told: str
    before: Calls = ()


class Inside(NamedTuple):
    """An API that takes a function or an object: what makes a good call in the process, and the bad call over HTTP."""

    api: str
    good: Callable[[Server, str], Awaitable[None]]
    bad: Params
    status: int
    told: str


Row = Over | Inside

NOTHING_TO_GIVE: tuple[dict[str, Any], int, str] = (
    {"x": "1"},
    400,
    "unknown parameter 'x'; the parameters are (",
)
"""What is wrong for an API without parameters."""
