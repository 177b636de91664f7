"""The APIs of modules: marked methods, called by name with keyword parameters that are checked and converted."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, overload

from vlcp.server.config import nearest
from vlcp.server.errors import (
    ApiError,
    BadParameterError,
    CallTimeoutError,
    ConflictError,
    ForbiddenError,
    ModuleError,
    NoSuchApiError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    status_of,
)
from vlcp.server.signature import Signature

__all__ = [
    "ApiError",
    "BadParameterError",
    "CallTimeoutError",
    "ConflictError",
    "ForbiddenError",
    "Handler",
    "MethodTarget",
    "NoSuchApiError",
    "NotFoundError",
    "PublicTarget",
    "RejectedError",
    "Target",
    "UnavailableError",
    "api",
    "status_of",
]

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
Criteria = Callable[[Any, Mapping[str, Any]], object]

PUBLIC = "public"
"""The module name under which public APIs are called."""
_MARK = "__module_api__"
_DISCOVER = "discover"


class _Mark(NamedTuple):
    name: str | None
    public: bool
    criteria: Criteria | None


@overload
def api(method: F, /) -> F: ...


@overload
def api(
    *, name: str | None = None, public: bool = False, criteria: Criteria | None = None
) -> Callable[[F], F]: ...


def api(
    method: F | None = None,
    /,
    *,
    name: str | None = None,
    public: bool = False,
    criteria: Criteria | None = None,
) -> F | Callable[[F], F]:
    """Make a method a module API: callable by other modules, and by users through the web API.

    The API's name is the method's name in lower case, or `name`; its description is the docstring. Parameters are
    given by keyword; those with a type annotation are checked and converted (text becomes a number where a number is
    expected). A method with `**kwargs` takes further parameters as they are.

    With `criteria` the method takes only calls for which `criteria(module, parameters)` is true, where `module` is the
    instance and `parameters` is what the caller gave, before any conversion; so several methods can share a name. A
    method without criteria takes what is left.

    A `public` API is called as `public/<name>` instead of `<module>/<name>`; several modules can share it in the same
    way. Among equals the module that was loaded first is asked first.
    """

    def mark(method: F) -> F:
        setattr(method, _MARK, _Mark(name, public, criteria))
        return method

    return mark if method is None else mark(method)


class Target(Protocol):
    """What answers calls under one module name."""

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call one API. Raises `NoSuchApiError` and `BadParameterError` besides what the API raises."""
        ...


