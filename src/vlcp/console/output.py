"""Standard output by session: what a session's statements print is shown there, everything else goes on as before."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TextIO

SHOW: ContextVar[Callable[[str], None] | None] = ContextVar("console output", default=None)
"""What shows text to the session that runs here. Tasks that a session starts inherit it."""


class _Divided(io.TextIOBase):
    def __init__(self, usual: TextIO) -> None:
        self._usual = usual

    def write(self, text: str) -> int:
        show = SHOW.get()
        if show is None:
            return self._usual.write(text)
        show(text)
        return len(text)

    def flush(self) -> None:
        if SHOW.get() is None:
            self._usual.flush()

    def fileno(self) -> int:
        return self._usual.fileno()

    def isatty(self) -> bool:
        return SHOW.get() is None and self._usual.isatty()


@contextlib.contextmanager
def divided() -> Iterator[None]:
    """Divide standard output and standard error while consoles are in use."""
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Divided(usual[0]), _Divided(usual[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = usual
