"""Writes `manual/keys.md`, the table of all configuration keys, from the settings that the program itself declares.

Every module is made with an empty configuration, which remembers the settings that it was asked for.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from vlcp.scripts.script import Arguments
from vlcp.server.config import Config
from vlcp.server.daemon import DaemonSettings
from vlcp.server.dropped import ABSENT, CHANGED, DROPPED
from vlcp.server.examine import canonical
from vlcp.server.finder import classes
from vlcp.server.module import Module, Proxy, module_name, module_path
from vlcp.server.server import Server
from vlcp.service.connection.jsonrpcserver import JsonRPCServer

PAGE = Path(__file__).parent / "manual" / "keys.md"
HEAD = """# All configuration keys

What a key means, and its value when it is not set. Written by `make docs`; do not edit.

`module.<name>.*` belongs to the module of this name, and what is in several modules may also be set for all of them
in `module.default.*`: [Configuration](configuration.md) has the rules. Keys that are not on this page are told when
the controller starts, and `vlcp config --check FILE` tells them without a start.
"""


class Setting(NamedTuple):
    """What a key means, and its value when it is not set."""

    default: Any
    meaning: str


def shipped() -> Iterator[type[Module]]:
    """Every module class of the package."""
    for package in ("vlcp.service", "vlcp.scripts"):
        if importlib.util.find_spec(package) is None:
            continue
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not info.ispkg:
                yield from classes(importlib.import_module(info.name))


def is_for_use(cls: type[Module], all_classes: list[type[Module]]) -> bool:
    """Whether somebody loads it: others only derive from a base."""
    return not any(cls in other.__mro__[1:] for other in all_classes)


class Survey:
    """The settings of everything in the package."""

    def __init__(self) -> None:
        self.config = Config()
        server = Server(self.config)
        self.config.settings(DaemonSettings, "daemon")
        every = list(shipped())
        self.modules = {module_name(cls): cls for cls in every if is_for_use(cls, every)}
        for cls in self.modules.values():
            cls(server)
        self.sections: dict[str, dict[str, Setting]] = {}
        self.config.set("module.jsonrpcserver.ovsdb", True)  # it reads other settings then
        JsonRPCServer(server)
        self.config.settings(Arguments, "main")
        for key, structure in self.config.read:
            self._enter(canonical(key), structure)
        self._enter_shared()
        for cls in self.modules.values():
            if issubclass(cls, Proxy):
                proxies = self.sections.setdefault("proxy", {})
                proxies[module_name(cls)] = Setting(
                    cls.default, f"The module that does the work of `{module_path(cls)}`."
                )

    def _enter(self, section: str, structure: type[msgspec.Struct]) -> None:
        meanings = _meanings(structure)
        found = {name: Setting(value, meanings.get(name, "")) for name, value in _fields(structure).items()}
        self.sections.setdefault(section, {}).update(found)

    def _enter_shared(self) -> None:
        """`module.default` and `protocol.default`: what structures inherit, with the default where it is declared."""
        bases = dict.fromkeys(base for _, structure in self.config.read for base in _structs(structure))
        for shared in ("module.default", "protocol.default"):
            section = self.sections.setdefault(shared, {})
            for base in bases:
                for name in self.config.known(shared).intersection(inspect.get_annotations(base)):
                    section.setdefault(name, Setting(_fields(base)[name], _meanings(base).get(name, "")))


def _structs(structure: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """What a structure derives from, the most general first."""
    bases = reversed(structure.__mro__[1:])
    return [base for base in bases if issubclass(base, msgspec.Struct) and base is not msgspec.Struct]


def _fields(structure: type[msgspec.Struct]) -> dict[str, Any]:
    """The default of every field."""
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(structure)
    }


def _meanings(structure: type[msgspec.Struct]) -> dict[str, str]:
    """The text below every field in the source, for the fields of the structure and of what it derives from."""
    found: dict[str, str] = {}
    for base in [*_structs(structure), structure]:
        tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        found.update(_texts(_class(tree, base.__qualname__)))
    return found


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    body: list[ast.stmt] = tree.body
    for part in name.split("."):
        found = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == part)
        body = found.body
    return found


def _texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str() as text)):
                    yield field.target.id, " ".join(text.split())


def page() -> str:
    """The whole page."""
    survey = Survey()
    return "\n".join([HEAD, *_sections(survey), *_without_effect(), *_absent()])


def _sections(survey: Survey) -> Iterator[str]:
    every = _fields(Module.Settings)
    for section in sorted(survey.sections):
        settings = {
            name: setting
            for name, setting in survey.sections[section].items()
            if section == "module.default" or name not in every or setting.default != every[name]
        }
        cls = survey.modules.get(section.removeprefix("module.")) if section.startswith("module.") else None
        if not settings or (section.startswith("module.") and cls is None and section != "module.default"):
            continue
        yield f"## `{section}.*`\n"
        if cls is not None:
            yield f"`{module_path(cls)}`\n"
        yield "| key | default | meaning |\n|---|---|---|"
        for name in sorted(settings):
            changed = CHANGED.get(f"{section}.{name}")
            note = f" Version 2: {changed}." if changed else ""
            yield f"| `{name}` | `{_cell(repr(settings[name].default))}` | {_cell(settings[name].meaning)}{note} |"
        yield ""


def _without_effect() -> Iterator[str]:
    yield "## Keys of version 2 without effect\n\nThey are accepted, and told once in the log at level INFO.\n"
    yield "| keys | why |\n|---|---|"
    for reason in dict.fromkeys(DROPPED.values()):
        keys = ", ".join(f"`{key}`" for key in sorted(DROPPED) if DROPPED[key] == reason)
        yield f"| {keys} | {reason} |"
    yield ""


def _absent() -> Iterator[str]:
    yield "## Modules that this version does not have\n\nTheir keys are accepted, and told once.\n"
    yield ", ".join(f"`{section}.*`" for section in sorted(ABSENT)) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
