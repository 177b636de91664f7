"""The picture has everything that was built, also where the terminal knows ASCII only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vlcp.cli.picture import DrawnBridge, DrawnMachine, draw
from vlcp.cli.steps import Step

MACHINES = [
    DrawnMachine("alice", "10.0.0.1/24", "02:00:00:00:00:01", "v1", 7, 0.25),
    DrawnMachine("bob", "10.0.0.2/24", "02:00:00:00:00:02", "v2", 8, 1.5),
]
BRIDGE = DrawnBridge("br0", "network blue", "http://localhost:1", {0: 3, 20: 14}, {0: "ingress"})


def picture(encoding: str) -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    draw(MACHINES, BRIDGE, [Step("Start", 0.5), Step("Ping", 1.0)], Console(file=file, width=110))
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_everything_is_there(encoding: str) -> None:
    text = "\n".join(picture(encoding))
    for word in (
        "alice",
        "bob",
        "10.0.0.1/24",
        "02:00:00:00:00:02",
        "v1, port 7",
        "v2, port 8",
        "0.25 ms",
        "br0",
    ):
        assert word in text
    assert "flows: 17, tables: 2" in text
    assert "network blue" in text
    assert "http://localhost:1" in text


def test_flows_stand_beside_their_table_and_times_add_up() -> None:
    rows = [line.replace("│", " ").replace("┃", " ").split() for line in picture("utf-8")]
    assert any(row[:3] == ["0", "ingress", "3"] for row in rows)
    assert any(row[:2] == ["20", "14"] for row in rows)
    assert any(row[-2:] == ["all", "1.50"] for row in rows)
