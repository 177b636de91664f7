"""Installing what is missing, with a stand-in for apt-get that notes how it was called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vlcp.cli.packages import install_missing
from vlcp.cli.steps import Steps
from vlcp.lab import LabError, MissingProgramError, command
from vlcp.lab.openvswitch import PROGRAMS

APT = """#!/bin/sh
echo "$@" >> {directory}/calls
case "$*" in *install*) {install} ;; esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of the search path; it has every program but ping and ip."""
    monkeypatch.setattr(command, "_SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in {*PROGRAMS, "dhclient"} - {"ip"}:
        add(tmp_path / name)
    return tmp_path


def add(program: Path, text: str = "#!/bin/sh\n") -> None:
    program.write_text(text)
    program.chmod(0o755)


def test_nothing_is_missing_and_nothing_is_called(machine: Path) -> None:
    add(machine / "apt-get", APT.format(directory=machine, install=":"))
    add(machine / "ip")
    add(machine / "ping")
    install_missing(Steps())
    assert not (machine / "calls").exists()


def test_packages_of_missing_programs_are_installed(machine: Path) -> None:
    install = f"/bin/cp {machine}/dhclient {machine}/ip; /bin/cp {machine}/dhclient {machine}/ping"
    add(machine / "apt-get", APT.format(directory=machine, install=install))
    install_missing(Steps())
    assert (machine / "calls").read_text().splitlines() == [
        "-q update",
        "-q install --yes --no-install-recommends iproute2 iputils-ping",
    ]


def test_a_failed_installation_is_an_error(machine: Path) -> None:
    add(machine / "apt-get", APT.format(directory=machine, install="exit 100"))
    with pytest.raises(LabError, match="apt-get install failed with status 100"):
        install_missing(Steps())


def test_an_installation_without_effect_is_an_error(machine: Path) -> None:
    add(machine / "apt-get", APT.format(directory=machine, install=":"))
    with pytest.raises(MissingProgramError, match="not installed: ip, ping"):
        install_missing(Steps())


def test_without_apt_the_packages_are_named(machine: Path) -> None:
    with pytest.raises(MissingProgramError, match="apt-get install iproute2 iputils-ping"):
        install_missing(Steps())


def test_without_a_client_for_dhcp_one_is_asked_for(machine: Path) -> None:
    (machine / "dhclient").unlink()
    with pytest.raises(MissingProgramError, match="apt-get install busybox"):
        install_missing(Steps())
    add(machine / "busybox", "#!/bin/sh\necho ash\n")
    with pytest.raises(MissingProgramError, match="isc-dhcp-client"):
        install_missing(Steps())
    add(machine / "busybox", "#!/bin/sh\necho udhcpc\n")
    with pytest.raises(MissingProgramError, match="not installed: ip, ping;"):
        install_missing(Steps())
