"""The lab itself: it names things, keeps the directory, and removes everything in the end."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from vlcp.lab import command, process
from vlcp.lab.cleanup import TEMPORARY, cleanup
from vlcp.lab.hypervisor import Hypervisor
from vlcp.lab.openvswitch import PROGRAMS


class Lab:
    """Hypervisors and machines on this one machine, for as long as the context lasts.

    `name` is `<prefix>-<process id>`, with a number behind it when this process has several labs. Everything of the lab
    carries it, and what a crashed process left behind is removed when the next lab of the same prefix starts.
    """

    name: str
    directory: Path

    def __init__(self, prefix: str = "lab") -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,9}", prefix):
            raise command.LabError(
                f"{prefix!r} as prefix: at most 10 lower-case letters and digits, a letter first"
            )
        self.prefix = prefix
        self.hypervisors: list[Hypervisor] = []

    def __enter__(self) -> Self:
        command.require(*PROGRAMS)
        cleanup(self.prefix, abandoned_only=True)
        self._make_directory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Everything goes by the lab's name, not by what we remember: also what was made halfway, or by the user."""
        cleanup(self.name)

    @property
    def env(self) -> dict[str, str]:
        """The environment that marks a process as one of this lab, so that it is ended with the lab."""
        return {process.MARK: self.name}

    def add_hypervisor(self) -> Hypervisor:
        """Start one more hypervisor."""
        title = f"h{len(self.hypervisors) + 1}"
        hypervisor = Hypervisor(f"{self.name}-{title}", self.name, self.directory / title)
        self.hypervisors.append(hypervisor)
        hypervisor.start()
        return hypervisor

    def _make_directory(self) -> None:
        names = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        for suffix in names:
            self.name = f"{self.prefix}-{os.getpid()}{suffix}"
            self.directory = TEMPORARY / self.name
            try:
                self.directory.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return
