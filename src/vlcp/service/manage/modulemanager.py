"""Loading, unloading and reloading modules while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlcp.server.config import Seconds
from vlcp.server.generation import SourceWatch, source_file
from vlcp.server.module import Module, ModuleError, api
from vlcp.server.record import Record, text_of
from vlcp.server.reload import files_of
from vlcp.server.server import Server


class Manager(Module):
    """Shows, loads, unloads and reloads modules."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.manager.*`."""

        autoreload: bool = False
        """Reload the modules whose files change."""
        checkinterval: Seconds = 5.0
        """Seconds between two looks at the files."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._sources = SourceWatch()
        self._watching: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Watch the files, if the settings say so."""
        self.enableautoreload(self.settings.autoreload)

    async def take_over(self, old: Manager) -> None:
        """Watch the files if the other did."""
        self.enableautoreload(old._watching is not None)

    @api
    def activemodules(self) -> dict[str, str]:
        """Return the loading paths of the active modules by module name; loading and failed ones are included."""
        return {record.name: record.path for record in self.server.loader.records()}

    @api
    def status(self) -> dict[str, dict[str, Any]]:
        """Return the state of every module: since when (seconds since 1970), its last error, whether it was asked for
        by name (explicit), what it needs (dependencies) and who needs it (dependents)."""
        return self.server.loader.status()

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

    @api
    async def reloadmodules(self, pathlist: list[str]) -> None:
        """Import the files of loaded modules again and run the new code; all of them, or the old code runs on.

        :param pathlist: list of loading paths, such as ["vlcp.service.sdn.arpresponder.ARPResponder"]
        """
        named = [record for record in self.server.loader.records() if record.path in pathlist]
        self._sources.know(file for record in named for file in _files(record))
        await self.server.reload(pathlist)

    @api
    def enableautoreload(self, enabled: bool = True) -> None:
        """Begin to reload modules when their files change, or stop it.

        :param enabled: False to stop
        """
        if not enabled and self._watching is not None:
            self._watching.cancel()
            self._watching = None
        elif enabled and self._watching is None:
            self._sources = SourceWatch()
            self._watching = self.spawn(self._watch(), name="watch the files of modules", background=True)

    async def _watch(self) -> None:
        while True:
            if paths := self._changed(self.server.loader.records()):
                await self._reload(paths)
            await asyncio.sleep(self.settings.checkinterval)

    def _changed(self, records: Iterable[Record]) -> list[str]:
        """The loading paths of those whose files have changed since the last look."""
        files = {record.path: _files(record) for record in records}
        changed = self._sources.changed(set[Path]().union(*files.values()))
        return [path for path, own in files.items() if changed.intersection(own)]

    async def _reload(self, paths: list[str]) -> None:
        """Reload what has changed. An error is told once: nothing is tried again until a file changes again."""
        try:
            await self.server.reload(paths)
        except Exception as error:
            self.logger.error("files have changed, but %s", text_of(error))


def _files(record: Record) -> set[Path]:
    """The files of a module's own code that can be imported again."""
    found = set[Path]()
    for name in files_of(record.cls):
        try:
            found.add(source_file(name))
        except ModuleError:
            continue
    return found
