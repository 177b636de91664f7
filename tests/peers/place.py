"""A directory with a configuration file, modules of its own, and processes that were started there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from peers.controller import ENVIRONMENT, START

MODULES = """
import asyncio
import os
from vlcp.server.module import Module, api

class Lamp(Module):
    class Settings(Module.Settings, frozen=True, kw_only=True):
        light: int = 1

    async def load(self):
        self.spawn(asyncio.Event().wait(), name="burn")
        umask = os.umask(0o77)
        os.umask(umask)
        self.logger.warning("lamp of %d: light %d at %s, umask %o",
                            os.getpid(), self.settings.light, os.getcwd(), umask)

    def updateconfig(self):
        settings = self.server.config.settings(type(self).Settings, "module.lamp", "module.default")
        self.logger.warning("lamp of %d: now light %d", os.getpid(), settings.light)

    @api
    def pid(self):
        return os.getpid()

class Broken(Module):
    async def load(self):
        raise OSError("no bulb")
"""
LAMP = "server.startup = 'lamp.Lamp'\n"
LIMIT = 15.0
"""Seconds in which anything here happens, with other tests at work beside."""


def until(condition: Callable[[], object], what: Callable[[], str] = lambda: "") -> None:
    """Wait for something."""
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, what()
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Whether a process has ended, though maybe nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Place:
    """A directory with modules and a configuration file, and the processes that were started there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "x.conf"
        self.file.write_text(LAMP)
        (directory / "lamp.py").write_text(MODULES)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids = set[int]()

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{self.directory}", **more}

    def run(self, *arguments: str, command: list[str] = START) -> subprocess.CompletedProcess[str]:
        """A command to its end; what it leaves in the background has no part in that."""
        done = subprocess.run(
            [*command, *arguments], cwd=self.directory, env=self.environment({}), capture_output=True,
            text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        self.pids.update(map(int, re.findall(r"lamp of (\d+)", done.stderr)))
        return done

    def start(self, *arguments: str, command: list[str] = START, **more: str) -> subprocess.Popen[bytes]:
        """A process that goes on; what it says is in `log`."""
        with (self.directory / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, *arguments], cwd=self.directory, env=self.environment(more), stderr=log
            )
        self._processes.append(process)
        return process

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def told(self, text: str, times: int = 1) -> None:
        """Wait until the log says something so many times."""
        until(lambda: len(re.findall(text, self.log())) >= times, self.log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The status of the last process after a signal."""
        self._processes[-1].send_signal(number)
        return self._processes[-1].wait(LIMIT)

    def pid(self, name: str = "pid") -> int:
        number = int((self.directory / name).read_text())
        self.pids.add(number)
        return number

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(LIMIT)
        for pid in self.pids:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
