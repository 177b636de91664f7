"""Every scenario gives the flows, groups and replies that its file says. `UPDATE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golden.scenario import EXPECT, Scenario

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    given, _, expected = file.read_text().partition(EXPECT)
    made = Scenario(given).expected()
    if os.environ.get("UPDATE_GOLDEN") == "1":
        assert "CI" not in os.environ, "what is expected is never made by continuous integration"
        file.write_text(given.rstrip("\n") + "\n\n" + EXPECT + made)
        return
    assert made.splitlines() == expected.splitlines()


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 5
