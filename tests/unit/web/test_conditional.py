"""Ranges, dates and encodings that headers ask for, whatever is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vlcp.web.conditional import Validators, accepted, http_date, part, precondition, seconds_of

NOW = Validators('"a"', 1_700_000_000)
NUMBERS = st.integers(0, 40) | st.sampled_from([10**17, 10**30])
SIZES = st.integers(0, 20)


def bytes_of(range_: str, size: int) -> list[int] | None:
    """The positions that a range means; None for one that nothing can be found in."""
    try:
        found = part({"Range": range_}, size, NOW)
    except ValueError:
        return None
    return list(range(size)) if found is None else list(range(found.start, found.start + found.length))


@given(NUMBERS, NUMBERS, SIZES)
def test_from_to(first: int, last: int, size: int) -> None:
    there = list(range(size))
    expected = there if last < first else there[first : last + 1] or None
    assert bytes_of(f"bytes={first}-{last}", size) == expected


@given(NUMBERS, SIZES)
def test_from_and_the_last(number: int, size: int) -> None:
    there = list(range(size))
    assert bytes_of(f"bytes={number}-", size) == (there[number:] or None)
    assert bytes_of(f"bytes=-{number}", size) == (there[max(size - number, 0) :] or None)


@given(st.text(max_size=20), SIZES)
def test_any_text_means_something_that_is_there(text: str, size: int) -> None:
    for wanted in (text, f"bytes={text}"):
        found = bytes_of(wanted, size)
        assert found is None or set(found) <= set(range(size))


@given(st.integers(0, 253402300799))
def test_dates(seconds: int) -> None:
    assert seconds_of(http_date(seconds)) == seconds


def test_all_forms_of_dates() -> None:
    """Those of RFC 9110 section 5.6.7, which senders of old still use."""
    forms = "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"
    assert [seconds_of(form) for form in forms] == [784111777] * 3


@given(st.text(max_size=40))
def test_any_header_is_survived(text: str) -> None:
    for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"):
        assert precondition({name: text}, NOW) in (None, 304, 412)
    part({"Range": "bytes=0-0", "If-Range": text}, 5, NOW)
    assert set(accepted(text, ["br", "gzip"])) <= {"br", "gzip"}


def test_encodings_are_ordered_by_weight_then_as_offered() -> None:
    assert accepted("gzip;q=0.2, br;q=0.2, zstd", ["br", "zstd", "gzip"]) == ["zstd", "br", "gzip"]
    assert accepted("identity, *;q=0.1, br;q=0", ["br", "gzip"]) == ["gzip"]
    assert accepted("", ["br"]) == []
