"""Clocks, and tables of what they showed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used, from proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def timed(work: Coroutine[Any, Any, object]) -> float:
    """Milliseconds until the work is done."""
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1e3


def median(values: Iterable[float]) -> float:
    """The median of measured values."""
    return statistics.median(values)


def show(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: the first column to the left, numbers to the right, with a digit that means something."""
    lines = [list(head), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for first, *others in lines:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]), *cells, sep="  ", flush=True)


def show_load() -> None:
    """Print how busy the machine is with other things: who reads the figures needs to know."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
