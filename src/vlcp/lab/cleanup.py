"""Find and remove what a lab left on the machine: processes, namespaces and directories.

A lab is named `<prefix>-<process id>` or `<prefix>-<process id>-<number>`; its namespaces are `<lab>-<title>`, its
directory is `/tmp/<lab>`, its processes carry the name in their environment. All of it can be found without records.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlcp.lab import command, process
from vlcp.lab.namespace import DIRECTORY as NAMESPACES

TEMPORARY = Path("/tmp")
"""The parent of the labs' directories: short, since the path of a Unix socket ends at 107 bytes."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is there of labs. `str()` lists it for a message; it is false when there is nothing."""

    processes: tuple[tuple[int, str], ...]
    namespaces: tuple[str, ...]
    directories: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.processes or self.namespaces or self.directories)

    def __str__(self) -> str:
        lines = [f"process {pid}: {title}" for pid, title in self.processes]
        lines += [f"namespace {name}" for name in self.namespaces]
        lines += [f"directory {path}" for path in self.directories]
        return "; ".join(lines) or "nothing"


def remains(prefix: str, *, abandoned_only: bool = False) -> Remains:
    """What is there of the labs with this prefix, or only of those whose own process has ended.

    The whole name of a lab in place of a prefix means that lab alone.
    """

    def ours(name: str) -> bool:
        owner = _owner(prefix, name)
        return owner is not None and not (abandoned_only and not process.is_dead(owner))

    return Remains(
        processes=tuple((pid, process.title(pid)) for pid, lab in process.marked() if ours(lab)),
        namespaces=tuple(name for name in _names(NAMESPACES) if ours(name)),
        directories=tuple(TEMPORARY / name for name in _names(TEMPORARY) if ours(name)),
    )


def cleanup(prefix: str, *, abandoned_only: bool = False) -> Remains:
    """Remove all that `remains` finds, and give it: processes first, then namespaces, then directories."""
    found = remains(prefix, abandoned_only=abandoned_only)
    process.stop(pid for pid, _ in found.processes)
    for name in found.namespaces:
        command.run(["ip", "netns", "delete", name], check=False)
    for directory in found.directories:
        shutil.rmtree(directory, ignore_errors=True)
    return found


def _names(directory: Path) -> Iterator[str]:
    if directory.is_dir():
        yield from sorted(entry.name for entry in directory.iterdir())


def _owner(prefix: str, name: str) -> int | None:
    """The process id in the name of a lab, or of something of it; None when the lab has another prefix and name."""
    found = re.match(r"(([a-z][a-z0-9]*)-(\d+)(?:-\d+)?)(?:-[a-z].*)?$", name)
    if found is None or prefix not in (found[1], found[2]):
        return None
    return int(found[3])
