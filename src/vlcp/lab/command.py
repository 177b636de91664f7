"""Programs of the machine: run one, and name the Debian package of one that is missing."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

PACKAGES: Mapping[str, str] = {
    "apt-get": "apt",
    "busybox": "busybox",
    "dhclient": "isc-dhcp-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ovs-appctl": "openvswitch-switch",
    "ovs-ofctl": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
}
"""The Debian package of every program that the lab runs."""

# A login without administrator's paths hides ip and ovs-vswitchd from plain PATH.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class LabError(Exception):
    """Something in the lab did not work; the text says what and where."""


class MissingProgramError(LabError):
    """Programs that are not installed. `packages`: the Debian packages that have them, sorted."""

    def __init__(self, programs: Iterable[str]) -> None:
        names = sorted(programs)
        self.packages = sorted({PACKAGES.get(name, name) for name in names})
        super().__init__(
            f"not installed: {', '.join(names)}; on Debian or Ubuntu: apt-get install {' '.join(self.packages)}"
        )


class CommandError(LabError):
    """A program ended with a failure. `returncode` and `output` (both of its streams) are kept."""

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        self.returncode = returncode
        self.output = output.strip()
        super().__init__(f"`{shlex.join(argv)}` ended with status {returncode}: {self.output or 'no output'}")


def find(program: str) -> str:
    """The path of a program. MissingProgramError names its package."""
    path = shutil.which(program, path=_SEARCH_PATH)
    if path is None:
        raise MissingProgramError([program])
    return path


def missing(programs: Iterable[str]) -> list[str]:
    """Those of `programs` that are not installed."""
    return [name for name in programs if shutil.which(name, path=_SEARCH_PATH) is None]


def require(*programs: str) -> None:
    """Check that all the programs are installed and that we are root; LabError says what is not so."""
    if absent := missing(programs):
        raise MissingProgramError(absent)
    if os.geteuid() != 0:
        raise LabError(
            "network namespaces and Open vSwitch need root: run it with sudo, or as root in a container"
        )


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 60.0,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and capture its text.

    `env` is added to the environment, `timeout` is in seconds. Raises CommandError when it fails (only if `check`) or
    takes too long, MissingProgramError when it is not installed.
    """
    command = [find(argv[0]), *argv[1:]]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(argv, -1, f"no end within {timeout:g} seconds") from None
    if check and done.returncode:
        raise CommandError(argv, done.returncode, done.stderr + done.stdout)
    return done


def ip(*commands: str, namespace: str | None = None) -> None:
    """Run ip(8) commands, in order, as one batch, in a named network namespace or in the current one."""
    inside = ["-n", namespace] if namespace else []
    run(["ip", *inside, "-batch", "-"], stdin="".join(f"{line}\n" for line in commands), timeout=300)
