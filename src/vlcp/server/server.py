"""A server: one configuration, its modules and the calls between them, from start to stop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, cast

import msgspec

from vlcp.server import log
from vlcp.server.config import Config, Limit
from vlcp.server.finder import find
from vlcp.server.keys import Report
from vlcp.server.loader import Loader, State, check_all
from vlcp.server.module import M, Module, ModuleError, Proxy, module_name, module_path
from vlcp.server.notifications import Notifications
from vlcp.server.record import text_of
from vlcp.server.registry import Registry
from vlcp.server.reload import Reloader

logger = logging.getLogger(__name__)

STOP_LIMIT = 4.0
"""Seconds that unloading everything may take when the process stops."""
LAST_WORDS_LIMIT = 1.0
"""Seconds that an answer then may take to whoever asked for the end."""
WORK_INTERVAL = 1.0
"""Seconds between two looks at whether any module still has something to do."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `server.*`."""

    startup: Any = ()
    """The loading paths of the modules to start."""
    requireall: bool = False
    """End with status 1 when one of them cannot be loaded; else the others run on."""
    logging: dict[str, Any] | None = None
    """What Python's logging.config.dictConfig takes, also as keys below it such as server.logging.handlers."""
    loggingconfig: str | None = None
    """A file for Python's logging.config.fileConfig, if server.logging is not set. Without both, warnings go to
    standard error."""
    debugging: bool = False
    """Log what is of use to find mistakes in the program itself."""
    ulimitn: Limit = 32768
    """Files and connections that the process may have open, as far as the system permits."""


