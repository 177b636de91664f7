"""Programs that are missing or fail."""

from __future__ import annotations

import pytest

from vlcp.lab import command
from vlcp.lab.command import CommandError, MissingProgramError


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SEARCH_PATH", "/nonexistent")
    with pytest.raises(
        MissingProgramError, match=r"not installed: dhclient, ping.*apt-get install"
    ) as caught:
        command.require("ping", "dhclient")
    assert caught.value.packages == ["iputils-ping", "isc-dhcp-client"]


def test_a_failure_shows_command_status_and_words() -> None:
    with pytest.raises(
        CommandError, match=r"`sh -c 'echo oh no >&2; exit 3'` ended with status 3: oh no"
    ) as caught:
        command.run(["sh", "-c", "echo oh no >&2; exit 3"])
    assert (caught.value.returncode, caught.value.output) == (3, "oh no")


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandError, match=r"no end within 0\.1 seconds"):
        command.run(["sleep", "10"], timeout=0.1)
