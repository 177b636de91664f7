"""A small network as a picture: machines above, the bridge below them, the controller at the bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from vlcp.cli.steps import Step

WIDTH = 30
"""Columns of one machine."""


@dataclass(frozen=True, slots=True)
class DrawnMachine:
    """One machine with its port. `milliseconds`: the median round-trip time to the other one."""

    title: str
    address: str
    mac: str
    interface: str
    port_number: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class DrawnBridge:
    """The bridge. `flows`: table number -> number of flows; `table_names`: table number -> name, where known."""

    name: str
    network: str
    controller: str
    flows: Mapping[int, int]
    table_names: Mapping[int, str]


def draw(
    machines: Sequence[DrawnMachine], bridge: DrawnBridge, steps: Sequence[Step], console: Console
) -> None:
    """Print the picture, the flows of each table, and how long each step took."""
    wire = "|" if console.options.ascii_only else "│"
    console.print()
    console.print(_network(machines, bridge, wire))
    console.print()
    tables = Table.grid(padding=(0, 3))
    tables.add_row(_flow_table(bridge), _step_table(steps))
    console.print(tables)


def _network(machines: Sequence[DrawnMachine], bridge: DrawnBridge, wire: str) -> RenderableType:
    width = WIDTH * len(machines)
    upper = Table.grid()
    for _ in machines:
        upper.add_column(width=WIDTH, justify="center")
    upper.add_row(*map(_machine, machines))
    upper.add_row(*[wire] * len(machines))
    upper.add_row(*(f"{machine.interface}, port {machine.port_number}" for machine in machines))
    upper.add_row(*[wire] * len(machines))
    lines = [bridge.network, f"flows: {sum(bridge.flows.values())}, tables: {len(bridge.flows)}"]
    middle = _box(f"bridge {bridge.name}", lines, width)
    link = Table.grid(Column(width=width, justify="center"))
    link.add_row(f"{wire}\nOpenFlow, OVSDB\n{wire}")
    lower = _box("controller", [bridge.controller], width)
    return Group(upper, middle, link, lower)


def _machine(machine: DrawnMachine) -> RenderableType:
    round_trip = f"round trip {machine.milliseconds:.2f} ms"
    return _box(machine.title, [machine.address, machine.mac, round_trip], WIDTH - 2)


def _box(title: str, lines: Sequence[str], width: int) -> RenderableType:
    text = Text("\n".join(lines), justify="center")
    return Panel(text, title=Text(title, style="bold cyan"), width=width)


def _flow_table(bridge: DrawnBridge) -> Table:
    table = Table("table", "name", "flows", title="Flows", title_justify="left")
    for number, flows in bridge.flows.items():
        table.add_row(str(number), bridge.table_names.get(number, ""), str(flows))
    for column in (0, 2):
        table.columns[column].justify = "right"
    return table


def _step_table(steps: Sequence[Step]) -> Table:
    table = Table("step", "seconds", title="Time", title_justify="left", show_footer=True)
    for step in steps:
        table.add_row(Text(step.title), f"{step.seconds:.2f}")
    table.columns[0].footer = "all"
    table.columns[1].footer = f"{sum(step.seconds for step in steps):.2f}"
    table.columns[1].justify = "right"
    return table
