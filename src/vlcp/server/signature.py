"""The parameters of a module API: checking and converting what a caller gave, and describing them."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union

import msgspec

from vlcp.server.config import nearest

_EXTRA = inspect.Parameter.VAR_KEYWORD
_REFUSED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)


class Signature:
    """A bound method with its parameters; annotations are resolved once."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        self.description = inspect.getdoc(method) or ""
        parameters = list(inspect.signature(method).parameters.values())
        if any(parameter.kind in _REFUSED for parameter in parameters):
            raise TypeError(
                f"{method.__qualname__}: the parameters of a module API must be usable by keyword"
            )
        self._parameters = {p.name: p for p in parameters if p.kind != _EXTRA}
        self._extra = next((p for p in parameters if p.kind == _EXTRA), None)
        self._types = _annotations(method)

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the method. Raises ValueError that names the parameter and what is allowed."""
        self._check_names(params)
        return {name: self._converted(name, value) for name, value in params.items()}

    def _check_names(self, params: Mapping[str, Any]) -> None:
        missing = [
            name for name, p in self._parameters.items() if p.default is p.empty and name not in params
        ]
        if missing:
            raise ValueError(f"missing parameter {', '.join(map(repr, missing))}; {self._allowed()}")
        for name in params:
            if name not in self._parameters and (self._extra is None or name == "self"):
                hint = nearest(name, self._parameters) or f"; {self._allowed()}"
                raise ValueError(f"unknown parameter {name!r}{hint}")

    def _allowed(self) -> str:
        shown = [
            name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
            for name, parameter in self._parameters.items()
        ]
        return f"the parameters are ({', '.join(shown)})"

    def _converted(self, name: str, value: Any) -> Any:
        wanted = self._types.get(name, Any)
        if wanted is Any or name not in self._parameters:
            return value
        try:
            converted = msgspec.convert(value, wanted, strict=False)
        except msgspec.ValidationError as error:
            text = str(error)
            raise ValueError(f"parameter {name!r}: {text[:1].lower()}{text[1:]}") from None
        if isinstance(converted, float) and not math.isfinite(converted):
            raise ValueError(f"parameter {name!r}: expected a finite number, got {converted}")
        return converted

    def details(self) -> dict[str, Any]:
        """The description and all parameters, positional ones first, as `discover` shows them."""
        answer: dict[str, Any] = {
            "description": self.description,
            "parameters": [self._parameter_details(parameter) for parameter in self._parameters.values()],
            "extraparameters": self._extra is not None,
        }
        if self._extra and self._extra.name in self._types:
            answer["extraparameters_type"] = _shown(self._types[self._extra.name])
        return answer

    def _parameter_details(self, parameter: inspect.Parameter) -> dict[str, Any]:
        optional = parameter.default is not parameter.empty
        answer: dict[str, Any] = {"name": parameter.name, "optional": optional}
        if optional:
            answer["default"] = parameter.default
        wanted = self._types.get(parameter.name, Any)
        if wanted is not Any:
            answer["type"] = _shown(wanted)
            answer.update(_schema(wanted))
        return answer


def _annotations(method: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations of the parameters; that of the result may name what only type checkers know."""
    function = inspect.unwrap(getattr(method, "__func__", method))
    own = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    holder = types.SimpleNamespace(__annotations__=own)
    return typing.get_type_hints(holder, globalns=function.__globals__)


def _shown(annotation: Any) -> Any:
    """A type for people: a class as its representation, alternatives as a list in which null stands for None."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [_shown(choice) for choice in typing.get_args(annotation)]
    return None if annotation in (None, types.NoneType) else repr(annotation)


def _schema(annotation: Any) -> dict[str, Any]:
    """The same for programs, as a JSON Schema; nothing for types that JSON does not know."""
    try:
        return {"schema": msgspec.json.schema(annotation)}
    except TypeError:
        return {}
