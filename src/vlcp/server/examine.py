"""A look at a configuration without starting it: every module is made, which reads its settings, and none is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from vlcp.server.config import Config, ConfigError
from vlcp.server.daemon import DaemonSettings
from vlcp.server.module import Module, ModuleError, module_path
from vlcp.server.record import text_of
from vlcp.server.server import Server


async def examine(config: Config) -> list[tuple[int, str]]:
    """What is wrong with a configuration, or worth to know: levels of `logging` and texts.

    Errors keep a module, or everything, from starting; warnings are about keys that nobody reads.
    """
    try:
        server = Server(config)
        server.keys.check_sections()
        config.settings(DaemonSettings, "daemon")
        wanted = server.startup()
    except (ConfigError, ModuleError) as error:
        return [(logging.ERROR, str(error))]
    made = dict[type[Module], str | None]()
    for cls in wanted:
        _make(server, cls, made)
    errors = [text for text in made.values() if text]
    return [*((logging.ERROR, text) for text in dict.fromkeys(errors)), *server.keys.findings()]


def _make(server: Server, cls: type[Module], made: dict[type[Module], str | None]) -> None:
    """Make a module after those that it depends on, and note what is wrong with it."""
    if cls in made:
        return
    made[cls] = None
    try:
        for needed in server.loader.dependencies(cls):
            _make(server, needed, made)
        cls(server)
    except (ConfigError, ModuleError) as error:
        made[cls] = str(error)
    except Exception as error:
        made[cls] = f"cannot make module {module_path(cls)!r}: {text_of(error)}"


def in_effect(config: Config) -> Iterator[tuple[str, object, str]]:
    """Every setting that was read, sorted by key, with its value and where that comes from.

    The text is a place such as `vlcp.conf:12`, or `default`, and `which nothing reads` after it when that is so.
    """
    unread = tuple(f"{key}." for key in config.unread())
    shown = dict[str, tuple[object, str]]()
    for key, value in config.items():
        nobody = ", which nothing reads" if f"{key}.".startswith(unread) else ""
        shown[key] = value, f"{config.origin(key)}{nobody}"
    for (section, structure), settings in config.read.items():
        for field in msgspec.structs.fields(structure):
            value = getattr(settings, field.name)
            if not field.required and value == _default(field):
                shown.setdefault(f"{canonical(section)}.{field.name}", (value, "default"))
    for key in sorted(shown):
        yield key, *shown[key]


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def canonical(section: str) -> str:
    """The key that all share: `protocol.http` for `module.httpserver.protocol.http`."""
    _, inner, name = section.rpartition(".protocol.")
    return f"protocol.{name}" if inner else section
