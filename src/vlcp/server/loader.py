"""The life cycle of modules: dependencies first, dependents unloaded first, services freed when nobody needs them.

States: `loading` (dependencies, then `load`), `succeeded`, `failed`, `unloading`, `unloaded`. A module whose load
failed keeps nothing open and may be loaded again; one that failed later keeps running until it is unloaded.

Every change of a state is notified: module `server`, the new state as the name, and the attributes `module`, `path`,
`before`, `instance` and `error`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from vlcp.server.api import ConflictError
from vlcp.server.finder import implementation
from vlcp.server.module import Module, ModuleError, Proxy, module_name, module_path
from vlcp.server.record import Record, State, is_expected, text_of

if TYPE_CHECKING:
    from vlcp.server.server import Server

__all__ = ["Loader", "Record", "State", "check_all", "limited"]

logger = logging.getLogger(__name__)

PATIENCE = 4.0
"""Seconds that an unload waits for a load under way; then that is cancelled."""
GRACE = 1.0
"""Seconds that what was cancelled has to end; then it is left alone, and the others go on."""
_STOPPED = "the server stopped before it was loaded"


class Loader:
    """Loads and unloads the modules of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._records: dict[str, Record] = {}
        self._implementations: dict[type[Proxy], type[Module]] = {}
        self._newest: dict[str, type[Module]] = {}
        """The classes that came by a reload, by loading path; others still refer to the earlier ones."""
        self._changes: set[asyncio.Task[None]] = set()
        self._kept: list[Record] | None = None
        self._closed = False

    # -- asking

    def record(self, name: str) -> Record | None:
        """The record of a module by name, unless it was never asked for or is unloaded."""
        record = self._records.get(name)
        return record if record and record.state is not State.UNLOADED else None

    def records(self) -> list[Record]:
        """All modules that are not unloaded, in the order in which they were first asked for."""
        return [record for record in self._records.values() if record.state is not State.UNLOADED]

    @property
    def busy(self) -> bool:
        """Whether something is being loaded, unloaded or reloaded."""
        return bool(self._changes)

    def newest(self, cls: type[Module]) -> type[Module]:
        """The class of the newest code with the loading path of this one."""
        return self._newest.get(module_path(cls), cls)

    def implementation(self, proxy: type[Proxy]) -> type[Module]:
        """The class that a proxy stands for: read from the configuration once, then fixed."""
        if proxy not in self._implementations:
            config, key = self._server.config, f"proxy.{module_name(proxy)}"
            path, otherwise = config.get(key), proxy.otherwise(self)
            self._implementations[proxy] = implementation(proxy, path, config.origin(key), otherwise)
        return self.newest(self._implementations[proxy])

    def dependencies(self, cls: type[Module]) -> tuple[type[Module], ...]:
        """The classes that must be loaded before this one."""
        stands_for = (self.implementation(cls),) if issubclass(cls, Proxy) else ()
        return (*map(self.newest, cls.dependencies), *stands_for)

    def status(self) -> dict[str, dict[str, Any]]:
        """The state of every module for people; see `Record.status`."""
        return {
            record.name: {**record.status(), "dependencies": self._needs(record)} for record in self.records()
        }

    def _needs(self, record: Record) -> list[str]:
        """The names of the dependencies, without that of a proxy that stands for nothing."""
        try:
            classes = self.dependencies(record.cls)
        except ModuleError:
            classes = record.cls.dependencies
        return sorted(map(module_name, classes))

    def _tell(self, record: Record, before: State) -> None:
        self._server.notifications.notify(
            "server", str(record.state), module=record.name, path=record.path,
            before=str(before), instance=record.instance, error=record.error,
        )  # fmt: skip

    def check(self, cls: type[Module], above: tuple[type[Module], ...] = ()) -> None:
        """Raise `ModuleError` when a module depends on itself, directly or through others."""
        if cls in above:
            circle = [*above[above.index(cls) :], cls]
            raise ModuleError(
                f"modules depend on each other in a circle: {' -> '.join(map(module_name, circle))}"
            )
        for needed in self.dependencies(cls):
            self.check(needed, (*above, cls))

    # -- loading

    def begin(self, cls: type[Module], *, explicit: bool = False) -> Record:
        """Begin to load a module unless it is loaded or loading. Raises `ModuleError` and `ConflictError`."""
        cls = self.newest(cls)
        self.check(cls)
        if self._closed:
            raise ModuleError(f"cannot load {module_path(cls)!r}: the server is stopping", 503)
        record = self._records.setdefault(module_name(cls), Record(cls, self._tell))
        if record.cls is not cls:
            if record.state is not State.UNLOADED:
                raise ConflictError(f"cannot load {module_path(cls)!r}: its name is used by {record.path!r}")
            record = self._records[record.name] = Record(cls, self._tell)
        record.explicit |= explicit
        if record.state in (State.UNLOADED, State.FAILED) and record.instance is None:
            record.enter(State.LOADING)
            self._server.apis.expect(record.name)
            self._change(record, self._load(record), "load")
        return record

    async def load(self, cls: type[Module], *, explicit: bool = False) -> Module:
        """Load a module and all that it needs; wait until it has succeeded. Raises what made it fail."""
        record = self.begin(cls, explicit=explicit)
        await self.outcome(record)
        while record.state is State.UNLOADED:  # by somebody else meanwhile
            record = self.begin(cls, explicit=explicit)
            await self.outcome(record)
        if record.state is not State.SUCCEEDED or record.instance is None:
            failure = record.failure()
            await self._finished(record)
            raise failure
        return record.instance

    async def outcome(self, record: Record) -> None:
        """Wait until a module is neither loading nor unloading; being cancelled oneself cancels nothing else."""
        while not record.settled.is_set():
            await record.settled.wait()

    async def _load(self, record: Record) -> None:
        try:
            await self._load_dependencies(record)
            record.instance = self._make(record)
            target = (
                record.instance.target()
            )  # a mistake in a signature makes the module fail before it does anything
            await limited(record.instance.load(), record.instance.settings.loadtimeout, "load")
        except asyncio.CancelledError as error:
            await self._abandon(record, ModuleError(str(error) or _STOPPED, 503))
            raise
        except Exception as error:
            _report(record, error)
            await self._abandon(record, error)
        else:
            if record.state is State.LOADING:
                record.enter(State.SUCCEEDED)
            self._server.apis.add(record.name, target)
            logger.info("module %r is loaded", record.name)

    def _make(self, record: Record) -> Module:
        try:
            return record.cls(self._server)
        finally:
            self._server.keys.module(record.name)

    async def _load_dependencies(self, record: Record) -> None:
        """Wait until all dependencies have succeeded at one time: one may be unloaded while another still loads."""
        needed = self.dependencies(record.cls)
        while True:
            dependencies = [self.begin(cls) for cls in needed]
            for dependency in dependencies:
                dependency.dependents.add(record.name)
            await asyncio.gather(*map(self.outcome, dependencies))
            for dependency in dependencies:
                if dependency.state is State.FAILED:
                    reason = text_of(dependency.error)
                    raise ModuleError(f"it depends on {dependency.name!r}, which is failed ({reason})")
            if all(dependency.state is State.SUCCEEDED for dependency in dependencies):
                return

    async def _abandon(self, record: Record, error: Exception) -> None:
        """After a failed load: close what was opened, let go of the dependencies."""
        if record.instance is not None:
            await _end(record.instance)
        record.instance = None
        record.enter(State.FAILED, error)
        self._server.apis.remove(record.name)
        await self._release(record)

    def crashed(self, module: Module, error: BaseException) -> None:
        """A task of a module ended with an error: show the module as failed; it stays until it is unloaded."""
        record = self._records.get(module.name)
        if record and record.instance is module and record.state in (State.LOADING, State.SUCCEEDED):
            record.enter(State.FAILED, error)

    # -- unloading

    async def unload(self, name: str) -> None:
        """Unload a module, its dependents before it, and the services that nobody needs then."""
        record = self.record(name)
        if record is None:
            return
        while not record.settled.is_set():
            await self._settled(record)
        self._begin_unload(record)
        await self._finished(record)

    async def _settled(self, record: Record) -> None:
        """Wait until what happens to a module now is done. A load that takes long is cancelled."""
        settled = record.settled
        try:
            async with asyncio.timeout(_patience(record)):
                await settled.wait()
        except TimeoutError:
            if record.state is State.LOADING and record.change is not None:
                record.change.cancel("it was unloaded before it was loaded")
            await settled.wait()

    async def _stop(self, record: Record) -> None:
        """Unload a module, or wait for what it does now: whoever calls looks again."""
        self._begin_unload(record)
        await self._settled(record)

    async def _finished(self, record: Record) -> None:
        """Wait until the services that a failed load or an unload leaves behind are freed."""
        if record.change is not None:
            await asyncio.wait([record.change])

    def _begin_unload(self, record: Record) -> None:
        if record.state in (State.SUCCEEDED, State.FAILED):
            record.explicit = False
            record.enter(State.UNLOADING, record.error)
            self._change(record, self._unload(record), "unload")

    async def _unload(self, record: Record) -> None:
        while users := self._users(record):
            await asyncio.gather(*map(self._stop, users))
        self._server.apis.remove(record.name)
        if record.instance is not None:
            if record.instance.reloading:
                self._server.apis.expect(record.name)
            await _end(record.instance)
            logger.info("module %r is unloaded", record.name)
        record.instance = None
        record.enter(State.UNLOADED)
        await self._release(record)

    def _users(self, record: Record) -> list[Record]:
        """The dependents that make use of a module now; one that still waits for it will load it again."""
        dependents = [self._records[name] for name in sorted(record.dependents)]
        return [d for d in dependents if d.instance is not None or d.state is not State.LOADING]

    async def _release(self, record: Record) -> None:
        """Let go of all dependencies at once, then free the services among them that nobody else needs."""
        dependencies = [other for other in self._records.values() if record.name in other.dependents]
        for dependency in dependencies:
            dependency.dependents.discard(record.name)
        for dependency in dependencies:
            if dependency.state is State.LOADING:
                await self.outcome(dependency)
            await self._free(dependency)

    async def _free(self, record: Record) -> None:
        """Unload a service that nobody needs."""
        needless = record.cls.service and not record.dependents and not record.explicit
        if self._kept is not None:
            self._kept.append(record)
        elif needless and record.state is not State.UNLOADING:
            await self.unload(record.name)

    async def unload_all(self) -> None:
        """Unload everything for good, dependents first; what is still loading is cancelled."""
        self._closed = True
        for record in self.records():
            if record.state is State.LOADING and record.change:
                record.change.cancel()
        while names := [record.name for record in self.records()]:
            await asyncio.gather(*map(self.unload, names))
        if self._changes:
            await asyncio.wait(self._changes)

    # -- reloading (see vlcp.server.reload)

    def adopt(self, cls: type[Module]) -> None:
        """From now on this class is what its loading path stands for."""
        self._newest[module_path(cls)] = cls
        if (record := self._records.get(module_name(cls))) and record.path == module_path(cls):
            record.cls = cls

    @contextlib.asynccontextmanager
    async def keeping_services(self) -> AsyncIterator[None]:
        """Meanwhile services that nobody needs stay: those who did will be back."""
        self._kept = kept = list[Record]()
        try:
            yield
        finally:
            self._kept = None
            for record in kept:
                await self._free(record)

    def _change(self, record: Record, work: Coroutine[Any, Any, None], what: str) -> None:
        record.change = self.carry_out(work, f"{what} {record.name}")
        record.change.add_done_callback(lambda _: self._never_begun(record))

    def carry_out(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Change something as a task of its own, whoever waits for it."""
        task = asyncio.create_task(work, name=name)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return task

    def _never_begun(self, record: Record) -> None:
        """A load that was cancelled before its first step could not say so itself."""
        if record.change is not None and record.change.cancelled() and record.state is State.LOADING:
            record.enter(State.FAILED, ModuleError(_STOPPED, 503))
            self._server.apis.remove(record.name)

    def statistics(self) -> dict[str, int]:
        """The number of modules in each state."""
        states = [record.state for record in self._records.values()]
        return {str(state): states.count(state) for state in State}


def check_all(loader: Loader, classes: Iterable[type[Module]]) -> None:
    """Check names and circles of all startup modules before anything is loaded."""
    names: dict[str, type[Module]] = {}
    for cls in classes:
        loader.check(cls)
        other = names.setdefault(module_name(cls), cls)
        if other is not cls:
            raise ModuleError(f"{module_path(cls)!r} and {module_path(other)!r} have the same module name")


async def limited(work: Coroutine[Any, Any, None], limit: float, what: str) -> None:
    """Await what a module does for at most `limit` seconds, even if it does not let itself be cancelled."""
    task = asyncio.create_task(work, name=what)
    try:
        await asyncio.wait([task], timeout=limit)
        if not task.done():
            raise ModuleError(f"{what} took longer than {limit:g} s ({what}timeout)")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=GRACE)
            if task.done() and not task.cancelled():
                task.exception()  # it came too late to matter
    task.result()


async def _end(module: Module) -> None:
    """Run `unload` and end the tasks; an error is logged and stops nothing."""
    try:
        await limited(module.unload(), module.settings.unloadtimeout, "unload")
    except Exception as error:
        module.logger.error("unload failed: %s", text_of(error), exc_info=not isinstance(error, ModuleError))
    await module.cancel_tasks()


def _patience(record: Record) -> float:
    return record.instance.settings.unloadtimeout if record.instance else PATIENCE


def _report(record: Record, error: Exception) -> None:
    logger.error(
        "cannot load module %r: %s. Others keep running; put it right, then `vlcp call manager/loadmodule path=%s`",
        record.name, text_of(error), record.path, exc_info=None if is_expected(error) else error,
    )  # fmt: skip
