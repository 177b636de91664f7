"""The module APIs over HTTP: `/<module>/<api>` with parameters from a query, a form or JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vlcp.server.api import ForbiddenError, RejectedError
from vlcp.server.module import Module, depend
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.web import origin
from vlcp.web.display import Display
from vlcp.web.host import Route, VirtualHost

if TYPE_CHECKING:
    from aiohttp import web

    from vlcp.web.environment import Environment


@depend(HttpServer)
class WebAPI(Module):
    """Answers `{"result": ...}` with status 200, or `{"error": text}` with the status of the error."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.webapi.*`."""

        vhostbind: str = "api"
        """The virtual host of httpserver that the API is served on."""
        hostbind: str | tuple[str, ...] | None = None
        """Further names that requests may have in their header Host."""
        rootpath: str = "/"
        """What the paths begin with."""
        acceptmethods: tuple[str, ...] = ("GET", "POST")
        """The methods of HTTP that are answered."""
        acceptjson: bool = True
        """Take parameters from JSON bodies."""
        typeextension: bool = True
        """Take back-quoted parameters as Python literals."""
        allowtargets: tuple[str, ...] | None = None
        """If set, the only modules that may be called."""
        denytargets: tuple[str, ...] | None = None
        """Modules that may not be called; without effect when `allowtargets` is set."""
        authmethod: str | None = None
        """An API that is called before each request: it raises, or returns False, to refuse it."""
        authtarget: str = "public"
        """The module of this API; `public` is whichever offers it as a public API."""
        errordetails: bool = True
        """Tell what went wrong; otherwise only what the status means."""
        errortrace: bool = False
        """Add the Python traceback to errors."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._display = server.config.settings(Display, "jsonformat")

    async def load(self) -> None:
        """Begin to answer."""
        root = "/" + self.settings.rootpath.strip("/")
        prefix = re.escape(root.rstrip("/"))
        names = self.settings.hostbind or ()
        self._names = frozenset(name.lower() for name in ((names,) if isinstance(names, str) else names))
        self._route = Route(rf"{prefix}/([^/]+)/([^/]+)", self.settings.acceptmethods, self._answer)
        self._host().add(self._route)
        if not self.dependency(HttpServer).ports(self.settings.vhostbind):
            self.logger.warning(
                "the API is not reachable: set module.httpserver.vhost.%s.url, such as 'tcp://localhost:8081'",
                self.settings.vhostbind,
            )

    async def unload(self) -> None:
        """Answer no longer."""
        if hasattr(self, "_route"):
            self._host().remove(self._route)

    def _host(self) -> VirtualHost:
        return self.dependency(HttpServer).host(self.settings.vhostbind)

    async def _answer(self, env: Environment, match: re.Match[str]) -> web.Response:
        from vlcp.web.answers import failure

        try:
            origin.check(env, self._host().names, self._names)
            return await self._call(env, *match.groups())
        except Exception as error:
            return failure(error, details=self.settings.errordetails, trace=self.settings.errortrace)

    async def _call(self, env: Environment, module: str, api: str) -> web.Response:
        from vlcp.web import answers

        self._check_allowed(module)
        s = self.settings
        params = await env.parameters(literals=s.typeextension, json=s.acceptjson)
        if s.authmethod is not None:
            await self._check_caller(s.authmethod, env, module, api, params)
        result = await self.server.apis.serve(module, api, params)
        return answers.json_response(b'{"result": ' + self._display.encode(result) + b"}")

    async def _check_caller(
        self, authmethod: str, env: Environment, module: str, api: str, params: dict[str, Any]
    ) -> None:
        """Ask who decides. What it raises is the answer; nobody to ask is a refusal too."""
        call = {"env": env, "targetname": module, "name": api, "params": params}
        target = self.settings.authtarget
        try:
            allowed = await self.server.apis.serve(target, authmethod, call)
        except RejectedError as error:
            raise ForbiddenError(f"nobody says who may call (module.webapi.authmethod): {error}") from None
        if allowed is False:
            raise ForbiddenError(f"{target}/{authmethod} does not allow {module}/{api}")

    def _check_allowed(self, module: str) -> None:
        allowed, denied = self.settings.allowtargets, self.settings.denytargets
        if allowed is not None and module not in allowed:
            raise ForbiddenError(f"module {module!r} may not be called here (module.webapi.allowtargets)")
        if allowed is None and module in (denied or ()):
            raise ForbiddenError(f"module {module!r} may not be called here (module.webapi.denytargets)")
