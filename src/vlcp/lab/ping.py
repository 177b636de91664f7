"""Ping from a namespace: once, or in the background while something else happens."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from vlcp.lab.command import LabError
from vlcp.lab.namespace import Namespace

_REPLY = re.compile(r"icmp_seq=(\d+) .*time=([\d.]+) ms")
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")
FIRST_ANSWER = 2.0
"""Seconds that a ping in the background has until its first answer, before what it watches begins."""


@dataclass(frozen=True, slots=True)
class PingResult:
    """What came of a ping. `rtts`: the round-trip times in milliseconds, in the order of the answers.

    `longest_gap` is the largest number of requests in a row that stayed without answer.
    """

    sent: int
    received: int
    rtts: tuple[float, ...]
    longest_gap: int

    @property
    def lost(self) -> int:
        """Requests without answer."""
        return self.sent - self.received


def ping(namespace: Namespace, destination: str, *, count: int, interval: float, wait: float) -> PingResult:
    """Send `count` echo requests, one every `interval` seconds; wait up to `wait` seconds for the last answer."""
    argv = [*_command(destination, interval), "-c", str(count), "-W", str(wait)]
    done = namespace.run(*argv, check=False, timeout=count * (interval + 1) + wait + 30)
    return parse(done.stdout, done.stderr)


class BackgroundPing:
    """Pings as long as the context lasts; `result` is there when it has been left.

    A request that was on its way at the end is not counted, so any loss is a real one.
    """

    result: PingResult

    def __init__(self, namespace: Namespace, destination: str, interval: float) -> None:
        self._namespace = namespace
        self._command = _command(destination, interval)

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile()
        self._process = self._namespace.popen(*self._command, stdout=self._output)
        self._await_first_answer()
        return self

    def _await_first_answer(self) -> None:
        """Wait until it runs and is answered, else what happens next is not watched; but not for long."""
        deadline = time.monotonic() + FIRST_ANSWER
        while time.monotonic() < deadline and self._process.poll() is None:
            if _REPLY.search(self._text()):
                return
            time.sleep(0.005)

    def _text(self) -> str:
        """What it has said so far; read without moving the place where it writes."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            _, errors = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
        with self._output:
            if kind is None:
                self.result = parse(self._text(), errors, ignore_last=True)


def parse(output: str, errors: str = "", *, ignore_last: bool = False) -> PingResult:
    """Read what ping(8) of iputils prints. With `ignore_last` an unanswered last request does not count as sent.

    LabError when it printed no summary, e.g. because it has no address to send from.
    """
    summary = _SUMMARY.search(output)
    if summary is None:
        raise LabError(f"ping did not run: {(errors or output).strip() or 'no output'}")
    replies = _REPLY.findall(output)
    sent, answered = int(summary[1]), {int(sequence) for sequence, _ in replies}
    if ignore_last and sent and sent not in answered:
        sent -= 1
    times = tuple(float(milliseconds) for _, milliseconds in replies)
    return PingResult(sent, len(answered), times, _longest_gap(sent, answered))


def _longest_gap(sent: int, answered: set[int]) -> int:
    marks = [0, *sorted(answered), sent + 1]
    return max(later - earlier - 1 for earlier, later in itertools.pairwise(marks))


def _command(destination: str, interval: float) -> list[str]:
    return ["ping", "-n", "-i", str(interval), destination]
