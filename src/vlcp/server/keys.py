"""Which configuration keys exist, so that a mistyped one is told; unknown keys are ignored otherwise."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from vlcp.server.config import Config, nearest
from vlcp.server.module import Module, module_name

logger = logging.getLogger(__name__)

SECTIONS = frozenset(
    "daemon jsonformat main module protocol proxy redisclient server webclient zookeeperclient".split()
)
"""What a key may begin with."""

EFFECTIVE = frozenset("debugging logging loggingconfig startup ulimitn".split())
"""The keys of `server.*` that have an effect."""

WITHOUT_EFFECT = frozenset(
    """connectioncontrolpriority connectionwritepriority datalimitperstream futurepriority lockpriority
    moduleapicallpriority moduleapireplypriority moduleloadeventpriority modulenotifypriority pollerrorpriority
    pollreadpriority pollwritepriority preservefornew processevents queuedefaultsize queuemaxsize
    resolverpoolsize resolverreqpriority resolverresppriority routinecontrolpriority streamdatalimit
    streamdatapriority sysctllowpriority sysctlpriority timerpriority totalwritelimit
    writelimitperconnection""".split()
)
"""Keys of `server.*` that earlier versions had for their event queues: accepted, and told once."""

LIFE_CYCLE = frozenset({"autosuccess", "forcestop", "service"})
"""Keys of `module.<name>.*` that earlier versions had for every module: accepted."""


def warn_server(config: Config) -> None:
    """Log the first parts of keys that do not exist, and the keys of `server.*` that do not or have no effect.

    Raises `ConfigError` for a value where keys belong, such as `module = 5`.
    """
    for section in config.names():
        if section in SECTIONS:
            config.check_keys_below(section)
        else:
            hint = nearest(section, SECTIONS)
            logger.warning("%s: unknown key %s.*%s", config.origin(section), section, hint)
    for message in config.unknown("server", EFFECTIVE | WITHOUT_EFFECT):
        logger.warning("%s", message)
    if idle := sorted(WITHOUT_EFFECT.intersection(config.names("server"))):
        logger.info("without effect: server.%s", ", server.".join(idle))


def warn_module(config: Config, cls: type[Module]) -> None:
    """Log the keys of a module that it does not have."""
    known = LIFE_CYCLE.union(cls.ignored, cls.Settings.__struct_fields__)
    for message in config.unknown(f"module.{module_name(cls)}", known):
        logger.warning("%s", message)


def warn_absent_modules(config: Config, loaded: Iterable[str]) -> None:
    """Log settings of a module that is not loaded but has nearly the name of one that is."""
    names = set(loaded)
    for name in config.names("module"):
        hint = nearest(name, names, "module.")
        if hint and name not in names and name != "default":
            logger.warning("%s: no module %r is loaded%s", config.origin(f"module.{name}"), name, hint)
