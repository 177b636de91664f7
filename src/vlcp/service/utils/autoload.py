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
        except (Exception, SystemExit) as error:  # a file that is a program ends itself
            self.logger.error(
                "cannot import %s (module.autoload.autoloadpackages): %r; its modules are not loaded",
                package, error,
            )  # fmt: skip
            return
        yield from classes(holder)
        for inner in pkgutil.iter_modules(getattr(holder, "__path__", []), f"{package}."):
            if not inner.name.endswith(".__main__"):  # that one is a program
                yield from self._found(inner.name)
