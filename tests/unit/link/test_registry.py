"""Connections have names of their own, and are found by them and by where their peers are."""

from __future__ import annotations

import pytest

from vlcp.link.identity import Identified
from vlcp.link.registry import Registry


class Line(Identified):
    """A connection."""

    def __init__(self, vhost: str, endpoint: str) -> None:
        self.endpoint, self.peer, self.local = endpoint, f"{endpoint}:1", "here"
        self.identify(vhost)


@pytest.fixture
def lines() -> list[Line]:
    places = [
        ("", "192.0.2.1"),
        ("far", "192.0.2.1"),
        ("", "2001:db8::1"),
        ("far", "/run/db.sock"),
        ("", "192.0.2.1"),
    ]
    return [Line(*place) for place in places]


@pytest.fixture
def registry(lines: list[Line]) -> Registry[Line]:
    registry: Registry[Line] = Registry()
    for line in lines:
        registry.add(line)
    return registry


def test_no_two_have_the_same_id(lines: list[Line]) -> None:
    assert len({line.id for line in lines}) == len(lines)
    assert lines[1].id.startswith("far/192.0.2.1:1#")
    assert str(lines[1]) == lines[1].id


def test_it_shows_as_what_leads_back_to_it(registry: Registry[Line], lines: list[Line]) -> None:
    lines[0].known_as = {"datapathid": 1}
    shown = lines[0].displayed()
    assert dict(shown) == {
        "id": lines[0].id, "vhost": "", "peer": "192.0.2.1:1", "local": "here", "datapathid": 1,
    }  # fmt: skip
    assert registry.get(shown["id"]) is lines[0]


def test_those_of_one_virtual_host_or_of_all(registry: Registry[Line], lines: list[Line]) -> None:
    assert registry.all("") == [lines[0], lines[2], lines[4]]
    assert registry.all() == lines
    assert registry.endpoints("") == [("", "192.0.2.1"), ("", "2001:db8::1")]
    assert len(registry.endpoints()) == 4


def test_what_is_not_in_use_is_not_found(registry: Registry[Line], lines: list[Line]) -> None:
    for _ in range(2):
        registry.discard(lines[0])
    assert registry.get(lines[0].id) is None
    assert registry.at("192.0.2.1", "") == [lines[4]]


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("192.0.2.1", [0, 1, 4]),
        ("2001:DB8:0::1", [2]),
        ("/run/db.sock", [3]),
        ("", [3]),
        ("192.0.2.9", []),
        ("/run/other", []),
    ],
)
def test_by_endpoint(registry: Registry[Line], lines: list[Line], endpoint: str, found: list[int]) -> None:
    assert registry.at(endpoint) == [lines[number] for number in found]


@pytest.mark.parametrize("endpoint", ["192.0.2.1:6653", "host", "run/db.sock"])
def test_what_cannot_be_an_endpoint(registry: Registry[Line], endpoint: str) -> None:
    with pytest.raises(ValueError):
        registry.at(endpoint)
