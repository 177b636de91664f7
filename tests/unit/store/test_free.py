"""Free numbers: lowest first, never two owners at once, and never lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vlcp.store.free import WINDOW, Candidates, FreeNumbers

FIRST, LAST = 1, 30
GRACE = 6_000_000


class Names(dict[str, None]):
    """Counts how often somebody looks whether a name is taken."""

    looked = 0

    def __contains__(self, name: object) -> bool:
        self.looked += 1
        return super().__contains__(name)


def numbers_of(candidates: Candidates, count: int, spread: bool = False) -> list[int]:
    iterator = candidates.attempt(0, (), spread)
    return [next(iterator) for _ in range(count)]


def test_lowest_first_and_the_same_in_every_attempt() -> None:
    candidates = Candidates(FreeNumbers(1, 10, str, {"1": None, "3": None}))
    assert numbers_of(candidates, 3) == [2, 4, 5]
    assert list(candidates.attempt(0, (), False)) == [2, 4, 5, 6, 7, 8, 9, 10]
    assert list(candidates.attempt(0, {4, 5}, False)) == [2, 6, 7, 8, 9, 10]


def test_two_owners_are_offered_different_numbers_until_there_are_no_others() -> None:
    free = FreeNumbers(1, 4, str, {})
    one, other = Candidates(free), Candidates(free)
    assert numbers_of(one, 3) == [1, 2, 3]
    assert list(other.attempt(0, (), False)) == [4, 1, 2, 3]


def test_after_a_conflict_numbers_are_spread_over_the_next() -> None:
    drawn = {numbers_of(Candidates(FreeNumbers(1, 1000, str, {})), 1, spread=True)[0] for _ in range(400)}
    assert len(drawn) > WINDOW / 2
    assert max(drawn) <= WINDOW


def test_one_more_number_of_many_costs_the_same() -> None:
    members = Names()
    free = FreeNumbers(1, 100_000, str, members)
    for number in range(1, 50_001):
        members[str(number)] = None
    assert free.offer(0) == 50_001
    members.looked = 0
    assert [free.offer(0) for _ in range(100)] == list(range(50_002, 50_102))
    assert members.looked == 100


class Owners(RuleBasedStateMachine):
    """Owners take numbers, give them back and lose members, against a plain set."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, None] = {}
        self.free = FreeNumbers(FIRST, LAST, str, self.members)
        self.owned: list[int] = []
        self.now = 0

    @property
    def expected(self) -> list[int]:
        return [n for n in range(FIRST, LAST + 1) if str(n) not in self.members and n not in self.owned]

    @rule(spread=st.booleans())
    def offer(self, spread: bool) -> None:
        expected = self.expected
        number = self.free.offer(self.now, spread)
        assert (number is None) == (not expected)
        if number is not None:
            assert number in expected if spread else number == expected[0]
            self.owned.append(number)

    @precondition(lambda self: self.owned)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.owned))
        self.owned.remove(number)
        self.free.give_back([number], (), self.now)

    @precondition(lambda self: self.owned)
    @rule(data=st.data(), shown=st.booleans())
    def take(self, data: st.DataObject, shown: bool) -> None:
        """The commit happened; its member is seen at once, or (it was deleted as fast) never."""
        number = data.draw(st.sampled_from(self.owned))
        if shown:
            self.members[str(number)] = None
        self.free.give_back([number], {str(number)}, self.now)
        self.owned.remove(number)
        self.now += GRACE

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.members)))
        del self.members[name]
        self.free.left([name])

    @rule(number=st.integers(FIRST, LAST))
    def somebody_else_takes(self, number: int) -> None:
        self.members[str(number)] = None

    @invariant()
    def contested_are_the_owned_that_are_not_taken(self) -> None:
        contested = set(self.free.contested())
        assert {n for n in self.owned if str(n) not in self.members} <= contested
        assert not any(str(n) in self.members for n in contested)


TestOwners = Owners.TestCase
TestOwners.settings = settings(derandomize=True, max_examples=60, stateful_step_count=40)
