"""Calls between modules by name: `module/api` with keyword parameters, checked and converted.

An error that a caller may have caused, or can do something about, is an exception with an attribute `status`
(400 to 599, with the meaning of RFC 9110 section 15). Any other exception is our own fault.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from vlcp.server.config import nearest
from vlcp.server.signature import Signature

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__module_api__"
PARKING_LIMIT = 120.0
"""Seconds that a call waits for a module that is still loading."""


class ApiError(Exception):
    """A deliberate answer to a call."""

    status: ClassVar[int] = 500


class BadParameterError(ApiError):
    """A parameter is missing, unknown or has a value that is not allowed."""

    status = 400


class ForbiddenError(ApiError):
    """The caller may not do this."""

    status = 403


class NotFoundError(ApiError):
    """There is no such module, API or object."""

    status = 404


class ConflictError(ApiError):
    """The present state does not allow it, for example because a name is taken."""

    status = 409


class UnavailableError(ApiError):
    """Something that the call needs is away; the same call may succeed later."""

    status = 503


def api(method: F) -> F:
    """Make a method a module API: callable by other modules, and by users through the web API.

    The API's name is the method's name in lower case, its description the docstring. Parameters are given by
    keyword; those with a type annotation are checked and converted (text becomes a number where a number is
    expected). A method with `**kwargs` takes further parameters as they are.
    """
    setattr(method, _MARK, True)
    return method


def status_of(error: BaseException) -> int | None:
    """The status of a deliberate answer; None for an error that nobody meant to answer with."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) and 400 <= status <= 599 else None


class Target(Protocol):
    """What answers calls under one module name."""

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call one API. Raises `NotFoundError` and `BadParameterError` besides what the API raises."""
        ...


class MethodTarget:
    """The APIs of one module: its marked methods and `discover`."""

    def __init__(self, module: str, owner: object) -> None:
        self.module = module
        self._apis = {
            name.lower(): Signature(getattr(owner, name))
            for name, member in inspect.getmembers(type(owner), callable)
            if hasattr(member, _MARK)
        }
        self._apis["discover"] = Signature(self.discover)

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call one API of the module with checked parameters."""
        signature = self._apis.get(name)
        if signature is None:
            hint = nearest(name, self._apis, f"{self.module}/") or f"; see {self.module}/discover"
            raise NotFoundError(f"{name!r} is not defined in module {self.module!r}{hint}")
        try:
            arguments = signature.arguments(params)
        except ValueError as error:
            raise BadParameterError(f"{self.module}/{name}: {error}") from None
        answer = signature.method(**arguments)
        return await answer if inspect.isawaitable(answer) else answer

    def discover(self, details: Any = False) -> dict[str, Any]:
        """The APIs of this module with their descriptions; details=true adds their parameters."""
        with_details = details.lower() not in ("", "false") if isinstance(details, str) else bool(details)
        return {
            name: signature.details() if with_details else signature.description
            for name, signature in sorted(self._apis.items())
        }


class Registry:
    """All targets by module name, and the modules whose loading is under way."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._loading: dict[str, asyncio.Event] = {}
        self._counts: Counter[str] = Counter()

    async def call(self, module: str, api: str, params: Mapping[str, Any]) -> Any:
        """Call `module/api`.

        Waits only while the module is loading. Raises `NotFoundError` for an unknown module or API,
        `BadParameterError` for a missing, unknown or unsuitable parameter, and what the API itself raises.
        """
        self._counts["calls"] += 1
        try:
            target = self._targets.get(module) or await self._parked(module)
            return await target.call(api, params)
        except Exception as error:
            self._counts["answered with an error" if status_of(error) else "failed"] += 1
            raise

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
            raise NotFoundError(f"no module {module!r} is loaded{nearest(module, self._targets)}")
        return self._targets[module]

    def expect(self, module: str) -> None:
        """From now on calls to the module wait: it is loading."""
        self._loading.setdefault(module, asyncio.Event())

    def add(self, module: str, target: Target) -> None:
        """The module is there: answer its calls, the waiting ones too."""
        self._targets[module] = target
        self._release(module)

    def remove(self, module: str) -> None:
        """The module is gone, or its loading failed: calls to it are answered with `NotFoundError`."""
        self._targets.pop(module, None)
        self._release(module)

    def _release(self, module: str) -> None:
        if event := self._loading.pop(module, None):
            event.set()

    def statistics(self) -> dict[str, int]:
        """Counts of calls since the start, of those that waited or raised, and the number of targets."""
        return {"targets": len(self._targets), "loading": len(self._loading), **self._counts}
