"""Locks between the processes that share a file. The system gives them free when their holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE = (0.0001, 0.001)
"""Seconds between two attempts, at random."""
_COURTESY = 1.0
"""Seconds to wait for a turn. Whoever holds it longer is stopped, and is not waited for again until it moves."""


def open_lock(path: Path) -> int:
    """A descriptor to lock; the file is created for this user alone."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def share(path: Path) -> int | None:
    """The descriptor of a lock that is shared until it is closed; None when somebody has it alone."""
    lock = open_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


def pause() -> None:
    """Wait a moment before the next attempt."""
    time.sleep(random.uniform(*_PAUSE))


class Turn:
    """Who tries to write next.

    Whoever just wrote has to queue here again, behind the one who is trying; so no process, however busy, keeps the
    others out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._stuck = False

    def open(self) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._lock = open_lock(self._path)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take the turn; go on without it when its holder does not move."""
        taken = self._try() or (not self._stuck and self._wait())
        self._stuck = not taken
        try:
            yield
        finally:
            if taken and self._lock is not None:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _wait(self) -> bool:
        end = time.monotonic() + _COURTESY
        while time.monotonic() < end:
            pause()
            if self._try():
                return True
        return False

    def _try(self) -> bool:
        if self._lock is None:
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
