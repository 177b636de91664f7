"""A new generation of Python files: imported aside, all of them or none."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import time
import traceback
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vlcp.server.module import ModuleError

WRITING_NS = 200_000_000
"""Nanoseconds after its last change for which a file may be only half written."""


def source_file(name: str) -> Path:
    """The file of an imported Python module. Raises `ModuleError` for one that cannot be imported again."""
    module = sys.modules.get(name)
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if name == "__main__" or not origin or not str(origin).endswith(".py"):
        raise ModuleError(f"cannot reload {name}: it was not imported from a Python file", 409)
    if Path(origin).name == "__init__.py":
        raise ModuleError(f"cannot reload {name}: it is a package, and its files would stay as they are", 409)
    return Path(origin)


class Generation:
    """The present code of some Python modules, read from their files."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        self.files = {name: source_file(name) for name in self.names}
        self._before = {name: sys.modules[name] for name in self.names}
        self._came: set[str] = set()
        """Other modules of the same packages that only this generation has imported."""

    def load(self) -> None:
        """Import them all, each from its text and the new ones of the others.

        Nothing else can run meanwhile. When one fails, all of Python's tables are as before. Raises `ModuleError` that
        names file and line.
        """
        finder, before = _Finder(self.files), set(sys.modules)
        importlib.invalidate_caches()
        sys.meta_path.insert(0, finder)
        _withdraw(self.names)
        try:
            for name in self.names:
                importlib.import_module(name)
            self._came = self._others(before)
        except BaseException as error:
            self._came = self._others(before)
            self.undo()
            if not isinstance(error, Exception | SystemExit):
                raise
            raise ModuleError(f"cannot reload: {self._told(error)}; the old code runs on", 409) from error
        finally:
            sys.meta_path.remove(finder)

    def undo(self) -> None:
        """Put the modules of before back; what only the new ones have imported goes with them."""
        _withdraw([*self.names, *self._came])
        for name, module in self._before.items():
            sys.modules[name] = module
            parent, attribute = _place(name)
            if parent is not None:
                setattr(parent, attribute, module)

    def _others(self, before: set[str]) -> set[str]:
        packages = {name.partition(".")[0] for name in self.names}
        come = sys.modules.keys() - before - set(self.names)
        return {name for name in come if name.partition(".")[0] in packages}

    def _told(self, error: BaseException) -> str:
        """The error with the place in our files where it came up."""
        text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
        if isinstance(error, SyntaxError):
            return f"{error.filename}:{error.lineno}: {text}"
        ours = {str(file) for file in self.files.values()}
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in ours]
        return f"{frames[-1].filename}:{frames[-1].lineno}: {text}" if frames else text


class _Finder:
    """Finds some modules for the time of their import, without the cache of byte code.

    That cache tells a changed file by its time in whole seconds and its size: too coarse for an editor.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._files:
            return None
        file = str(self._files[name])
        return importlib.util.spec_from_file_location(name, file, loader=_FromText(name, file))


class _FromText(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _withdraw(names: Iterable[str]) -> None:
    """Take modules out, so that whoever imports one of them gets a new one."""
    for name in names:
        sys.modules.pop(name, None)
        parent, attribute = _place(name)
        if parent is not None:
            vars(parent).pop(attribute, None)


def _place(name: str) -> tuple[types.ModuleType | None, str]:
    """The package of a module, if it is imported, and the name of the module in it."""
    package, _, attribute = name.rpartition(".")
    return sys.modules.get(package), attribute


class SourceWatch:
    """Tells which files have changed since they were looked at before."""

    def __init__(self) -> None:
        self._versions: dict[Path, tuple[int, int]] = {}

    def changed(self, files: Iterable[Path]) -> set[Path]:
        """The files whose time or size is another; one that was not looked at before has not changed.

        One that is missing is left for later; all are while one was changed just now: somebody is still writing.
        """
        now = dict(_versions(files))
        if any(abs(time.time_ns() - changed) < WRITING_NS for changed, _ in now.values()):
            return set()
        changed = {file for file, version in now.items() if self._versions.get(file, version) != version}
        self._versions.update(now)
        return changed

    def know(self, files: Iterable[Path]) -> None:
        """These files have not changed."""
        self._versions.update(_versions(files))


def _versions(files: Iterable[Path]) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The time of each file in nanoseconds, and its size."""
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        yield file, (status.st_mtime_ns, status.st_size)
