"""The parameters of a module API: checking and converting what a caller gave, and describing them."""

from __future__ import annotations

import enum
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

import msgspec

from vlcp.server.config import nearest

_EXTRA = inspect.Parameter.VAR_KEYWORD
_REFUSED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
_AS_THEY_ARE: dict[Any, type] = {
    **{kind: kind for kind in (str, int, bool, bytes, list, dict, types.NoneType)},
    list[Any]: list,
    dict[Any, Any]: dict,
}
"""Annotation -> the one class whose values need no look inside. No float: it may be infinite."""


class Parameter:
    """One parameter by name: what it may be, and how others say the same."""

    __slots__ = ("_choices", "default", "exact", "name", "optional", "wanted")

    def __init__(self, parameter: inspect.Parameter, wanted: Any) -> None:
        self.name = parameter.name
        self.wanted = wanted
        """The resolved annotation; Any takes everything as it is."""
        self.default = parameter.default
        self.optional = parameter.default is not parameter.empty
        self._choices = _choices(wanted)
        self.exact = frozenset(_AS_THEY_ARE[c] for c in self._choices if c in _AS_THEY_ARE)
        """Values of just these classes are right as they are."""

    def converted(self, value: Any) -> Any:
        """The value as the annotation wants it: numbers, truth values and null may be given as text.

        Raises ValueError that names the parameter and what is allowed.
        """
        if isinstance(value, str) and bool in self._choices and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
        try:
            converted = msgspec.convert(value, self.wanted, strict=False)
        except msgspec.ValidationError as error:
            text = str(error)
            raise ValueError(
                f"parameter {self.name!r}: {text[:1].lower()}{text[1:]}{self._hint(value)}"
            ) from None
        if isinstance(converted, float) and not math.isfinite(converted):
            raise ValueError(f"parameter {self.name!r}: expected a finite number, got {converted}")
        return converted

    def _hint(self, value: Any) -> str:
        """What else to say about a value that is not allowed."""
        if not isinstance(value, str):
            return ""
        if bool in self._choices:
            return f"; {value!r} is neither true nor false"
        if any(_origin(choice) in (list, tuple, set, frozenset, dict) for choice in self._choices):
            return "; in a query or a form write it as a literal in back-quotes, in JSON as it is"
        allowed = [repr(value) for choice in self._choices for value in _values(choice)]
        return f"; allowed are {', '.join(allowed)}" if allowed else ""

    def __str__(self) -> str:
        return f"{self.name}={self.default!r}" if self.optional else self.name

    def details(self) -> dict[str, Any]:
        """How `discover` shows it; without an annotation there is no type."""
        answer: dict[str, Any] = {"name": self.name, "optional": self.optional}
        if self.optional:
            answer["default"] = self.default
        if self.wanted is not Any:
            answer["type"] = _shown(self.wanted)
            answer.update(_schema(self.wanted))
        return answer


class Signature:
    """The parameters of a bound method; annotations are resolved once."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.name = method.__qualname__
        self.description = inspect.getdoc(method) or ""
        parameters = list(inspect.signature(method).parameters.values())
        if any(parameter.kind in _REFUSED for parameter in parameters):
            raise TypeError(f"{self.name}: the parameters of a module API must be usable by keyword")
        self._types, self._returned = _annotations(method)
        self.parameters = {
            p.name: Parameter(p, self._types.get(p.name, Any)) for p in parameters if p.kind != _EXTRA
        }
        self.extra = next((p.name for p in parameters if p.kind == _EXTRA), None)
        self._required = frozenset(p.name for p in self.parameters.values() if not p.optional)
        self._checked = [(p.name, p.exact, p) for p in self.parameters.values() if p.wanted is not Any]

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the method. Raises ValueError that names the parameter and what is allowed."""
        if not self._required <= params.keys() <= self.parameters.keys():
            self._check_names(params)
        arguments = dict(params)
        for name, exact, parameter in self._checked:
            if name in arguments and type(value := arguments[name]) not in exact:
                arguments[name] = parameter.converted(value)
        return arguments

    def _check_names(self, params: Mapping[str, Any]) -> None:
        missing = [name for name in self.parameters if name in self._required and name not in params]
        if missing:
            raise ValueError(f"missing parameter {', '.join(map(repr, missing))}; {self._allowed()}")
        for name in params:
            if name not in self.parameters and (self.extra is None or name == "self"):
                hint = nearest(name, self.parameters) or f"; {self._allowed()}"
                raise ValueError(f"unknown parameter {name!r}{hint}")

    def _allowed(self) -> str:
        return f"the parameters are ({', '.join(map(str, self.parameters.values()))})"

    def details(self) -> dict[str, Any]:
        """The description and all parameters, positional ones first, as `discover` shows them."""
        answer: dict[str, Any] = {
            "description": self.description,
            "parameters": [parameter.details() for parameter in self.parameters.values()],
            "extraparameters": self.extra is not None,
        }
        if self.extra in self._types:
            answer["extraparameters_type"] = _shown(self._types[self.extra])
        if self._returned is not Any:
            answer["return_type"] = _shown(self._returned)
        return answer


def _annotations(method: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    """The resolved annotations of the parameters, and that of the result: Any if only type checkers know its names."""
    function = inspect.unwrap(getattr(method, "__func__", method))
    hints = dict(function.__annotations__)
    returned = {"return": hints.pop("return", Any)}
    try:
        result = _resolved(returned, function)["return"]
    except NameError:
        result = Any
    return _resolved(hints, function), result


def _resolved(hints: dict[str, Any], function: Any) -> dict[str, Any]:
    holder = types.SimpleNamespace(__annotations__=hints)
    return typing.get_type_hints(holder, globalns=function.__globals__, include_extras=True)


def _origin(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; otherwise the annotation alone."""
    if _origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _values(annotation: Any) -> tuple[Any, ...]:
    """The only values that an annotation allows, if it lists them."""
    if _origin(annotation) is Literal:
        return typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return tuple(member.value for member in annotation)
    return ()


def _shown(annotation: Any) -> Any:
    """A type for people: a class as its representation, alternatives as a list in which null stands for None."""
    if _origin(annotation) is Annotated:
        return _shown(annotation.__origin__)
    choices = _choices(annotation)
    if len(choices) > 1:
        return [_shown(choice) for choice in choices]
    return None if annotation in (None, types.NoneType) else repr(annotation)


def _schema(annotation: Any) -> dict[str, Any]:
    """The same for programs, as a JSON Schema; nothing for types that JSON does not know."""
    try:
        return {"schema": msgspec.json.schema(annotation)}
    except TypeError:
        return {}
