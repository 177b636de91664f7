"""Calls of the APIs of sessions."""

from __future__ import annotations

from typing import Any

from peers.controller import Controller
from peers.every_api import NOTHING_TO_GIVE, Over, Row


def _session(c: Controller, sessionid: str) -> Any:
    return c.result("session/get", sessionid=sessionid)


def _is_gone(c: Controller, cookies: list[str]) -> bool:
    session = c.result("session/create")
    c.result("session/destroy", sessionid=session["id"])
    return _session(c, session["id"]) is None and "Max-Age=0" in cookies[0]


SESSIONS: list[Row] = [
    Over("session/start", {"cookies": "_session_id=x", "cookieopts": {"secure": True}},
         lambda c, r: _session(c, r[0]["id"]) == r[0] and r[1] == [
             f"_session_id={r[0]['id']}; HttpOnly; Path=/; SameSite=Lax; Secure"],
         {"cookies": "", "cookieopts": {"secret": True}}, 400, "'secret' is no attribute of a cookie"),
    Over("session/create", {}, lambda c, r: _session(c, r["id"]) == {"id": r["id"], "vars": {}}, *NOTHING_TO_GIVE),
    Over("session/get", {"sessionid": "f" * 32, "refresh": "false"}, lambda c, r: r is None,
         {"sessionid": 5}, 400, "parameter 'sessionid': expected `str`"),
    Over("session/destroy", {"sessionid": "f" * 32}, _is_gone, {}, 400, "missing parameter 'sessionid'"),
]  # fmt: skip
