"""Capture packets of one interface with tcpdump(8)."""

from __future__ import annotations

import signal
import subprocess
import time
from types import TracebackType
from typing import Self

from vlcp.lab.command import LabError
from vlcp.lab.namespace import Namespace


class Capture:
    """Captures as long as the context lasts; afterwards `lines` has one line of text for each packet.

    `expression` is a pcap-filter(7). Packets that arrive up to `settle` seconds after the end of the block still count.
    """

    def __init__(
        self, namespace: Namespace, device: str, expression: str = "", *, settle: float = 0.2
    ) -> None:
        self._namespace, self._settle = namespace, settle
        # Without these tcpdump holds lines back, and drops privileges that it needs for nothing.
        options = ["-l", "--immediate-mode", "-Z", "root"]
        self._argv = ["tcpdump", "-i", device, "-nn", "-e", *options, *expression.split()]
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._process = self._namespace.popen(*self._argv)
        self._await_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        time.sleep(self._settle)
        self.lines = [line for line in self._finish()[0].splitlines() if line.strip()]

    def _await_start(self) -> None:
        """Wait for `listening on`; anything before it is a warning or the reason of a failure."""
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            if "listening on" in line:
                return
            said += line
        self._finish()
        raise LabError(f"tcpdump did not start: {said.strip() or 'no output'}")

    def _finish(self) -> tuple[str, str]:
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.communicate()
