"""HTTP sessions with cookies."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from vlcp.server.config import Seconds
from vlcp.server.module import Module, api, depend
from vlcp.server.server import Server
from vlcp.service.utils.knowledge import MemoryStorage
from vlcp.web.cookies import set_cookie
from vlcp.web.sessions import SessionHandle, Sessions


@depend(MemoryStorage)
class Session(Module):
    """Keeps sessions in the memory storage; handlers of routes use `sessions`."""

    service: ClassVar[bool] = True

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.session.*`."""

        timeout: Seconds = 1800.0
        """Seconds that a session lives on after its last use."""
        cookiename: str = "_session_id"
        """The name of the cookie that tells the session."""

        def __post_init__(self) -> None:
            set_cookie(self.cookiename, "", {})

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        storage = partial(server.call, "memorystorage")
        self.sessions = Sessions(storage, self.settings.timeout, self.settings.cookiename)

    async def take_over(self, old: Session) -> None:
        """The sessions are in the storage."""

    @api
    async def start(self, cookies: Any, cookieopts: Any = None) -> tuple[SessionHandle, list[str]]:
        """Find the session that cookies name, or begin a new one.

        :param cookies: the header Cookie of the client
        :param cookieopts: attributes of the cookie of a new session, such as {"secure": True, "domain": "a.example"}
        :return: the session, with id and vars, and the headers Set-Cookie to send: none for a session that there was
        """
        return await self.sessions.start(cookies, cookieopts)

    @api
    async def create(self) -> SessionHandle:
        """Begin a new session and return it."""
        return await self.sessions.create()

    @api
    async def get(self, sessionid: str, refresh: bool = True) -> SessionHandle | None:
        """Return the session with an id, None if there is none.

        :param sessionid: the id
        :param refresh: let the time until its end begin anew
        """
        return await self.sessions.get(sessionid, refresh)

    @api
    async def destroy(self, sessionid: str) -> list[str]:
        """End a session; returns the headers Set-Cookie that make the client forget it.

        :param sessionid: its id; nothing happens when there is no such session
        """
        return await self.sessions.destroy(sessionid)
