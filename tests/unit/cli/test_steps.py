"""Steps on the terminal: in the order in which they ended, and no line is broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vlcp.cli.steps import Steps


@pytest.fixture
def steps() -> Steps:
    return Steps(Console(file=io.StringIO(), width=40, highlight=False))


def printed(steps: Steps) -> str:
    assert isinstance(steps.console.file, io.StringIO)
    return steps.console.file.getvalue()


def test_a_step_shows_its_time_and_then_its_details(steps: Steps) -> None:
    with steps.step("Create [the] network"):
        steps.detail("curl " + "x" * 100)
    first, second = printed(steps).splitlines()
    assert first.endswith(" s  Create [the] network")
    assert second == "          curl " + "x" * 100
    assert [step.title for step in steps.done] == ["Create [the] network"]


def fail(steps: Steps) -> None:
    with steps.step("Ping"):
        steps.detail("sent 5")
        raise ZeroDivisionError


def test_a_failed_step_tells_how_far_it_came_why_and_the_log(steps: Steps) -> None:
    with pytest.raises(ZeroDivisionError):
        fail(steps)
    steps.failed("two lines\nof reason", "the log")
    lines = [line.strip() for line in printed(steps).splitlines()]
    assert lines == [
        "failed  Ping",
        "sent 5",
        "two lines",
        "of reason",
        "The controller's log ends with:",
        "the log",
    ]
    assert steps.done == []


def test_a_log_that_is_in_the_reason_is_not_shown_twice(steps: Steps) -> None:
    steps.failed("it ended; the log:\nlast words", "last words")
    assert printed(steps).count("last words") == 1


def test_without_a_terminal_there_are_no_control_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with steps.step("Start"):
        pass
    assert "\x1b" not in capsys.readouterr().out
