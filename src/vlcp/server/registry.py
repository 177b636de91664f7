"""Calls between modules: `module/api` with parameters, and who waits for whom."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from vlcp.server.api import PUBLIC, MethodTarget, PublicTarget, Target
from vlcp.server.config import nearest
from vlcp.server.errors import CallTimeoutError, NoSuchApiError, UnavailableError, status_of

logger = logging.getLogger(__name__)

PARKING_LIMIT = 120.0
"""Seconds that a call waits for a module that is still loading."""
GRACE = 0.5
"""Seconds that calls under way may take to end by themselves when the server stops, and then when cancelled."""


class Registry:
    """All targets by module name, the modules whose loading is under way, and the calls from outside."""

    def __init__(self) -> None:
        self._public = PublicTarget()
        self._targets: dict[str, Target] = {PUBLIC: self._public}
        self._loading: dict[str, asyncio.Event] = {}
        self._counts: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._interrupted: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._idle = asyncio.Event()

    # -- calling

    async def call(
        self,
        module: str,
        api: str,
        params: Mapping[str, Any],
        timeout: float | None = None,  # noqa: ASYNC109 (as in every API that waits)
    ) -> Any:
        """Call `module/api`, for at most `timeout` seconds.

        Waits only while the module is loading. Raises `NoSuchApiError` for an unknown module or API,
        `BadParameterError` for a missing, unknown or unsuitable parameter, `CallTimeoutError` after the time, and
        what the API itself raises. Parameters and the result are passed by reference.
        """
        self._counts["calls"] += 1
        try:
            if timeout is not None:
                return await self._limited(module, api, params, timeout)
            target = self._targets.get(module) or await self._parked(module)
            return await target.call(api, params)
        except Exception as error:
            self._counts["answered with an error" if status_of(error) else "failed"] += 1
            raise

    async def _limited(self, module: str, api: str, params: Mapping[str, Any], limit: float) -> Any:
        try:
            async with asyncio.timeout(limit) as timer:
                target = self._targets.get(module) or await self._parked(module)
                return await target.call(api, params)
        except TimeoutError:
            if not timer.expired():
                raise
            raise CallTimeoutError(f"{module}/{api} did not answer within {limit:g} s") from None

    async def serve(self, module: str, api: str, params: Mapping[str, Any]) -> Any:
        """A call from outside the process: as `call`, but answered with `UnavailableError` when the server stops."""
        task = asyncio.current_task()
        if self._closing or task is None:
            raise _stopping()
        self._under_way.add(task)
        try:
            return await self.call(module, api, params)
        except asyncio.CancelledError:
            if task not in self._interrupted or task.uncancel():
                raise
            raise _stopping() from None
        finally:
            self._ended(task)

    def send(self, module: str, api: str, params: Mapping[str, Any]) -> None:
        """Call and forget: nobody waits for the answer, an error is logged."""
        if self._closing:
            logger.info("%s/%s is not called: the server is stopping", module, api)
            return
        task = asyncio.create_task(self._send(module, api, params), name=f"send {module}/{api}")
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    async def _send(self, module: str, api: str, params: Mapping[str, Any]) -> None:
        try:
            await self.call(module, api, params)
        except Exception as error:
            unexpected = None if status_of(error) else error
            logger.error("%s/%s, which nobody waits for, failed: %s", module, api, error, exc_info=unexpected)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not self._under_way:
            self._idle.set()

    async def close(self) -> None:
        """The server stops: answer every call from outside, those that wait for a module at once.

        Calls under way may end by themselves for a moment. Modules can call each other until they are unloaded.
        """
        self._closing = True
        for event in self._loading.values():
            event.set()
        await self._until_idle()
        self._interrupted = self._under_way.copy()
        for task in self._interrupted:
            task.cancel()
        await self._until_idle()
        for task in self._under_way:
            logger.error("the call in the task %r did not end when it was cancelled", task.get_name())

    async def _until_idle(self) -> None:
        if self._under_way:
            self._idle.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), GRACE)

    async def _parked(self, module: str) -> Target:
        if module in self._loading:
            self._counts["parked"] += 1
            try:
                await asyncio.wait_for(self._loading[module].wait(), PARKING_LIMIT)
            except TimeoutError:
                raise UnavailableError(
                    f"module {module!r} is still loading after {PARKING_LIMIT:g} s"
                ) from None
        if module not in self._targets:
            if self._closing:
                raise _stopping()
            raise NoSuchApiError(f"no module {module!r} is loaded{nearest(module, self._targets)}")
        return self._targets[module]

    # -- what answers

    def expect(self, module: str) -> None:
        """From now on calls to the module wait: it is loading."""
        if not self._closing:
            self._loading.setdefault(module, asyncio.Event())

    def add(self, module: str, target: Target) -> None:
        """The module is there: answer its calls, the waiting ones too."""
        self._targets[module] = target
        self._public.leave(module)
        if isinstance(target, MethodTarget):
            self._public.join(target.public)
        self._release(module)

    def remove(self, module: str) -> None:
        """The module is gone, or its loading failed: calls to it are answered with `NoSuchApiError`."""
        if module != PUBLIC:  # which failed to load
            self._targets.pop(module, None)
            self._public.leave(module)
        self._release(module)

    def _release(self, module: str) -> None:
        if event := self._loading.pop(module, None):
            event.set()

    def statistics(self) -> dict[str, int]:
        """Counts of calls since the start, of those that waited or raised, and the number of targets."""
        return {"targets": len(self._targets) - 1, "loading": len(self._loading), **self._counts}


def _stopping() -> UnavailableError:
    return UnavailableError("the server is stopping")
