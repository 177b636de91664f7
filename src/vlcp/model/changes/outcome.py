"""What a change is given and what it returns, and the few ways in which changes read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from vlcp.derive.view import PendingError, View
from vlcp.model.errors import InUseError, MissingError
from vlcp.model.keys import unescape
from vlcp.model.kinds import Kinds
from vlcp.model.params import Placed

T = TypeVar("T")


class Outcome(NamedTuple):
    """What is to be written, if all that was read is still so."""

    writes: Mapping[str, Any | None] = {}
    """Key -> object; None deletes the key."""

    empty: frozenset[str] = frozenset()
    """Directories that must have no member."""

    answer: Any = None


class WithKinds(NamedTuple, Generic[T]):
    """The objects of a request that a kind of physical network has to agree with, and the kinds that are loaded."""

    objects: Sequence[Placed[T]]
    kinds: Kinds


class ChangeView(View, Protocol):
    """The view of a transaction: every read becomes a precondition of its commit."""

    def version(self, key: str) -> str | None:
        """The version of a key that was read; None when there is no such key."""
        ...

    def free(self, directory: str, first: int, last: int, name: Callable[[int], str]) -> Iterator[int]:
        """Numbers in first .. last whose `name` is probably no member of the directory, the best one first.

        This is a hint and no read: whoever takes a number reads its key.
        """
        ...


def together(*reads: Callable[[], T]) -> list[T]:
    """The results of several reads; all are asked for before the first that is pending raises."""
    results: list[T] = []
    pending: PendingError | None = None
    for read in reads:
        try:
            results.append(read())
        except PendingError as error:
            pending = error
    if pending is not None:
        raise pending
    return results


def fetch(view: View, keys: Iterable[str]) -> dict[str, Any]:
    """Key -> value, None where there is none. One round of reads."""
    distinct = list(dict.fromkeys(keys))
    return dict(zip(distinct, view.many(distinct), strict=True))


def fetch_with_members(
    view: View, keys: Iterable[str], directories: Iterable[str]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The values of keys, and the ids in directories (directory -> ids). One round of reads."""
    listed = list(dict.fromkeys(directories))
    reads: list[Callable[[], Any]] = [partial(fetch, view, keys)]
    reads += [partial(_ids, view, directory) for directory in listed]
    values, *names = together(*reads)
    return values, dict(zip(listed, names, strict=True))


def members_of(view: View, directories: Iterable[str]) -> list[str]:
    """The ids in directories, one after the other. One round of reads."""
    listings = together(*(partial(_ids, view, directory) for directory in directories))
    return [each for listing in listings for each in listing]


def _ids(view: View, directory: str) -> list[str]:
    return [unescape(name) for name in view.members(directory)]


def deletion(view: View, gone: Iterable[str], empty: Iterable[str] = ()) -> Outcome:
    """The outcome that deletes these keys, if the directories `empty` are. One round of reads."""
    return Outcome(dict.fromkeys(fetch(view, gone)), frozenset(empty))


def stored_objects(
    view: View, placed: Sequence[Placed[str]], key: Callable[[str], str], what: str
) -> list[Any]:
    """The objects with these ids, all of which must exist. One round of reads."""
    known = fetch(view, (key(each) for _, each in placed))
    return [must_exist(known[key(each.value)], each.at("id"), what, each.value) for each in placed]


def must_exist(value: T | None, at: str, what: str, object_id: str) -> T:
    """The value, unless it is missing. `at` begins the message, `what` is what kind of object it is, in words."""
    if value is None:
        raise MissingError(f"{at}there is no {what} {object_id!r}")
    return value


def must_not_exist(value: object, at: str, what: str, object_id: str) -> None:
    """Raises `InUseError` if there already is an object with the id."""
    if value is not None:
        raise InUseError(f"{at}there already is a {what} {object_id!r}")


def must_be_unused(users: list[str], at: str, what: str, by: str) -> None:
    """Raises `InUseError` that names one of the users. `what` is the object with its id, `by` what kind they are."""
    if users:
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        raise InUseError(f"{at}{what} still has {by} {users[0]!r}{more}; delete them first")
