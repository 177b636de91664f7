"""Loading and unloading modules while the server runs."""

from __future__ import annotations

from typing import Any

from vlcp.server.module import Module, api


class Manager(Module):
    """Shows, loads and unloads modules."""

    @api
    def activemodules(self) -> dict[str, str]:
        """Return the loading paths of the active modules by module name; loading and failed ones are included."""
        return {record.name: record.path for record in self.server.loader.records()}

    @api
    def status(self) -> dict[str, dict[str, Any]]:
        """Return the state of every module: since when (seconds since 1970), its last error, and who needs it."""
        return {record.name: record.status() for record in self.server.loader.records()}

    @api
    def statistics(self) -> dict[str, Any]:
        """Return the figures that the server and every loaded module keep of themselves."""
        own = super().statistics()
        modules = {name: m.statistics() for name, m in self.server.modules.items() if m is not self}
        return {**self.server.statistics(), "of": {self.name: own, **modules}}

    @api
    async def loadmodule(self, path: str) -> None:
        """Load a module and what it needs; returns when it has succeeded.

        :param path: loading path, such as vlcp.service.connection.httpserver.HttpServer
        """
        await self.server.load(path)

    @api
    async def unloadmodule(self, path: str) -> None:
        """Unload a module, what depends on it, and services that nobody needs then.

        :param path: loading path, such as vlcp.service.connection.httpserver.HttpServer
        """
        await self.server.unload(path)