class Handler:
    """One method that answers calls of a name."""

    __slots__ = ("criteria", "method", "module", "owner", "signature")

    def __init__(
        self, module: str, owner: object, method: Callable[..., Any], criteria: Criteria | None
    ) -> None:
        self.module = module
        self.owner = owner
        self.method = method
        self.criteria = criteria
        self.signature = Signature(method)

    def takes(self, params: Mapping[str, Any]) -> bool:
        """Whether the criteria choose this method; criteria that fail do not, and are logged."""
        if self.criteria is None:
            return True
        try:
            return bool(self.criteria(self.owner, params))
        except Exception:
            logger.exception("the criteria of %s in module %r failed", self.signature.name, self.module)
            return False

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call the method with checked parameters; `name` is what the caller called it."""
        try:
            arguments = self.signature.arguments(params)
        except ValueError as error:
            raise BadParameterError(f"{name}: {error}") from None
        answer = self.method(**arguments)
        return await answer if hasattr(type(answer), "__await__") else answer


Handlers = dict[str, list[Handler]]


class _Table:
    """Handlers by API name; those with criteria are asked first."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.handlers: Handlers = {}
        self.add(_DISCOVER, Handler(module, self, self.discover, None))

    def add(self, name: str, handler: Handler) -> None:
        """Ask this handler after all others of its kind."""
        same = [*self.handlers.get(name, ()), handler]
        self.handlers[name] = sorted(same, key=lambda handler: handler.criteria is None)

    async def call(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call the first handler that takes the parameters."""
        handlers = self.handlers.get(name)
        if handlers is None:
            raise self._unknown(name)
        for handler in handlers:
            if handler.takes(params):
                return await handler.call(f"{self.module}/{name}", params)
        raise self._refused(name, handlers)

    def _unknown(self, name: str) -> NoSuchApiError:
        hint = nearest(name, self.handlers, f"{self.module}/") or f"; see {self.module}/{_DISCOVER}"
        return NoSuchApiError(f"{name!r} is not defined in module {self.module!r}{hint}")

    def _refused(self, name: str, handlers: Sequence[Handler]) -> RejectedError:
        return RejectedError(f"{self.module}/{name}: no handler takes these parameters")

    def discover(self, details: Any = False) -> dict[str, Any]:
        """The APIs of this module with their descriptions; details=true adds their parameters."""
        with_details = details.lower() not in ("", "false") if isinstance(details, str) else bool(details)
        shown = _details if with_details else _description
        return {name: shown(handlers) for name, handlers in sorted(self._shown().items())}

    def _shown(self) -> Handlers:
        return self.handlers


def _description(handlers: Sequence[Handler]) -> str:
    return handlers[0].signature.description


def _details(handlers: Sequence[Handler]) -> dict[str, Any]:
    """The first handler; others of the same name are its `alternatives`."""
    first, *others = (handler.signature.details() for handler in handlers)
    return {**first, "alternatives": others} if others else first


class MethodTarget(_Table):
    """The APIs of one module: its marked methods and `discover`."""

    def __init__(self, module: str, owner: object) -> None:
        if module == PUBLIC:
            raise ModuleError(f"a module cannot be called {module!r}: public APIs are called by that name")
        super().__init__(module)
        self.public: Handlers = {}
        """What is called as `public/<name>`."""
        for attribute, mark in _marked(type(owner)):
            name = (mark.name or attribute).lower()
            handler = Handler(module, owner, getattr(owner, attribute), mark.criteria)
            if mark.public and name != _DISCOVER:
                self.public.setdefault(name, []).append(handler)
            else:
                self._add_own(name, handler)

    def _add_own(self, name: str, handler: Handler) -> None:
        others = [other for other in self.handlers.get(name, ()) if other.criteria is None]
        if name == _DISCOVER or (others and handler.criteria is None):
            taken = others[0].signature.name
            raise TypeError(f"{handler.signature.name}: the API name {name!r} is that of {taken} already")
        self.add(name, handler)

    def _shown(self) -> Handlers:
        return self.handlers | {f"{PUBLIC}/{name}": handlers for name, handlers in self.public.items()}


def _marked(cls: type) -> Iterator[tuple[str, _Mark]]:
    """The names of the marked methods, those of base classes first, in the order of their definition."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    for name in names:
        mark = getattr(inspect.getattr_static(cls, name, None), _MARK, None)
        if isinstance(mark, _Mark):
            yield name, mark


class PublicTarget(_Table):
    """The public APIs of all loaded modules."""

    def __init__(self) -> None:
        super().__init__(PUBLIC)

    def join(self, public: Handlers) -> None:
        """Ask the handlers of a module from now on."""
        for name, handlers in public.items():
            for handler in handlers:
                self.add(name, handler)

    def leave(self, module: str) -> None:
        """Ask the handlers of a module no longer."""
        for name, handlers in list(self.handlers.items()):
            left = [handler for handler in handlers if handler.module != module]
            self.handlers[name] = left
            if not left:
                del self.handlers[name]

    def _unknown(self, name: str) -> NoSuchApiError:
        hint = nearest(name, self.handlers, f"{PUBLIC}/")
        return NoSuchApiError(f"public API {name!r} is not processed: no loaded module offers it{hint}")

    def _refused(self, name: str, handlers: Sequence[Handler]) -> RejectedError:
        asked = ", ".join(dict.fromkeys(handler.module for handler in handlers))
        return RejectedError(f"public API {name!r} is not processed: not with these parameters by {asked}")
