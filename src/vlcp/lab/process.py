"""Processes of a lab: every one carries the lab's name in its environment, so none of them can get lost.

Daemons leave their parent and programs that we start may start others, but all of them inherit the environment. A
crashed lab is therefore cleaned up from /proc alone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "VLCP_LAB"
"""The environment variable that holds the name of the lab."""


def marked() -> Iterator[tuple[int, str]]:
    """(process id, name of its lab) of every living process of any lab; ourselves never."""
    needle = f"{MARK}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ended while we looked
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(needle) and not is_dead(int(entry.name)):
                    yield int(entry.name), variable[len(needle) :].decode(errors="replace")


def is_dead(pid: int) -> bool:
    """Whether a process has ended; one that only waits for its parent (a zombie) has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def title(pid: int) -> str:
    """The command line of a process, for messages."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "?"


def stop(pids: Iterable[int], grace: float = 3.0) -> None:
    """End processes that the lab started: SIGTERM to all, and SIGKILL to those that live `grace` seconds later."""
    left = list(pids)
    for signal_number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        left = _outlived(left, patience)


def _outlived(pids: list[int], patience: float) -> list[int]:
    deadline = time.monotonic() + patience
    while (living := [pid for pid in pids if not _ended(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return living


def _ended(pid: int) -> bool:
    with suppress(ChildProcessError):  # a child of ours stays a zombie until we ask for its status
        os.waitpid(pid, os.WNOHANG)
    return is_dead(pid)
