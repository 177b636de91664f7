"""Which answer the headers of a request for something stored ask for: none, a part of it, and in which encoding.

RFC 9110: section 13 preconditions, section 14 ranges, section 12.5.3 Accept-Encoding. Nothing here reads or sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_LONGEST_NUMBER = 18
"""Digits of the largest position that a file may have."""
_BEYOND: int = 10**_LONGEST_NUMBER


class Validators(NamedTuple):
    """What tells two versions apart: an entity tag with its quotes, if any, and whole seconds since 1970."""

    etag: str | None
    modified: int


class Part(NamedTuple):
    """Bytes of something: where they begin, and how many."""

    start: int
    length: int


def http_date(seconds: int) -> str:
    """A time as HTTP writes it (RFC 9110 section 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def seconds_of(date: str) -> int | None:
    """Seconds since 1970 of such a time; None for anything else."""
    try:
        found = parsedate_to_datetime(date)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def precondition(headers: Mapping[str, str], now: Validators) -> int | None:
    """304 or 412 when the preconditions of a GET or HEAD say so; None to answer with the content."""
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match is not None:
        if not _matches(match, now.etag, weak=False):
            return 412
    elif (since := _date(headers, "If-Unmodified-Since")) is not None and now.modified > since:
        return 412
    if none_match is not None:
        return 304 if _matches(none_match, now.etag, weak=True) else None
    since = _date(headers, "If-Modified-Since")
    return 304 if since is not None and now.modified <= since else None


def part(headers: Mapping[str, str], size: int, now: Validators) -> Part | None:
    """The part of so many bytes that a GET asks for; None for all of them.

    A range in another unit, one that cannot be read, several at once, and one that If-Range ties to another version
    mean everything. Raises ValueError when there is nothing in the range.
    """
    wanted = headers.get("Range")
    if wanted is None or not _is_still(headers.get("If-Range"), now):
        return None
    unit, _, ranges = wanted.partition("=")
    found = _RANGE.fullmatch(ranges.strip())
    if unit.strip().lower() != "bytes" or found is None or found[0] == "-":
        return None
    first, last = (_number(text) for text in found.groups())
    if first is None:
        first, last = max(size - (last or 0), 0), size
    elif last is not None and last < first:
        return None
    if first >= size:
        raise ValueError(f"the range {wanted!r} is beyond the {size} bytes that there are")
    return Part(first, (size if last is None else min(last + 1, size)) - first)


def _number(text: str) -> int | None:
    if len(text) > _LONGEST_NUMBER:
        return _BEYOND
    return int(text) if text else None


def _is_still(if_range: str | None, now: Validators) -> bool:
    """Whether the part that the client has belongs to this version; a weak tag never tells that."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == now.etag
    return seconds_of(if_range) == now.modified


def _matches(tags: str, etag: str | None, *, weak: bool) -> bool:
    if tags.strip() == "*":
        return True
    return any(f'"{tag}"' == etag for prefix, tag in _ETAG.findall(tags) if weak or not prefix)


def _date(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    return None if text is None else seconds_of(text)


def accepted(header: str, offered: Iterable[str]) -> list[str]:
    """The encodings among `offered` that Accept-Encoding takes, those that it likes best first."""
    weights = dict(_weights(header))
    liked = {encoding: weights.get(encoding, weights.get("*", 0.0)) for encoding in offered}
    return sorted((encoding for encoding in liked if liked[encoding] > 0), key=lambda e: -liked[e])


def _weights(header: str) -> Iterator[tuple[str, float]]:
    for item in header.lower().split(","):
        name, *parameters = (text.strip() for text in item.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield name, float(weight)
        except ValueError:
            yield name, 0.0
