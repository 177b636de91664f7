"""Modules: what a server loads, each with settings, dependencies, tasks and APIs.

A *loading path* is the Python module's path and the class name; the *module name* is the class name in lower case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from vlcp.server.api import MethodTarget, Target, api
from vlcp.server.config import Seconds
from vlcp.server.errors import ModuleError, NoSuchModuleError

if TYPE_CHECKING:
    from vlcp.server.loader import Loader
    from vlcp.server.server import Server

__all__ = [
    "M",
    "Module",
    "ModuleError",
    "NoSuchModuleError",
    "Proxy",
    "api",
    "depend",
    "module_name",
    "module_path",
]

M = TypeVar("M", bound="Module")


class Module:
    """The base of everything that a server loads."""

    service: ClassVar[bool] = False
    """Unloaded when nothing depends on it any more, unless it was loaded explicitly."""
    dependencies: ClassVar[tuple[type[Module], ...]] = ()
    """Set by `depend`."""
    owns: ClassVar[tuple[str, ...]] = ()
    """Names of further Python modules that are this module's own code: a reload imports them again, too."""

    class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
        """The keys of `module.<name>.*`; those that a module inherits may also be set in `module.default.*`."""

        loadtimeout: Seconds = 60.0
        """Seconds that `load` may take."""
        unloadtimeout: Seconds = 4.0
        """Seconds that `unload` and the end of the module's tasks may take, each."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        """Read the settings. Sockets and tasks are opened in `load`, not here."""
        self.server = server
        self.name = module_name(type(self))
        self.logger = logging.getLogger(module_path(type(self)))
        self.settings = server.config.settings(
            type(self).Settings,
            f"module.{self.name}",
            "module.default",
            derived="Settings" not in vars(type(self)),
        )
        self.reloading = False
        """True while it is unloaded only to be loaded again at once: what it has done to others stays."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background: set[asyncio.Task[Any]] = set()

    async def load(self) -> None:
        """Start the work. Every dependency has succeeded when this runs. An exception makes the module fail.

        What has to be there before others may depend on this module is awaited here.
        """

    async def unload(self) -> None:
        """End the work; the module's tasks still run and are cancelled afterwards.

        Also called after `load` failed, so it copes with whatever `load` did not get to do. `server.stopping` tells
        the end of the process, where a switch keeps its flows, from an explicit unload, which withdraws them; so does
        `reloading` for a reload.
        """

    async def take_over(self, old: Any) -> None:
        """Go on in the place of a running instance of earlier code, instead of `load`, when a reload replaces it.

        Everything that others see must go on: dependents are not told. `old` is not unloaded; its tasks are cancelled
        afterwards, and nothing calls it any more. An exception leaves `old` in its place, so change nothing before
        what may fail. A class without this method is unloaded and loaded again, with its dependents around it.
        """
        raise NotImplementedError

    def dependency(self, cls: type[M]) -> M:
        """The loaded instance of a module class; for a proxy class the instance of its implementation."""
        return self.server.module(cls)

    @property
    def working(self) -> bool:
        """Whether the module has something to do by itself; when no module has, the process ends.

        That is a task that does not run in the background. A module that listens, or waits for something else than
        a task of its own, says so here.
        """
        return bool(self._tasks - self._background)

    def spawn(
        self, coroutine: Coroutine[Any, Any, Any], *, name: str, background: bool = False
    ) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this module, named `<module>: <name>`.

        It is cancelled and awaited when the module is unloaded. If it raises, the error is logged and the module
        is shown as failed. One in the background only looks after something: it is no reason for the process to go on.
        """
        task = asyncio.create_task(coroutine, name=f"{self.name}: {name}")
        self._tasks.add(task)
        if background:
            self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.logger.error("the task %r ended with an error", task.get_name(), exc_info=error)
            self.server.loader.crashed(self, error)

    async def cancel_tasks(self) -> None:
        """Cancel the module's tasks and wait for their end, for at most `unloadtimeout` seconds."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.settings.unloadtimeout)
            for task in late:
                self.logger.error("the task %r did not end when it was cancelled", task.get_name())

    def target(self) -> Target:
        """What answers the calls to this module: its methods marked with `api`."""
        return MethodTarget(self.name, self)

    def problem(self) -> str | None:
        """What does not work at present although the module is loaded: shown in `manager/status`."""
        return None

    def statistics(self) -> dict[str, Any]:
        """Figures of this module for `status` and metrics."""
        return {"tasks": len(self._tasks)}


class Proxy(Module):
    """A name that stands for one of several modules; the key `proxy.<name>` holds its loading path.

    Calls and `discover` are forwarded to the implementation, which the proxy depends on.
    """

    service: ClassVar[bool] = True
    default: ClassVar[str | None] = None
    """The loading path that is used when the key is not set; None makes the key necessary."""
    advice: ClassVar[str] = ""
    """What else the key may be set to: added to the message when the implementation cannot be found."""

    @classmethod
    def otherwise(cls, loader: Loader) -> str | None:
        """The loading path that is used when the key is not set: the default, unless a proxy knows better."""
        return cls.default

    async def take_over(self, old: Any) -> None:
        """Nothing but the code is its own."""

    def target(self) -> Target:
        """What forwards the calls to the implementation."""
        return _Forward(self.server, module_name(self.server.loader.implementation(type(self))))


class _Forward:
    def __init__(self, server: Server, module: str) -> None:
        self._server = server
        self._module = module

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call the same API of the implementation."""
        return await self._server.apis.call(self._module, name, params)


def depend(*classes: type[Module]) -> Callable[[type[M]], type[M]]:
    """Declare that a module needs others: they are loaded before it, and it is unloaded before them."""

    def declare(cls: type[M]) -> type[M]:
        cls.dependencies = (*(d for d in cls.dependencies if d not in classes), *classes)
        return cls

    return declare


def module_name(cls: type[Module]) -> str:
    """The name of a module: its class name in lower case."""
    return cls.__name__.lower()


def module_path(cls: type[Module]) -> str:
    """The loading path of a module."""
    return f"{cls.__module__}.{cls.__qualname__}"
