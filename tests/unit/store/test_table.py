"""The table of keys: every change costs what it touches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.store.contract import Preconditions
from vlcp.store.table import Clock, Draft, Revisions, Table, directory_of

NAMES = st.sampled_from(["a", "b", "d/1", "d/2", "d/e/1", "e/1"])
COMMITS = st.lists(st.dictionaries(NAMES, st.none() | st.binary(max_size=2), min_size=1), max_size=20)


def test_the_directory_of_a_key() -> None:
    assert [directory_of(key) for key in ("a", "d/a", "d/e/a", "/a")] == [None, "d/", "d/e/", "/"]


@given(commits=COMMITS)
def test_the_table_is_a_dictionary_with_directories(commits: list[dict[str, bytes | None]]) -> None:
    table, model = Table(), dict[str, tuple[bytes, str]]()
    for number, writes in enumerate(commits):
        table.apply(writes, str(number))
        for key, value in writes.items():
            model.pop(key, None)
            if value is not None:
                model[key] = (value, str(number))
    snapshot = table.snapshot(["a", "d/1"], ["d/", "d/e/", "none/"], 7, "r")
    assert snapshot.entries == {key: model.get(key) for key in ("a", "d/1")}
    for directory, listing in snapshot.listings.items():
        assert listing == {key: entry for key, entry in model.items() if directory_of(key) == directory}
        assert list(listing) == sorted(listing)
    assert table.keys() == sorted(model)
    assert len(table) == len(model)
    copied = Table(table.items()).snapshot(table.keys(), ["d/"], 7, "r")
    assert copied == table.snapshot(table.keys(), ["d/"], 7, "r")


@given(commits=COMMITS, key=NAMES)
def test_preconditions(commits: list[dict[str, bytes | None]], key: str) -> None:
    table = Table()
    for number, writes in enumerate(commits):
        table.apply(writes, str(number))
    entry = table.snapshot([key], [], 0, "").entries[key]
    true, false = (entry.version, None) if entry else (None, "0")
    assert table.failing(Preconditions({key: true})) == ([], [])
    assert table.failing(Preconditions({key: false})) == ([key], [])
    occupied = [name for name in ("d/", "e/") if table.snapshot([], [name], 0, "").listings[name]]
    assert sorted(table.failing(Preconditions(empty=frozenset({"d/", "e/"})))[1]) == occupied


@given(before=COMMITS, after=COMMITS)
def test_a_draft_shows_what_the_table_will_be(
    before: list[dict[str, bytes | None]], after: list[dict[str, bytes | None]]
) -> None:
    table, unchanged, later = Table(), Table(), Table()
    for number, writes in enumerate(before):
        for each in (table, unchanged, later):
            each.apply(writes, f"b{number}")
    draft = Draft(table, "b")
    for number, writes in enumerate(after):
        draft.apply(writes, f"a{number}")
        later.apply(writes, f"a{number}")
    keys, directories = ["a", "b", "d/1", "d/2", "e/1"], ["d/", "d/e/", "e/", "none/"]
    expected = later.snapshot(keys, directories, 7, draft.revision)
    assert draft.snapshot(keys, directories, 7) == expected
    assert [list(listing) for listing in expected.listings.values()] == [
        list(listing) for listing in draft.snapshot(keys, directories, 7).listings.values()
    ]
    conditions = Preconditions(dict.fromkeys(keys), frozenset(directories))
    assert draft.failing(conditions) == later.failing(conditions)
    assert table.equals(unchanged)


def test_revisions_of_two_runs_differ() -> None:
    first, second = Revisions(), Revisions()
    assert len({revisions.next() for revisions in (first, second) for _ in range(100)}) == 200


def test_the_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([5000, 9000, 7000, 12000])
    monkeypatch.setattr("vlcp.store.table.time.time_ns", lambda: next(readings))
    clock = Clock()
    assert [clock.now() for _ in range(4)] == [5, 9, 9, 12]
