"""What goes wrong at the console does no harm to the controller."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.console import CONSOLE, PATIENCE, PROMPT, Client, Process, running
from peers.controller import ENVIRONMENT, START


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("console")) as process:
        yield process


@pytest.fixture
def client(process: Process) -> Iterator[Client]:
    with process.client() as client:
        yield client


def answers(process: Process) -> bool:
    """The controller answers long before a hold, or a client that reads nothing, would be given up."""
    return process.controller.call("knowledge/get", key="nothing").seconds < 10


def test_what_a_session_captured_ends_with_it(process: Process, client: Client) -> None:
    with process.client() as other:
        other.ask("capture('probe', breakpoint=True)")
        other.send(b"\x04")
        other.rest()
    client.ask("sendevent('probe/now')")
    assert client.ask("resume()") == "'the event loop was not held'\r\n"
    assert answers(process)


def test_a_hold_ends_with_its_session(process: Process, client: Client) -> None:
    with process.client() as other:
        other.ask("breakpoint()")
        client.ask("1")
        other.send(b"\x04")
        other.rest()
    assert answers(process)


def test_a_session_that_ends_lets_others_hold(client: Client, process: Process) -> None:
    with process.client() as other:
        client.ask("breakpoint()")
        other.send(b"\x04")
        other.rest()
    assert client.ask("resume()") == "'the event loop goes on'\r\n"


def test_who_reads_nothing_does_not_hold_the_event_loop(process: Process) -> None:
    with process.client() as silent:
        silent.send(b"async def much():\r\n    for _ in range(1000): print('x' * 100_000)\r\n\r\n")
        silent.until(b"... ... >>> ")
        silent.send(b"execute(much())\r\n")
        assert answers(process)
        time.sleep(0.2)
        assert answers(process)


@pytest.mark.parametrize("call", ["execute(x())", "debug()", "capture('x', blocking=True)", "syscall(debug)"])
def test_what_waits_for_the_event_loop_is_refused_within_it(
    process: Process, client: Client, call: str
) -> None:
    client.send(b"async def x():\r\n    return CALL\r\n\r\n".replace(b"CALL", call.encode()))
    client.until(b"... ... >>> ")
    assert "InLoopError" in client.ask("await x()")
    assert answers(process)


def test_a_hold_within_the_event_loop_can_be_ended(process: Process, client: Client) -> None:
    with process.client() as other:
        other.send(b"syscall(breakpoint)\r\n")
        limit = time.monotonic() + PATIENCE
        while "goes on" not in client.ask("resume()") and time.monotonic() < limit:
            pass
        assert other.until(PROMPT) == "'the event loop was held'\r\n"
    assert answers(process)


def test_pdb_ends_when_its_client_is_gone(process: Process, client: Client) -> None:
    with process.client() as other:
        other.send(b"debug()\r\n")
        other.until(b"(Pdb) ")
    limit = time.monotonic() + PATIENCE
    while sessions(client) > 1 and time.monotonic() < limit:
        time.sleep(0.05)
    assert sessions(client) == 1
    assert answers(process)


def test_an_interruption_ends_the_waiting_for_a_breakpoint(process: Process, client: Client) -> None:
    client.send(b"debug()\r\n")
    client.until(b"(Pdb) ")
    for line in (b"import wave", b"b wave.open", b"c"):
        client.send(line + b"\r\n")
        if line != b"c":
            client.until(b"(Pdb) ")
    assert answers(process)
    client.send(b"\x03")
    client.until(PROMPT)
    assert client.ask("syscall(__import__('sys').gettrace)") == ""
    assert answers(process)


def sessions(client: Client) -> int:
    return int(client.ask("server.modules['console'].statistics()['sessions_now']"))


def test_a_notification_for_a_client_that_is_gone_is_no_fault(process: Process, client: Client) -> None:
    """It would be in the log, which is looked at in the end."""
    with process.client() as other:
        other.ask("capture('probe')")
        other.send(b"import time; print('begun'); time.sleep(1)\r\n")
        other.until(b"begun\r\n")
    for _ in range(10):
        client.ask("sendevent('probe/now')")
        time.sleep(0.02)
    assert answers(process)


def test_much_output_arrives_whole(client: Client) -> None:
    assert client.ask("print('x' * 5_000_000)") == "x" * 5_000_000 + "\r\n"


def test_exit_leaves_the_standard_input_open(process: Process, client: Client) -> None:
    for end in (b"exit()\r\n", b"quit()\r\n", b"raise SystemExit\r\n"):
        with process.client() as other:
            other.send(end)
            assert other.rest() == b""
    assert client.ask("__import__('sys').stdin.closed") == "False\r\n"


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_terminal_that_waits_for_a_line_does_not_keep_the_process(tmp_path: Path, terminal: bool) -> None:
    file = tmp_path / "vlcp.conf"
    file.write_text(
        f"server.startup = ({CONSOLE!r},)\n"
        "module.console.startinconsole = True\nmodule.console.telnetconsole = None\n"
    )
    # A socket behaves as a pipe does.
    ours, theirs = os.openpty() if terminal else (end.detach() for end in socket.socketpair())
    process = subprocess.Popen(
        [*START, "-f", str(file)], env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        shown = b""
        for said, answer in ((b"", PROMPT), (b"6 * 7\n", b"42")):
            os.write(ours, said)
            while answer not in shown:
                shown += os.read(ours, 1000)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
