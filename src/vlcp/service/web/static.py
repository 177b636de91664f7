"""Static files over HTTP."""

from __future__ import annotations

import importlib.util
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from logging import DEBUG, WARNING
from typing import Any, NamedTuple

import msgspec

from vlcp.server.api import ConflictError
from vlcp.server.config import Config, ConfigError
from vlcp.server.module import Module, api, depend
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.web.folder import Folder
from vlcp.web.host import Route, VirtualHost
from vlcp.web.static import Serving, StaticFiles

Map = dict[str, str | tuple[str, str]]
_ROOT = "module.static"
_DEFAULT = "static"
_REST = "((?s:.*))"
"""The rest of a path, which may hold line breaks."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where files are, and who gets them: keys of `module.static.*` that a `vdir` may have otherwise."""

    relativeroot: str | None = None
    """The directory that the names of directories are relative to."""
    relativemodule: str = "__main__"
    """Without relativeroot: the directory of this Python module's file, or the working directory if it has none."""
    vhostbind: str | tuple[str, ...] | None = ""
    """The virtual host of httpserver that serves the files, or several; None: all."""
    hostbind: str | tuple[str, ...] | None = None
    """The host name that requests must be for, or several; None: any."""


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Which directories are served: keys of `module.static.vdir.<name>.*` that are not inherited."""

    dir: str | None = None
    dirs: tuple[str, ...] = ()
    map: Map = msgspec.field(default_factory=dict)
    vdir: dict[str, Any] = msgspec.field(default_factory=dict)


class Directory(NamedTuple):
    """One directory of the configuration, not looked at yet."""

    key: str
    origin: str
    pattern: str
    directory: str
    template: str
    where: Where
    serving: Serving

    @property
    def path(self) -> str:
        """Where it is."""
        return os.path.join(_base(self.where), self.directory)


@depend(HttpServer)
class Static(Module):
    """Serves the files of directories; with `vdir`, some of them in another manner."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.static.*`, with those of `Where` and `Serving`."""

        dir: str | None = _DEFAULT
        """A directory that is served at the path of its own name; None for none."""
        dirs: tuple[str, ...] = ()
        """More directories that are served at the paths of their names."""
        map: Map = msgspec.field(default_factory=dict)
        """Regular expression for whole paths -> (directory, file in it); or path -> directory for all below it."""
        vdir: dict[str, Any] = msgspec.field(default_factory=dict)
        """Directories with other settings: vdir.<name> has the same keys, and inherits all but dir, dirs, map, vdir."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._directories = list(_directories(server.config, (_ROOT,), self.settings))
        self._bound: tuple[tuple[VirtualHost, Route], ...] = ()
        self._served = 0

    async def load(self) -> None:
        """Serve what is configured."""
        self._bind()

    async def unload(self) -> None:
        """Serve nothing more."""
        self._release()

    async def take_over(self, old: Static) -> None:
        """Serve in the place of another instance."""
        old._release()
        self._bind()

    @api
    def updateconfig(self) -> None:
        """Read the configuration again, and serve what it says now."""
        config = self.server.config
        try:
            new = config.again() if config.path is not None else config
            self._read(new)
        except ConfigError as error:
            raise ConflictError(f"nothing is changed: {error}") from None
        if new is not config:
            config.take(new)
        self.settings, self._directories = self._read(config)
        self._release()
        self._bind()

    def _read(self, config: Config) -> tuple[Settings, list[Directory]]:
        settings = config.settings(type(self).Settings, _ROOT, "module.default")
        return settings, list(_directories(config, (_ROOT,), settings))

    def statistics(self) -> dict[str, Any]:
        """The number of directories that are served."""
        return {**super().statistics(), "directories": self._served}

    # -- routes

    def _bind(self) -> None:
        usable = [directory for directory in self._directories if self._is_usable(directory)]
        self._bound = tuple(pair for directory in usable for pair in self._routes(directory))
        self._served = len(usable)
        for host, route in self._bound:
            host.add(route)
        for name in sorted({host.name for host, _ in self._bound}):
            if not self.dependency(HttpServer).ports(name):
                self.logger.warning("files of the virtual host %r are not reachable: it has no URL", name)

    def _release(self) -> None:
        for host, route in self._bound:
            host.remove(route)
        self._bound = ()

    def _is_usable(self, directory: Directory) -> bool:
        """Whether there are files to serve; says why not."""
        what = f"{directory.origin}: {directory.key}: {directory.path!r} is not served"
        if os.path.exists(os.path.join(directory.path, "__init__.py")):
            self.logger.error("%s: it has an __init__.py, so there is a program in it", what)
            return False
        if not os.path.isdir(directory.path):
            named = directory.key != f"{_ROOT}.dir" or "dir" in self.server.config.subtree(_ROOT)
            self.logger.log(WARNING if named else DEBUG, "%s: there is no such directory", what)
            return False
        return True

    def _routes(self, directory: Directory) -> Iterator[tuple[VirtualHost, Route]]:
        where = directory.where
        files = StaticFiles(
            Folder(directory.path, directory.serving.symlinks), directory.template, directory.serving
        )
        http = self.dependency(HttpServer)
        everywhere = [place.vhost for place, _ in http.chosen(None)]
        vhosts = everywhere if where.vhostbind is None else _listed(where.vhostbind)
        for vhost in dict.fromkeys(vhosts):
            for name in _listed(where.hostbind) or (None,):
                yield http.host(vhost), Route(directory.pattern, ("GET",), files.answer, name)


def _listed(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names or ()


def _directories(
    config: Config, nodes: tuple[str, ...], which: Which | Static.Settings
) -> Iterator[Directory]:
    """What a level of the configuration serves: what is below it first. Raises `ConfigError`."""
    derived = len(nodes) - 1
    where = config.settings(Where, *nodes, derived=derived)
    serving = config.settings(Serving, *nodes, derived=derived)
    for name in which.vdir:
        below = (f"{nodes[0]}.vdir.{name}", *nodes)
        yield from _directories(config, below, config.settings(Which, below[0]))
    for key, pattern, directory, template in _mappings(which):
        full = f"{nodes[0]}.{key}"
        origin = config.origin(full)
        try:
            re.compile(pattern).sub(template, "")
        except (re.error, IndexError) as error:
            raise ConfigError(f"{origin}: {full}: {pattern!r} with {template!r}: {error}") from None
        if ".." in directory.split("/") and key != "map":
            raise ConfigError(f"{origin}: {full} = {directory!r} has no path of its own: use {nodes[0]}.map")
        yield Directory(full, origin, pattern, directory, template, where, serving)


def _mappings(which: Which | Static.Settings) -> Iterator[tuple[str, str, str, str]]:
    """Key, pattern of the path, directory and file in it; what has a path of its own first."""
    names = [("dir", which.dir)] if which.dir is not None else []
    for key, name in [*names, *(("dirs", name) for name in which.dirs)]:
        url = posixpath.normpath(f"/{name}").strip("/")
        yield key, (f"/{re.escape(url)}/" if url else "/") + _REST, name, r"\1"
    for pattern, target in which.map.items():
        if isinstance(target, str):
            yield "map", f"{pattern.rstrip('/')}/{_REST}", target, r"\1"
        else:
            yield "map", pattern, *target


def _base(where: Where) -> str:
    """The directory that others are relative to."""
    if where.relativeroot is not None:
        return os.path.abspath(where.relativeroot)
    file = getattr(sys.modules.get(where.relativemodule), "__file__", None)
    if file is None:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(where.relativemodule)
            file = spec.origin if spec is not None and spec.has_location else None
    return os.path.dirname(os.path.abspath(file)) if file else os.getcwd()
