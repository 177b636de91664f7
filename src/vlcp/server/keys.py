"""Which keys of a configuration have no effect, and why: mistyped ones, ones of earlier versions, others' ones."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator

from vlcp.server.config import Config, nearest
from vlcp.server.dropped import ABSENT, DROPPED

logger = logging.getLogger(__name__)

SECTIONS = {
    "daemon": (),
    "jsonformat": (),
    "main": (),
    "module": (),
    "protocol": ("default", "http", "jsonrpc", "openflow", "ovsdb", "raw", "redis", "zookeeper"),
    "proxy": ("kvstorage", "memorystorage", "updatenotifier"),
    "redisclient": (),
    "server": (),
    "webclient": (),
    "zookeeperclient": (),
}
"""What a key may begin with, and names there that are no mistake although no loaded module asks for them."""


def reason(key: str) -> str | None:
    """Why a key of an earlier version has no effect; None for any other key."""
    parts = key.split(".")
    while "vhost" in parts[2:-2]:  # a virtual host has the keys of its module
        at = parts.index("vhost", 2)
        del parts[at : at + 2]
    exact = DROPPED.get(".".join(parts)) or DROPPED.get(".".join([parts[0], "*", *parts[2:]]))
    return exact or ABSENT.get(parts[0]) or ABSENT.get(".".join(parts[:2]))


class Report:
    """Tells once about each key of one configuration that has no effect."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._told: set[str] = set()

    def process(self) -> None:
        """Tell about the keys of the process itself, and about sections that do not exist.

        Raises `ConfigError` for a value where keys belong, such as `module = 5`.
        """
        self.check_sections()
        self._tell(key for key in self._unread() if key.split(".")[0] in {"server", "daemon"} - {key})
        self._tell(key for key in self._unread() if key not in SECTIONS and "." not in key)

    def module(self, name: str) -> None:
        """Tell about the keys of a module that was just made."""
        self._tell(key for key in self._unread() if key.startswith(f"module.{name}."))

    def rest(self) -> None:
        """Tell about all others, when every module is loaded that should be."""
        self._tell(self._unread())

    def check_sections(self) -> None:
        """Raise `ConfigError` for a value where keys belong, such as `module = 5`."""
        for section in SECTIONS:
            self._config.check_keys_below(section)

    def findings(self) -> list[tuple[int, str]]:
        """Everything that there is to tell: levels of `logging` and texts."""
        return list(self._findings(self._config.unread()))

    def _unread(self) -> list[str]:
        return [key for key in self._config.unread() if key not in self._told]

    def _tell(self, keys: Iterable[str]) -> None:
        news = list(keys)
        self._told.update(news)
        for level, text in self._findings(news):
            logger.log(level, "%s", text)

    def _findings(self, keys: Iterable[str]) -> Iterator[tuple[int, str]]:
        dropped = defaultdict[str, list[str]](list)
        for key in keys:
            reasons = [(leaf, reason(leaf)) for leaf, _ in self._config.items(key)]
            for leaf, why in reasons:
                if why is not None:
                    dropped[why].append(leaf)
            if any(why is None for _, why in reasons) and (message := self._message(key)):
                yield logging.WARNING, f"{self._config.origin(key)}: {message}"
        for why, leaves in dropped.items():
            yield logging.INFO, f"without effect, {why}: {', '.join(sorted(leaves))}"

    def _message(self, key: str) -> str | None:
        """What is wrong with a key; None when it may be right for something that is not loaded."""
        section, _, name = key.rpartition(".")
        known = self._config.known(section)
        if not section:
            hint = nearest(name, known.union(SECTIONS))
            return None if name in SECTIONS else f"unknown key {name}.*{hint}"
        if name in SECTIONS.get(section, ()) or key == "module.default":
            return None
        if section == "module":
            hint = nearest(name, known - {"default"}, "module.")
            return f"no module {name!r} is loaded{hint}" if hint else None
        return f"unknown key {key}{nearest(name, known.union(SECTIONS.get(section, ())), f'{section}.')}"
