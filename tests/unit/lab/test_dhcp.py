"""The events that DHCP clients write down, read as leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlcp.lab import dhcp


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", ()),
        ("0 10 0 0 1", (("0.0.0.0/0", "10.0.0.1"),)),
        ("24 192 168 7 10 0 0 1", (("192.168.7.0/24", "10.0.0.1"),)),
        ("17 10 128 128 10 0 0 2", (("10.128.128.0/17", "10.0.0.2"),)),
        ("32 1 2 3 4 0 0 0 0 0 1 2 3 4", (("1.2.3.4/32", "0.0.0.0"), ("0.0.0.0/0", "1.2.3.4"))),
    ],
)
def test_classless_routes(text: str, routes: tuple[tuple[str, str], ...]) -> None:
    assert dhcp._classless_routes(text) == routes


def test_an_event_that_is_still_being_written_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("event=bound\nip=10.0.0.1\n--\nevent=renew\nip=10.0")
    lease = dhcp._last_lease(log)
    assert lease == {"event": "bound", "ip": "10.0.0.1"}


def test_events_without_a_lease(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("event=deconfig\n--\nevent=leasefail\n--\n")
    assert dhcp._last_lease(log) is None
