"""Loaded modules go on with the code that their files hold now.

The files of the named modules, and those that these own, are imported as a new generation: all of them or none. Every
loaded module that lives in one of these files, or owns one, takes part. One whose class has `take_over` is replaced
where it stands, and its dependents run on. Any other is unloaded, with its dependents around it, and all of them are
loaded again; meanwhile services stay although nobody needs them. When the new code does not get as far as the old one
was, the old one is put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vlcp.server.api import status_of
from vlcp.server.errors import BadParameterError
from vlcp.server.finder import classes as classes_in
from vlcp.server.finder import find
from vlcp.server.generation import Generation
from vlcp.server.loader import limited
from vlcp.server.module import Module, ModuleError, module_name, module_path
from vlcp.server.record import Record, State, is_expected, text_of

if TYPE_CHECKING:
    from vlcp.server.server import Server

logger = logging.getLogger(__name__)

_RUNS_ON = "the old code runs on"

Classes = Mapping[Record, type[Module]]
Explicit = Mapping[Record, bool]
"""Modules, each with whether it was loaded explicitly."""


class Reloader:
    """Replaces the code of a server's modules, one generation after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._one_at_a_time = asyncio.Lock()

    async def reload(self, paths: Sequence[str]) -> None:
        """Reload loaded modules by their loading paths. Raises `ModuleError`; then the old code runs on."""
        if not paths:
            raise BadParameterError("name at least one loading path")
        task = self._server.loader.carry_out(self._reload(paths), "reload")
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits any more
        await asyncio.shield(task)

    async def _reload(self, paths: Sequence[str]) -> None:
        async with self._one_at_a_time:
            generation, records = self._generation([self._loaded(path) for path in paths])
            generation.load()
            try:
                new = {record: _found(record) for record in records}
            except ModuleError:
                generation.undo()
                raise
            restarted = self._with_dependents(r for r in records if not _is_replaced(r, new[r]))
            before = {record: record.instance for record in restarted}
            with self._not_ready(restarted):
                async with self._server.loader.keeping_services():
                    try:
                        self._adopt(generation)
                        await self._run(new, restarted)
                    except Exception as error:
                        generation.undo()
                        self._adopt(generation)
                        touched = any(record.instance is not instance for record, instance in before.items())
                        outcome = await self._run_again(restarted if touched else {}, error)
                        raise _refusal(error, outcome) from error
            logger.info("reloaded: %s", ", ".join(sorted(record.name for record in records)))

    @contextlib.contextmanager
    def _not_ready(self, restarted: Explicit) -> Iterator[None]:
        """Who waits for all modules waits until those that are started again are back, with whatever code."""
        ready = self._server.ready
        was_ready = ready.is_set()
        if restarted:
            ready.clear()
        try:
            yield
        finally:
            if was_ready:
                ready.set()

    # -- which

    def _loaded(self, path: str) -> Record:
        cls = find(path)
        record = self._server.loader.record(module_name(cls))
        if record is None or record.path != module_path(cls):
            raise ModuleError(
                f"cannot reload {path!r}: it is not loaded; load it with manager/loadmodule", 409
            )
        return record

    def _generation(self, chosen: Iterable[Record]) -> tuple[Generation, list[Record]]:
        """What to import again, and the loaded modules that this concerns."""
        names = {name for record in chosen for name in files_of(record.cls)}
        while True:
            records = [r for r in self._server.loader.records() if names.intersection(files_of(r.cls))]
            concerned = names.union(*(files_of(record.cls) for record in records))
            if concerned == names:
                return Generation(names), records
            names = concerned

    # -- how

    def _adopt(self, generation: Generation) -> None:
        """The loader knows all classes of these files as they are now, loaded or not."""
        for name in generation.names:
            for cls in classes_in(sys.modules[name]):
                self._server.loader.adopt(cls)

    async def _run(self, classes: Classes, restarted: Explicit) -> None:
        """Make every module run this class of it, some by a restart. Raises what the first one that cannot is told."""
        moving = [
            self._replace(r)
            for r, cls in classes.items()
            if r not in restarted and r.instance is not None and type(r.instance) is not cls
        ]
        for outcome in await asyncio.gather(*moving, return_exceptions=True):
            if outcome is not None:
                raise outcome
        if restarted:
            await self._restart(restarted)

    async def _run_again(self, restarted: Explicit, reason: Exception) -> str:
        """Put the old code back, also where the new one was loaded meanwhile; returns what came of that."""
        trace = None if is_expected(reason) else reason
        logger.error("the old code is put back: %s", text_of(reason), exc_info=trace)
        try:
            try:
                await self._run_back(restarted, _is_replaced)
            except Exception as error:
                logger.error("the old code is started again: %s", text_of(error))
                await self._run_back(restarted, lambda record, cls: False)
        except Exception as error:
            logger.error("the old code does not run again: %s", text_of(error))
            for record in restarted:
                if self._server.loader.record(record.name) is None:
                    self._server.apis.remove(record.name)  # nobody need wait for it any more
            return f"the old code does not run again: {text_of(error)}"
        return _RUNS_ON

    async def _run_back(
        self, restarted: Explicit, is_replaced: Callable[[Record, type[Module]], bool]
    ) -> None:
        """Make every module run its class as it is now; those that are not replaced are restarted."""
        loaded = [record for record in self._server.loader.records() if record.instance is not None]
        back = {record: record.cls for record in loaded if type(record.instance) is not record.cls}
        again = self._with_dependents(r for r, cls in back.items() if not is_replaced(r, cls))
        await self._run(back, {**again, **restarted})

    def _with_dependents(self, records: Iterable[Record]) -> Explicit:
        """These and all that depend on them, each with whether it was loaded explicitly."""
        found: dict[Record, bool] = {}
        todo = list(records)
        while todo:
            record = todo.pop()
            found[record] = record.explicit
            dependents = (self._server.loader.record(name) for name in sorted(record.dependents))
            todo += [dependent for dependent in dependents if dependent and dependent not in found]
        return found

    async def _replace(self, record: Record) -> None:
        """Put an instance of the new class in the place of the old one."""
        old, new = record.instance, record.cls(self._server)
        target = new.target()  # a mistake in a signature counts before anything is taken over
        try:
            await limited(new.take_over(old), new.settings.loadtimeout, "load")
        except BaseException:
            await new.cancel_tasks()
            raise
        if old is None or record.instance is not old or record.state is not State.SUCCEEDED:
            await new.cancel_tasks()
            raise ModuleError(f"{record.path!r} was unloaded meanwhile", 409)
        record.instance = new
        self._server.apis.add(record.name, target)
        record.enter(State.SUCCEEDED)
        await old.cancel_tasks()

    async def _restart(self, records: Explicit) -> None:
        """Unload modules, dependents first, and load them again."""
        loader = self._server.loader
        for record in records:
            if record.instance is not None:
                record.instance.reloading = True
        present = [record.name for record in records if loader.record(record.name) is record]
        await asyncio.gather(*map(loader.unload, present))
        begun = [loader.begin(record.cls, explicit=explicit) for record, explicit in records.items()]
        await asyncio.gather(*map(loader.outcome, begun))
        failed = [record for record in begun if record.state is not State.SUCCEEDED]
        if failed:
            raise failed[0].failure()


def files_of(cls: type[Module]) -> set[str]:
    """The names of the Python modules that a reload of a class imports again."""
    return {cls.__module__, *cls.owns}


def _is_replaced(record: Record, cls: type[Module]) -> bool:
    """Whether an instance can be replaced where it stands."""
    if record.instance is None or record.state is not State.SUCCEEDED:
        return False
    needs, before = ([*map(module_path, each.dependencies)] for each in (cls, type(record.instance)))
    return needs == before and cls.take_over is not Module.take_over


def _found(record: Record) -> type[Module]:
    """The class of the new generation."""
    try:
        return find(record.path)
    except ModuleError as error:
        raise ModuleError(f"{error}; {_RUNS_ON}", 409) from None


def _refusal(error: Exception, outcome: str) -> ModuleError:
    status = error.status if isinstance(error, ModuleError) else status_of(error) or 500
    return ModuleError(f"cannot reload: {text_of(error)}; {outcome}", status)
