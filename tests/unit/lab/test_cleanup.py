"""Whose a name is."""

from __future__ import annotations

import pytest

from vlcp.lab.cleanup import Remains, _owner


@pytest.mark.parametrize(
    ("prefix", "name", "owner"),
    [
        ("demo", "demo-12", 12),
        ("demo", "demo-12-h1", 12),
        ("demo", "demo-12-2-alice", 12),
        ("demo", "demo2-12", None),
        ("demo", "demo-alice", None),
        ("demo", "demo", None),
        ("demo", "my-demo-12", None),
        ("demo-12", "demo-12-alice", 12),
        ("demo-12", "demo-12-2-alice", None),
        ("demo-12-2", "demo-12-2-alice", 12),
        ("demo-1", "demo-12-alice", None),
    ],
)
def test_the_owner_is_in_the_name(prefix: str, name: str, owner: int | None) -> None:
    assert _owner(prefix, name) == owner


def test_nothing_is_false_and_says_so() -> None:
    assert not Remains((), (), ())
    assert str(Remains((), (), ())) == "nothing"
    assert str(Remains(((7, "sleep 9"),), ("demo-12-h1",), ())) == "process 7: sleep 9; namespace demo-12-h1"
