"""What a long command does, told step by step on the terminal: what, how long, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

PLAIN_WIDTH = 110
"""Columns of output that does not go to a terminal."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that succeeded, with the seconds that it took."""

    title: str
    seconds: float


class Steps:
    """Prints each step when it has ended, with its details below, and remembers it in `done`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or terminal()
        self.done: list[Step] = []
        self._title = "Start"
        self._details: list[tuple[str, str]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step. On a terminal something turns while it lasts. When it fails, `failed` tells how far it came."""
        self.begin(title)
        start = time.monotonic()
        with self.console.status(escape(title)):
            yield
        seconds = time.monotonic() - start
        self.done.append(Step(title, seconds))
        self._print(f"[green]{seconds:6.2f} s[/green]  [bold]{escape(title)}[/bold]")

    def begin(self, title: str) -> None:
        """Name what is under way from now on."""
        self._title, self._details = title, []

    def detail(self, text: str, *, style: str = "") -> None:
        """A line that belongs to the step; it is never broken, so that it can be copied."""
        self._details.append((text, style))

    def failed(self, reason: str, log: str = "") -> None:
        """Tell that the step under way failed, why, and what the log says."""
        for line in reason.splitlines():
            self.detail(line, style="red")
        if log and log not in reason:
            self.detail("The controller's log ends with:")
            for line in log.splitlines():
                self.detail(line, style="dim")
        self._print(f"[red]  failed[/red]  [bold]{escape(self._title)}[/bold]")

    def _print(self, headline: str) -> None:
        self.console.print(headline, soft_wrap=True)
        for text, style in self._details:
            self.console.print(f"          {text}", style=style, markup=False, soft_wrap=True)
        self._details = []


def terminal() -> Console:
    """The console on standard output: colours only on a terminal, a fixed width everywhere else."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH, color_system=None)
    return console
