"""`vlcp demo` as a user runs it: it ends well, or says what failed, and leaves nothing behind in any case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vlcp.lab import remains

pytestmark = pytest.mark.network

COMMAND = [sys.executable, "-c", "from vlcp.cli.main import main; main()", "demo"]


@contextmanager
def running(**environment: str) -> Iterator[subprocess.Popen[str]]:
    """The demonstration as a process, with its output in a pipe."""
    env = {**os.environ, "PYTHONPATH": "src", "PYTHONUNBUFFERED": "1", **environment}
    with subprocess.Popen(
        COMMAND, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
    assert not remains(f"demo-{process.pid}")


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to and with the line that has the text."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"no {text!r} in the output:\n{seen}")


def test_from_nothing_to_a_ping_in_less_than_a_minute() -> None:
    start = time.monotonic()
    with running(KEEP="0") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert time.monotonic() - start < 60
    assert "curl -g -d 'id=alice&logicalnetwork=blue&subnet=blue-subnet'" in output
    assert "bob -> 10.100.0." in output
    assert "bridge br0" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_kept_until_a_signal(number: signal.Signals) -> None:
    with running(KEEP="1") as process:
        output = read_until(process, "tail -f")
        enter = next(line for line in output.splitlines() if "ip netns exec" in line and "ping" in line)
        assert subprocess.run([*enter.split(), "-c", "1"], capture_output=True, check=False).returncode == 0
        url = next(line for line in output.splitlines() if "listlogicalports" in line).split("'")[1]
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert b"alice" in answer.read()
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.2])
def test_interrupted_while_it_builds(seconds: float) -> None:
    with running() as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode in (0, 130), output


def test_a_controller_that_ends_is_reported() -> None:
    with running(KEEP="1") as process:
        output = read_until(process, "tail -f")
        pid = next(
            line for line in output.splitlines() if "http://localhost" in line and ", process " in line
        )
        os.kill(int(pid.rpartition(", process ")[2].split()[0]), signal.SIGKILL)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "failed  Keep the network" in rest
    assert "the controller ended by itself" in rest


def test_without_root_it_says_so() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", *COMMAND],
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "need root" in done.stdout
    assert "Traceback" not in done.stderr
