"""Walking over a source that knows only a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from vlcp.derive.view import UNREAD, PendingError
from vlcp.store.walk import RetrieveError, Walked, walk


class Source:
    """Knows some keys."""

    def __init__(self, **known: Any) -> None:
        self.known = known

    def get(self, key: Any) -> Any:
        return self.known.get(key, UNREAD)

    def members(self, directory: Any) -> Iterable[Any]:
        return ()


def follow(key: str, value: Any, walk: Callable[[str], Any], save: Callable[[str], None]) -> None:
    """Save a chain of keys to its end."""
    save(key)
    while value is not None:
        key, value = value, walk(value)
        save(key)


def test_a_pass_tells_what_is_saved_and_what_is_missing() -> None:
    source = Source(a="b", b="c")
    assert walk(source, ["a", "x"], {"a": follow, "x": follow}) == Walked({"a": "b", "b": "c"}, {"c", "x"})
    source.known.update(c=None, x=None)
    assert walk(source, ["a", "x"], {"a": follow, "x": follow}) == Walked(
        {"a": "b", "b": "c", "c": None, "x": None}, set()
    )


def test_a_start_key_without_a_walker_is_only_read() -> None:
    assert walk(Source(a=1), ["a", "b"], {}) == Walked({}, {"b"})


def test_what_a_walker_raises_is_raised() -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bad walker")

    with pytest.raises(RuntimeError, match="a bad walker"):
        walk(Source(a=1), ["a"], {"a": fail})


def test_the_error_is_what_walkers_and_views_catch() -> None:
    assert issubclass(RetrieveError, KeyError)
    assert issubclass(RetrieveError, PendingError)
