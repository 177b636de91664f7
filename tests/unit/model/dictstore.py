"""A store in a dictionary, with transactions that keep the rules: for tests of changes without a running store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from vlcp.derive.view import PendingError
from vlcp.model.changes.outcome import ChangeView, Outcome

P = TypeVar("P")


class Result(NamedTuple):
    """What a transaction answers: as the store does."""

    answer: Any
    version: str
    time: int


class DictView:
    """What a change sees: only what was fetched in an earlier round."""

    def __init__(self, contents: Mapping[str, tuple[Any, str]]) -> None:
        self._contents = contents
        self._directories = directories(contents)
        self._fetched: set[object] = set()
        self._wanted: set[object] = set()
        self.read: set[str] = set()
        self.rounds = 0

    def _ask(self, *things: object) -> None:
        self._wanted.update(thing for thing in things if thing not in self._fetched)
        if not self._fetched.issuperset(things):
            raise PendingError

    def answer(self) -> None:
        """One round: fetch all that was asked for."""
        assert self._wanted, "the change is pending, but asked for nothing new"
        self._fetched |= self._wanted
        self._wanted.clear()
        self.rounds += 1

    def get(self, key: Any) -> Any:
        return self.many([key])[0]

    def many(self, keys: Iterable[Any]) -> list[Any]:
        asked = list(keys)
        self._ask(*asked)
        self.read.update(asked)
        return [self._contents.get(key, (None, ""))[0] for key in asked]

    def members(self, directory: Any) -> Sequence[str]:
        self._ask(("members", directory))
        names = sorted(self._directories.get(directory, ()))
        self.read.update(directory + name for name in names)
        return names

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self, *arguments)

    def version(self, key: str) -> str | None:
        self._ask(key)
        return self._contents.get(key, (None, None))[1]

    def free(self, directory: str, first: int, last: int, name: Callable[[int], str]) -> Iterator[int]:
        self._ask(("free", directory))
        return (number for number in range(first, last + 1) if directory + name(number) not in self._contents)


def directories(contents: Iterable[str]) -> dict[str, set[str]]:
    """Directory -> names of its members."""
    found: dict[str, set[str]] = {}
    for key in contents:
        directory, slash, name = key.rpartition("/")
        if slash:
            found.setdefault(directory + slash, set()).add(name)
    return found


class DictStore:
    """Runs changes one after the other. Every change is called twice at the end, to see that it is pure."""

    def __init__(self) -> None:
        self.contents: dict[str, tuple[Any, str]] = {}
        self.commits = 0
        self.rounds = 0
        """Rounds of reads of the last change."""
        self.read: frozenset[str] = frozenset()
        self.written: frozenset[str] = frozenset()
        """Keys that the last change read and wrote."""

    @property
    def objects(self) -> dict[str, Any]:
        """Key -> object."""
        return {key: value for key, (value, _) in self.contents.items()}

    def apply(self, change: Callable[[ChangeView, P], Outcome], params: P) -> Result:
        """Run a change and write what it wants."""
        outcome = self._outcome(change, params)
        occupied = outcome.empty & directories(self.contents).keys()
        assert not occupied, f"the change demands that {occupied} be empty, and did not say that they are not"
        assert self.read.issuperset(outcome.writes), "the change writes what it did not read"
        self.commits += 1
        for key, value in outcome.writes.items():
            if value is None:
                self.contents.pop(key, None)
            else:
                self.contents[key] = value, f"v{self.commits}"
        self.written = frozenset(outcome.writes)
        return Result(outcome.answer, f"v{self.commits}", self.commits)

    async def run(self, change: Callable[[ChangeView, P], Outcome], params: P) -> Result:
        """As the store's transactor does."""
        return self.apply(change, params)

    def _outcome(self, change: Callable[[ChangeView, P], Outcome], params: P) -> Outcome:
        view = DictView(self.contents)
        while True:
            try:
                outcome = change(view, params)
                assert change(view, params) == outcome, "the change is not pure"
            except PendingError:
                view.answer()
            else:
                return outcome
            finally:
                self.rounds, self.read = view.rounds, frozenset(view.read)
