"""Scripts as users run them: a program of their own, with options, a configuration and an exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCES = Path(__file__).parents[3] / "src"
SCRIPT = '''
import sys
from vlcp.scripts.script import Option, ScriptError, ScriptModule, main
from vlcp.server.module import depend
from vlcp.service.utils.knowledge import Knowledge

@depend(Knowledge)
class Greet(ScriptModule):
    """Greets people."""

    options = (
        Option("loud", "l", help="Greet loudly."),
        Option("last-name", "n", takes_argument=True),
    )

    async def run(self, first_name, *friends, loud=False, last_name="?"):
        await self.server.call("knowledge", "set", key="name", value=first_name)
        if first_name == "Nobody":
            raise ScriptError("nobody is not there")
        if first_name == "Fault":
            raise ZeroDivisionError("a mistake")
        name = await self.server.call("knowledge", "get", key="name")
        text = f"hello {name} {last_name} and {list(friends)}"
        print(text.upper() if loud else text)

class Nothing(ScriptModule):
    """Does not say what it does."""

if __name__ == "__main__":
    main(Nothing if sys.argv[1:] == ["nothing"] else Greet)
'''


class Outcome(NamedTuple):
    status: int
    output: str
    errors: str


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "greet.py"
    file.write_text(SCRIPT)
    return tmp_path


def run(directory: Path, *arguments: str) -> Outcome:
    environment = {**os.environ, "PYTHONPATH": f"{SOURCES}:{directory}"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, timeout=30
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_script_does_its_work_with_modules_and_ends(program: Path) -> None:
    assert run(program, "greet", "-f", "", "Ada") == (0, "hello Ada ? and []\n", "")


def test_options_and_arguments_come_in_any_order(program: Path) -> None:
    expected = "HELLO ADA LOVELACE AND ['BOB', 'EVE']\n"
    assert run(program, "greet", "Ada", "-n", "Lovelace", "Bob", "-f", "", "--loud", "Eve") == (
        0,
        expected,
        "",
    )


def test_help_names_options_and_arguments(program: Path) -> None:
    status, output, _ = run(program, "greet", "--help")
    assert status == 0
    for text in (
        "FIRST_NAME [FRIENDS]...",
        "Greets people.",
        "-l, --loud",
        "Greet loudly.",
        "--last-name TEXT",
        "-f FILE",
    ):
        assert text in output


@pytest.mark.parametrize("wrong", [[], ["--shout", "Ada"], ["Ada", "-n"]])
def test_a_wrong_command_line_has_status_2(program: Path, wrong: list[str]) -> None:
    status, output, errors = run(program, "greet", "-f", "", *wrong)
    assert (status, output) == (2, "")
    assert "Error: " in errors
    assert "Traceback" not in errors


def test_a_script_that_cannot_do_its_work_says_why_and_has_status_1(program: Path) -> None:
    status, output, errors = run(program, "greet", "-f", "", "Nobody")
    assert (status, output) == (1, "")
    assert "greet failed: nobody is not there" in errors
    assert "Traceback" not in errors


def test_a_mistake_in_a_script_is_logged_whole(program: Path) -> None:
    status, _, errors = run(program, "greet", "-f", "", "Fault")
    assert status == 1
    assert "ZeroDivisionError: a mistake" in errors
    assert 'raise ZeroDivisionError("a mistake")' in errors


def test_the_configuration_may_hold_the_arguments(program: Path) -> None:
    file = program / "vlcp.conf"
    file.write_text(
        "server.startup = ('greet.Greet',)\nmain.args = ('Ada',)\nmain.kwargs = {'last_name': 'Lovelace'}\n"
    )
    assert run(program, "vlcp", "start", "-f", str(file)) == (0, "hello Ada Lovelace and []\n", "")
    file.write_text("server.startup = ('greet.Greet',)\nmain.kwargs = {'shout': True}\n")
    status, _, errors = run(program, "vlcp", "start", "-f", str(file))
    assert status == 1
    assert "vlcp.conf:2: main.args, main.kwargs: missing a required argument: 'first_name'" in errors


def test_a_configuration_that_cannot_be_read_starts_nothing(program: Path) -> None:
    status, output, errors = run(program, "greet", "-f", "no.conf", "Ada")
    assert (status, output) == (1, "")
    assert errors.startswith("vlcp: cannot read no.conf")


def test_a_base_without_work_cannot_be_started(program: Path) -> None:
    of_author = run(program, "greet", "nothing")
    ours = run(program, "vlcp", "start", "-f", "", "vlcp.scripts.script.ScriptModule")
    for status, _, errors in (of_author, ours):
        assert status == 1
        assert "is a base for scripts: it has no work of its own" in errors
        assert "Traceback" not in errors
