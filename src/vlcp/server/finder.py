"""From a loading path to a module class, with a message that helps when there is none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import types

from vlcp.server.config import nearest
from vlcp.server.module import Module, ModuleError, NoSuchModuleError, Proxy, module_name

LONGEST_PATH = 255
"""Characters of a loading path."""


def find(path: str) -> type[Module]:
    """Import a module class by its loading path. Raises `NoSuchModuleError` that names similar ones."""
    if len(path) > LONGEST_PATH or not all(map(str.isidentifier, path.split("."))):
        raise NoSuchModuleError(
            f"cannot load {path[:LONGEST_PATH]!r}: a loading path is names joined by dots,"
            f" at most {LONGEST_PATH} characters"
        )
    package, dot, name = path.rpartition(".")
    if not dot:
        raise NoSuchModuleError(
            f"cannot load {path!r}: give the full loading path, such as 'package.file.{path}'"
        )
    holder = _import(package, path)
    cls = getattr(holder, name, None)
    if cls is None:
        known = {member.__name__ for member in classes(holder)}
        hint = nearest(name, known, f"{package}.") or f"; it has {', '.join(sorted(known)) or 'no modules'}"
        raise NoSuchModuleError(f"cannot load {path!r}: there is no {name!r} in {package}{hint}")
    if not inspect.isclass(cls) or not issubclass(cls, Module) or cls in (Module, Proxy):
        raise NoSuchModuleError(
            f"cannot load {path!r}: it is not a class derived from vlcp.server.module.Module"
        )
    return cls


def classes(holder: types.ModuleType) -> list[type[Module]]:
    """The module classes that a Python file defines itself, by name; imported ones do not count."""
    found = [
        member
        for _, member in inspect.getmembers(holder, inspect.isclass)
        if issubclass(member, Module) and member.__module__ == holder.__name__
    ]
    return [cls for cls in found if not cls.__name__.startswith("_")]


def implementation(
    proxy: type[Proxy], path: object, origin: str, otherwise: str | None = None
) -> type[Module]:
    """The class that a proxy stands for: at the configured `path`, else at `otherwise`, else at its default."""
    otherwise = otherwise or proxy.default
    key = f"proxy.{module_name(proxy)}"
    advice = f"; {proxy.advice}" if proxy.advice else ""
    if path is None and otherwise is None:
        raise ModuleError(f"{key} is not specified: set it to the loading path of a module{advice}")
    if path is not None and not isinstance(path, str):
        raise ModuleError(f"{origin}: {key} = {path!r}: expected the loading path of a module as text")
    try:
        return find(path or str(otherwise))
    except NoSuchModuleError as error:
        if path is not None:
            raise ModuleError(f"{origin}: {key}: {error}{advice}") from None
        raise ModuleError(
            f"{otherwise!r}, the default of {key}, does not exist in this version{advice}"
        ) from None
    except ModuleError as error:
        place = f"{origin}: {key}" if path else f"the default of {key}"
        raise ModuleError(f"{place}: {error}") from None


def _import(package: str, path: str) -> types.ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise ModuleError(
                f"cannot load {path!r}: {package} needs {error.name!r}, which is missing"
            ) from error
        hint = _similar(path, error.name)
        raise NoSuchModuleError(
            f"cannot load {path!r}: there is no Python module {error.name!r}{hint}"
        ) from None
    except (Exception, SystemExit) as error:  # a file that is a program ends itself
        raise ModuleError(f"cannot load {path!r}: importing {package} fails: {error!r}") from error


def _similar(path: str, missing: str) -> str:
    """The loading paths near to a mistyped one: files beside the missing one, else anywhere below its root."""
    parent = sys.modules.get(missing.rpartition(".")[0])
    root = sys.modules.get(path.split(".")[0])
    for holder in (parent, root):
        if holder is not None and (hint := nearest(path, _paths_below(holder))):
            return hint
    return ""


def _paths_below(package: types.ModuleType) -> set[str]:
    """Loading paths that files below a package would offer, taken from their names without importing them all."""
    found = set[str]()
    where = getattr(package, "__path__", [])
    for info in pkgutil.walk_packages(where, f"{package.__name__}.", onerror=lambda _: None):
        if not info.ispkg and not info.name.endswith(".__main__"):  # that one is a program
            found.update(f"{info.name}.{name}" for name in _class_names(info.name))
    return found


def _class_names(name: str) -> list[str]:
    try:
        return [cls.__name__ for cls in classes(importlib.import_module(name))]
    except (Exception, SystemExit):
        return []
