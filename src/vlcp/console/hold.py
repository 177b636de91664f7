"""Holding the event loop, so that nothing changes while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import pdb
import threading
from collections.abc import Callable
from typing import IO, cast

from vlcp.console.telnet import Control
from vlcp.console.terminal import Terminal

LONGEST = 60.0
"""Seconds that a hold lasts unless it is ended: switches and stores wait for us meanwhile."""

_LOOK = 0.2
"""Seconds until a thread that waits notices an interruption."""


class Hold:
    """Stops the event loop between two of its steps. Shared by all sessions."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float = LONGEST) -> None:
        self._loop = loop
        self.limit = limit
        self._begun = threading.Event()
        self._over = threading.Event()
        self._wanted = False
        self._holder: object = None

    @property
    def active(self) -> bool:
        """The loop is held now."""
        return self._begun.is_set()

    def begin(self, holder: object) -> None:
        """Hold the loop; returns when it stands still. Called from another thread."""
        if not self.active:
            self._wanted = True
            self._loop.call_soon_threadsafe(self._begin_here, holder)
            wait(self._begun)

    def _begin_here(self, holder: object) -> None:
        if self._wanted:  # else somebody asked at the same time, and that hold is over
            self.here(holder)

    def here(self, holder: object) -> None:
        """Hold the loop, called in its own thread; returns when the hold is over."""
        self._holder = holder
        self._over.clear()
        self._begun.set()
        self._over.wait(self.limit)
        self._wanted = False
        self._begun.clear()
        self._holder = None

    def end(self) -> bool:
        """Let the loop go on; False when it did not stand still."""
        held = self.active
        self._over.set()
        return held

    def end_of(self, holder: object) -> None:
        """Let the loop go on if it is this one that holds it."""
        if self._holder is holder:
            self.end()


def wait(event: threading.Event) -> None:
    """Wait for an event in a session's thread; an interruption is noticed meanwhile."""
    while not event.wait(_LOOK):
        pass


class Debugger(pdb.Pdb):
    """pdb in the thread of the event loop, on a session's terminal. The loop stands still at its prompt."""

    def __init__(self, terminal: Terminal, on_end: Callable[[], None]) -> None:
        lines, text = cast(IO[str], _Lines(terminal)), cast(IO[str], _Text(terminal))
        super().__init__(stdin=lines, stdout=text, nosigint=True, readrc=False)
        self.use_rawinput = False
        self._on_end = on_end

    def leave(self) -> None:
        """Forget breakpoints, let the loop go on."""
        self.clear_all_breaks()
        self.set_continue()
        self._on_end()

    def precmd(self, line: str) -> str:
        """Take restore_console() for the command: from Python 3.13 on, what looks like a call is a statement."""
        return super().precmd("restore_console" if line.strip() == "restore_console()" else line)

    def do_restore_console(self, arg: str) -> bool:
        """restore_console()
        Forget breakpoints, let the server go on and return to the console.
        """
        self.leave()
        return True

    def do_quit(self, arg: str) -> bool:
        """q(uit)
        The same as restore_console(): the server does not quit.
        """
        return self.do_restore_console(arg)

    do_q = do_exit = do_EOF = do_quit  # noqa: N815 (the name that cmd.Cmd looks for)

    def do_continue(self, arg: str) -> bool | None:
        """c(ont(inue))
        Let the server go on until a breakpoint; without one, return to the console.
        """
        if self.get_all_breaks():
            return super().do_continue(arg)
        return self.do_restore_console(arg)

    do_c = do_cont = do_continue


class _Lines:
    """What pdb reads from."""

    encoding = "utf-8"

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def readline(self) -> str:
        try:
            line = self._terminal.read("")
        except OSError:
            return ""
        if line is Control.END:
            return ""
        return "\n" if isinstance(line, Control) else f"{line}\n"


class _Text:
    """What pdb writes to."""

    encoding = "utf-8"

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):  # it would be raised amid the code that is looked at
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        """Everything is shown at once."""