class Server:
    """Loads the startup modules, runs until it is told to stop, and unloads everything."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.settings(ServerSettings, "server")
        self.keys = Report(config)
        self.apis = Registry()
        self.notifications = Notifications()
        self.loader = Loader(self)
        self.stopping = False
        """True from the moment the whole process stops: modules then leave the switches' flows in place."""
        self.ready = asyncio.Event()
        """Set when every startup module has succeeded or failed; so nothing that `load` awaits may wait for it."""
        self.failures: dict[str, str] = {}
        """The startup modules that could not be loaded, with the reason; complete when `ready` is set."""
        self.stop_reason = ""
        self._stop = asyncio.Event()
        self._failed = False
        self._reconfiguring = asyncio.Lock()
        self._reloader = Reloader(self)
        self._last_words: set[asyncio.Task[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def modules(self) -> Mapping[str, Module]:
        """The instances by module name."""
        return {r.name: r.instance for r in self.loader.records() if r.instance is not None}

    def module(self, cls: type[M]) -> M:
        """The instance of a module class; for a proxy class that of its implementation. Raises `ModuleError`."""
        wanted = self.loader.implementation(cls) if issubclass(cls, Proxy) else cls
        record = self.loader.record(module_name(wanted))
        # After a reload others still refer to the earlier class: the loading path says what is meant.
        found = record and (record.path == module_path(wanted) or isinstance(record.instance, wanted))
        if record is None or record.instance is None or not found:
            raise ModuleError(f"module {module_name(wanted)!r} is not loaded")
        return cast(M, record.instance)

    async def call(self, module: str, api: str, /, **params: Any) -> Any:
        """Call a module API in the process; parameters and results may be live objects."""
        return await self.apis.call(module, api, params)

    async def load(self, path: str | type[Module]) -> Module:
        """Load a module explicitly and wait until it has succeeded."""
        return await self.loader.load(find(path) if isinstance(path, str) else path, explicit=True)

    async def unload(self, path: str | type[Module]) -> None:
        """Unload a module with everything that depends on it; a module that is not loaded is no error."""
        cls = find(path) if isinstance(path, str) else path
        record = self.loader.record(module_name(cls))
        if record is not None and record.path == module_path(cls):
            await self.loader.unload(record.name)
        self._stop_if_empty()

    async def reload(self, paths: Sequence[str]) -> None:
        """Import the files of loaded modules again and run the new code; see `vlcp.server.reload`.

        Raises `ModuleError` that names file and line when that is not possible; then the old code runs on.
        """
        await self._reloader.reload(paths)
        self._stop_if_empty()

    def _stop_if_empty(self) -> None:
        if all(record.failed_to_load for record in self.loader.records()):
            self.stop("all modules are unloaded")

    def startup(self) -> list[type[Module]]:
        """The classes that `server.startup` names, checked. Raises `ModuleError` or `ConfigError`."""
        paths = self.config.get("server.startup", ())
        where = f"{self.config.origin('server.startup')}: server.startup"
        paths = (paths,) if isinstance(paths, str) else paths
        if not isinstance(paths, tuple | list) or not all(isinstance(path, str) for path in paths):
            raise ModuleError(f"{where} must be a tuple of loading paths, not {paths!r}")
        if not paths:
            raise ModuleError(f"{where} is empty: name the modules to load there or on the command line")
        classes = list(dict.fromkeys(map(find, paths)))
        check_all(self.loader, classes)
        return classes

    async def run(self) -> int:
        """Load the startup modules and run until `stop`; the result is the exit status of the process.

        Raises `ConfigError` or `ModuleError` before anything is loaded when a startup module cannot be imported. One
        that fails later is reported and the others run on; only when all of them fail the status is 1.
        """
        self.keys.process()
        classes = self.startup()
        starting = self.spawn(self._start(classes), name="startup")
        await self._stop.wait()
        starting.cancel()
        await self._unload_all()
        return 1 if self._failed else 0

    async def _start(self, classes: list[type[Module]]) -> None:
        begun = [self.loader.begin(cls, explicit=True) for cls in classes]
        await asyncio.gather(*map(self.loader.outcome, begun))
        gc.freeze()  # what is loaded stays: the collector need not look through it again and again
        self.failures = {r.name: text_of(r.error) for r in begun if r.state is not State.SUCCEEDED}
        self.ready.set()
        self.keys.rest()
        logger.info("%d of %d startup modules are loaded", len(begun) - len(self.failures), len(begun))
        self.spawn(self._stop_without_work(), name="waiting for the end of all work")
        if len(self.failures) == len(begun):
            self._failed = True
            self.stop("no startup module could be loaded")
        elif self.failures and self.settings.requireall:
            self._failed = True
            self.stop(f"not loaded, which server.requireall demands: {', '.join(self.failures)}")

    async def _stop_without_work(self) -> None:
        """Stop when no module listens, is connected or has a task: nothing could ever happen any more."""
        working = True
        while working:
            await asyncio.sleep(WORK_INTERVAL)
            working = self.loader.busy or any(module.working for module in self.modules.values())
        self._failed = bool(self.failures)  # what could not be loaded might have had something to do
        self.stop("nothing is left to do: no module listens, is connected or has a task")

    async def reconfigure(self) -> None:
        """Read the configuration file again and let every module with an `updateconfig` follow; open logs anew.

        Raises `ConfigError` when the file cannot be read or its logging is wrong; then nothing has changed. A module
        that cannot follow is logged, and goes on as it was.
        """
        async with self._reconfiguring:
            changed = log.reconfigure(self.config)
            following = {
                name: module for name, module in self.modules.items() if hasattr(module, "updateconfig")
            }
            for name, module in following.items():
                try:
                    done = module.updateconfig()
                    if inspect.isawaitable(done):
                        await done
                except Exception as error:
                    logger.error("module %r goes on as it was: %s", name, error)
            logged = ("server.logging", "server.debugging")
            sections = (*logged, "protocol.", *(f"module.{name}." for name in following))
            if later := [key for key in changed if not key.startswith(sections)]:
                logger.warning(
                    "changed, but in effect only after the next start or load: %s", ", ".join(later)
                )
            self.keys.rest()
            logger.info("the configuration is read again: %d keys have changed", len(changed))

    def state(self) -> str:
        """How far it is, in a few words."""
        if self.stopping:
            return f"stopping: {self.stop_reason}"
        missing = f"; not loaded: {', '.join(self.failures)}" if self.failures else ""
        return f"{self.loader.statistics()['succeeded']} modules are loaded{missing}"

    def stop(self, reason: str, *, failed: bool = False) -> None:
        """Stop the process: `run` unloads everything and returns 0, or 1 if what the server is for has failed."""
        if not self.stopping:
            self._failed |= failed
            self.stopping = True
            self.stop_reason = reason
            logger.info("stopping: %s", reason)
            self._stop.set()

    async def _unload_all(self) -> None:
        await self.apis.close()
        try:
            await asyncio.wait_for(self.loader.unload_all(), STOP_LIMIT)
        except TimeoutError:
            left = ", ".join(record.name for record in self.loader.records())
            logger.error("not unloaded within %g s: %s", STOP_LIMIT, left)
        if self._last_words:
            await asyncio.wait(self._last_words, timeout=LAST_WORDS_LIMIT)
        tasks = [*self._tasks, *self._last_words]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def finish(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Carry out what shall be done before the process ends, though its module is unloaded: a last answer."""
        task = asyncio.create_task(coroutine, name=name)
        self._last_words.add(task)
        task.add_done_callback(self._last_words.discard)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a coroutine as a task of the server itself."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def statistics(self) -> dict[str, Any]:
        """Figures of the loader, the calls and the notifications."""
        return {
            "modules": self.loader.statistics(),
            "apis": self.apis.statistics(),
            "notifications": self.notifications.statistics(),
        }
