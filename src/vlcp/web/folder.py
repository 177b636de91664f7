"""Files below one directory, and nothing else: neither `..` nor, unless that is wanted, a symbolic link leads out."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from typing import Literal

from vlcp.server.api import ForbiddenError, NotFoundError

Symlinks = Literal["inside", "follow", "deny"]
SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""Encodings of HTTP -> the end of the name of a file that was compressed beforehand; the best first."""


@dataclass
class Found:
    """An open file. Who gets it closes it."""

    path: str
    """Where it is, without symbolic links."""
    file: FileIO
    status: os.stat_result
    encoding: str | None
    """One of `SUFFIXES`, if it is the compressed form of what was asked for."""


@dataclass(frozen=True)
class Folder:
    """A directory that may be served.

    `symlinks`: `inside` follows those that end below the directory, `follow` all, `deny` none.
    """

    directory: str
    symlinks: Symlinks = "inside"

    def find(self, path: str, encodings: Iterable[str] = ()) -> Found:
        """Open a file, or the first compressed form of it that is there.

        The path is taken as if the directory were the root: `..` does not leave it. This waits for the disk, so call
        it in a thread. Raises `NotFoundError`, also for what is no regular file, and `ForbiddenError`.
        """
        name = below(path)
        for encoding in encodings:
            try:
                return self._open(name + SUFFIXES[encoding], path, encoding)
            except (NotFoundError, ForbiddenError):
                continue
        return self._open(name, path, None)

    def _open(self, name: str, path: str, encoding: str | None) -> Found:
        try:
            real = self._real(name)
            # What a pipe has at its other end must not hold us up.
            file = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            raise ForbiddenError(f"the file at {path!r} may not be read") from None
        except (OSError, ValueError):
            raise _missing(path) from None
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode):
            return Found(real, FileIO(file), status, encoding)
        os.close(file)
        raise _missing(path)

    def _real(self, name: str) -> str:
        """The path without symbolic links. Raises OSError when there is none, or it is not ours to give away."""
        root = os.path.realpath(self.directory, strict=True)
        plain = os.path.join(root, name)
        real = os.path.realpath(plain, strict=True)
        inside = real.startswith(root.rstrip("/") + "/")
        if self.symlinks != "follow" and not (real == plain if self.symlinks == "deny" else inside):
            raise OSError(f"{plain} is a symbolic link that is not followed")
        return real


def below(path: str) -> str:
    """A path as it is below a root, without `.` and `..`. Raises `NotFoundError` for one that names no file."""
    name = posixpath.normpath("/" + path).lstrip("/")
    if not name or "\0" in path or path.endswith("/"):
        raise _missing(path)
    return name


def _missing(path: str) -> NotFoundError:
    return NotFoundError(f"there is no file at {path!r}")
