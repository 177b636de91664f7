"""Install what the demonstration needs and the machine lacks, from Debian's or Ubuntu's own packages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from vlcp.cli.steps import Steps
from vlcp.lab import LabError, MissingProgramError
from vlcp.lab.command import find, missing, run
from vlcp.lab.openvswitch import PROGRAMS


def install_missing(steps: Steps) -> None:
    """Install missing programs with apt-get, whose own output shows the progress.

    MissingProgramError on a machine without apt-get, LabError when we are not root or the installation fails.
    """
    absent = list(_absent())
    if not absent:
        return
    error = MissingProgramError(absent)
    if missing(["apt-get"]) or os.geteuid() != 0:
        raise error
    title = f"Install {', '.join(error.packages)}"
    steps.begin(title)
    steps.console.print(title)
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", *error.packages)
    if still := list(_absent()):
        raise MissingProgramError(still)


def dhcp_client() -> str | None:
    """The DHCP client to use, `udhcpc` or `dhclient`; None when there is none."""
    if not missing(["busybox"]) and "udhcpc" in run(["busybox", "--list"]).stdout.split():
        return "udhcpc"
    return None if missing(["dhclient"]) else "dhclient"


def _absent() -> Iterator[str]:
    yield from missing([*PROGRAMS, "ping"])
    if dhcp_client() is None:
        # AppArmor on Ubuntu keeps dhclient from files in /tmp, so it is only the second choice.
        yield "busybox" if missing(["busybox"]) else "dhclient"


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [find("apt-get"), "-q", *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LabError(f"apt-get {arguments[0]} failed with status {done.returncode}; its messages are above")
