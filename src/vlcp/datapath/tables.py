"""Flows and groups as a switch holds them: what is desired, what is installed, and the difference between the two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from vlcp.derive.graph import Call
from vlcp.flow.rules import EncodedFlow, EncodedGroup, cookie_of, feature_number, scope_mask

Product = EncodedFlow | EncodedGroup


class FlowKey(NamedTuple):
    """What makes a flow entry unique in a switch. `match`: a whole ofp_match, in the form of a dump."""

    table: int
    priority: int
    match: bytes


class FlowValue(NamedTuple):
    """What a flow entry says. `limits`: idle timeout, hard timeout and flags; ours have none of them."""

    cookie: int
    instructions: bytes
    limits: tuple[int, int, int] = (0, 0, 0)


class Change(NamedTuple):
    """One flow (`FlowKey`) or group (its number) to be as `value` says; None: to be gone. `new`: not there before."""

    key: FlowKey | int
    value: FlowValue | bytes | None
    new: bool


Wishes = dict[tuple[Call, Product], FlowValue | bytes]
"""Who wants a flow or group, and how."""


class Desired:
    """What the products of all rule calls amount to.

    Several calls may want the same flow; it is there once, with the lowest cookie. If they want different flows for one
    match, or different groups with one number, the lowest value wins, and the key stands in `conflicts`: a defect of
    the rules.
    """

    def __init__(self) -> None:
        self.flows: dict[FlowKey, FlowValue] = {}
        self.groups: dict[int, bytes] = {}
        self.conflicts: set[FlowKey | int] = set()
        self.causes: dict[int, Call] = {}
        self._wanted: dict[FlowKey | int, Wishes] = {}
        self._touched: set[FlowKey | int] = set()

    def exchange(self, call: Call, before: tuple[Any, ...], now: tuple[Any, ...]) -> None:
        """The products of a rule call have changed."""
        cookie = cookie_of(call)
        gone, come = set(before), set(now)
        for product in gone - come if gone else ():
            self._withdraw(_key(product), (call, product))
        for product in come - gone if gone else come:
            self._want(_key(product), _value(product, cookie), (call, product))
        if now:
            self.causes[cookie] = call
        else:
            self.causes.pop(cookie, None)

    def take_touched(self) -> set[FlowKey | int]:
        """Keys whose value may have changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def follow(self, before: Desired) -> None:
        """Take the place of other wishes: what has to be compared is what is wanted differently now."""
        keys: set[FlowKey | int] = {*before.flows, *before.groups, *self.flows, *self.groups}
        self._touched = {key for key in keys if before.get(key) != self.get(key)} | before.take_touched()

    def get(self, key: FlowKey | int) -> FlowValue | bytes | None:
        """The desired value of a flow or group."""
        return self.groups.get(key) if isinstance(key, int) else self.flows.get(key)

    def _want(self, key: FlowKey | int, value: FlowValue | bytes, wish: tuple[Call, Product]) -> None:
        wishes = self._wanted.get(key)
        if wishes is None:
            wishes = self._wanted[key] = {}
        wishes[wish] = value
        self._choose(key, wishes)

    def _withdraw(self, key: FlowKey | int, wish: tuple[Call, Product]) -> None:
        wishes = self._wanted.get(key, {})
        wishes.pop(wish, None)
        if not wishes:
            self._wanted.pop(key, None)
        self._choose(key, wishes)

    def _choose(self, key: FlowKey | int, wishes: Wishes) -> None:
        self._touched.add(key)
        table: dict[Any, Any] = self.groups if isinstance(key, int) else self.flows
        if wishes:
            table[key] = min(wishes.values())  # a flow's value begins with its cookie
        else:
            table.pop(key, None)
        conflict = len(wishes) > 1 and len(set(map(_meaning, wishes.values()))) > 1
        (self.conflicts.add if conflict else self.conflicts.discard)(key)


class Installed:
    """What the switch is known to hold: a dump, and what it has acknowledged since."""

    def __init__(self) -> None:
        self.flows: dict[FlowKey, FlowValue] = {}
        self.groups: dict[int, bytes] = {}

    def get(self, key: FlowKey | int) -> FlowValue | bytes | None:
        """The installed value of a flow or group."""
        return self.groups.get(key) if isinstance(key, int) else self.flows.get(key)

    def __len__(self) -> int:
        return len(self.flows) + len(self.groups)

    def acknowledge(self, changes: Iterable[Change]) -> None:
        """The switch has made these changes."""
        for key, value, _ in changes:
            table: dict[Any, Any] = self.groups if isinstance(key, int) else self.flows
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value


class Protection(NamedTuple):
    """What must not be deleted at the moment, although nobody wants it.

    `everything`: something is still unread. `scopes`: scope masks (see `rules.scope_mask`) of rule calls that failed.
    `features`: numbers of features whose modules should be there and could not be loaded.
    """

    everything: bool = False
    scopes: frozenset[int] = frozenset()
    features: frozenset[int] = frozenset()

    def covers(self, value: FlowValue | bytes | None) -> bool:
        """Whether this is protected. Groups carry no cookie: while any flow is protected, they all are."""
        if not isinstance(value, FlowValue):
            return self.everything or bool(self.scopes or self.features)
        failed = scope_mask(value.cookie) in self.scopes
        return self.everything or failed or feature_number(value.cookie) in self.features


def difference(desired: Desired, installed: Installed, keys: Iterable[FlowKey | int]) -> list[Change]:
    """What must change at these keys for the installed flows and groups to be as desired, in the order of the keys."""
    changes = []
    for key in keys:
        want, have = desired.get(key), installed.get(key)
        if want != have:
            changes.append(Change(key, want, have is None))
    return changes


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Changes in an order that a switch can take: groups that come, flows, groups that go.

    The groups that other groups point to have the higher numbers; they come first and go last.
    """
    changes = list(changes)
    groups = sorted((change for change in changes if isinstance(change.key, int)), key=_group_number)
    flows = [change for change in changes if not isinstance(change.key, int)]
    coming = [change for change in reversed(groups) if change.value is not None]
    return [*coming, *flows, *(change for change in groups if change.value is None)]


def _group_number(change: Change) -> int:
    assert isinstance(change.key, int)
    return change.key


def _key(product: Product) -> FlowKey | int:
    if isinstance(product, EncodedGroup):
        return product.group_id
    return FlowKey(product.table, product.priority, product.match)


def _value(product: Product, cookie: int) -> FlowValue | bytes:
    return product.buckets if isinstance(product, EncodedGroup) else FlowValue(cookie, product.instructions)


def _meaning(value: FlowValue | bytes) -> bytes:
    """What a flow or group does; a flow's cookie is no part of it."""
    return value.instructions if isinstance(value, FlowValue) else value
