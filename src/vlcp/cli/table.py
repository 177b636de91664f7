"""Results of calls as tables for eyes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPED = 10_000
"""Columns when nobody watches: rows are not folded."""


def show(result: Any, console: Console | None = None) -> None:
    """Print a result: a list of objects as rows, an object as names and values, anything else as it is."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=_PIPED)
    if isinstance(result, list) and result and all(isinstance(row, Mapping) for row in result):
        console.print(_rows(result))
    elif isinstance(result, Mapping) and result and all(isinstance(row, Mapping) for row in result.values()):
        console.print(_rows([{"": name, **row} for name, row in result.items()]))
    elif isinstance(result, Mapping):
        console.print(_pairs(result))
    elif isinstance(result, list):
        for item in result:
            console.print(_cell(item))
    else:
        console.print(_cell(result))


def _rows(rows: list[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name]) if name in row else Text() for name in columns))
    return table


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, _cell(value))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-")
    return Text(value if isinstance(value, str) else json.dumps(value))
