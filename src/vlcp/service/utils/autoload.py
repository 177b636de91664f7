"""Loading every module of some packages, such as network drivers."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Iterator

from vlcp.server.finder import classes
from vlcp.server.module import Module


class AutoLoad(Module):
    """Loads each module class that the files of the packages define; one that fails is reported, not fatal."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.autoload.*`."""

        autoloadpackages: tuple[str, ...] = ("vlcp.service.sdn.plugins",)
        """Packages, searched with the packages inside them."""

    settings: Settings

    async def load(self) -> None:
        """Load them all at once and wait for the outcome of each."""
        found = [cls for package in self.settings.autoloadpackages for cls in self._found(package)]
        # The loader itself reports a module that fails.
        await asyncio.gather(*map(self.server.load, found), return_exceptions=True)

    def _found(self, package: str) -> Iterator[type[Module]]:
        try:
            holder = importlib.import_module(package)
        except Exception as error:
            self.logger.error("cannot import %s (module.autoload.autoloadpackages): %s", package, error)
            return
        for name in [package, *_files(getattr(holder, "__path__", []), package)]:
            try:
                yield from classes(importlib.import_module(name))
            except Exception as error:
                self.logger.error("cannot import %s: %r; its modules are not loaded", name, error)


def _files(where: list[str], package: str) -> list[str]:
    found = pkgutil.walk_packages(where, f"{package}.", onerror=lambda _: None)
    return [info.name for info in found]
