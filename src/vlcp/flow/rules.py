"""Rules and features: how a module of the data plane says what it wants of a switch.

A rule is a pure function of a view whose items are flows and groups (and steering items of `vlcp.derive.plan`). Its
docstring is one sentence of network behaviour. A feature is a set of rules with a name and a number; the number is the
top byte of the cookie of all its flows, so every flow names its cause.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Concatenate, NamedTuple, ParamSpec
from zlib import crc32

from vlcp.derive.graph import Call
from vlcp.derive.plan import Also, Each, Member
from vlcp.derive.view import View
from vlcp.wire.openflow import (
    ALL_TABLES,
    Bucket,
    Instruction,
    Match,
    encode_buckets,
    encode_instructions,
    encode_match,
)

LAST_GROUP = 0xFFFFFF00
"""The highest group number (OpenFlow 1.3.5, OFPG_MAX)."""

P = ParamSpec("P")
Rule = Callable[Concatenate[View, P], tuple[Any, ...]]


class EncodedFlow(NamedTuple):
    """A flow entry in the form of a switch's dump."""

    table: int
    priority: int
    match: bytes
    instructions: bytes


class EncodedGroup(NamedTuple):
    """A group of type ALL in the form of a switch's dump."""

    group_id: int
    buckets: bytes


class Flow(NamedTuple):
    """A flow entry that a switch shall have. Its cookie comes from the rule call that wants it."""

    table: int
    priority: int
    match: Match
    instructions: tuple[Instruction, ...]

    def encode(self) -> EncodedFlow:
        """The flow in the form of a dump. ValueError: no switch could hold it."""
        if not (0 <= self.table < ALL_TABLES and 0 <= self.priority <= 0xFFFF):
            raise ValueError(
                f"flow: table {self.table}, priority {self.priority}; allowed are tables 0 .. 254 and"
                " priorities 0 .. 65535"
            )
        instructions = encode_instructions(self.instructions)
        return EncodedFlow(self.table, self.priority, encode_match(self.match), instructions)


class GroupEntry(NamedTuple):
    """A group of type ALL that a switch shall have: a copy of the packet to every bucket."""

    group_id: int
    buckets: tuple[Bucket, ...]

    def encode(self) -> EncodedGroup:
        """The group in the form of a dump. ValueError: no switch could hold it."""
        if not 0 < self.group_id <= LAST_GROUP:
            raise ValueError(f"group {self.group_id}: its number must be from 1 to {LAST_GROUP:#x}")
        return EncodedGroup(self.group_id, encode_buckets(self.buckets))


class Send(NamedTuple):
    """An effect: a frame to leave by a port of the switch."""

    port: int
    frame: bytes


class Packet(NamedTuple):
    """A packet that a switch sent up."""

    in_port: int
    frame: bytes


Answer = Callable[[View, Packet], Iterable[Send]]


class Feature:
    """A named part of the data plane. `number` (1 .. 255) must be unique and never reused for something else."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.roots: list[Callable[..., Any]] = []
        self.on_packet: Answer | None = None

    def __repr__(self) -> str:
        return f"Feature({self.name!r}, {self.number})"

    def rule(self, function: Callable[Concatenate[View, P], Iterable[Any]]) -> Rule[P]:
        """Decorator: a rule of this feature, written as a generator of items.

        Flows and groups are encoded here, so that one that cannot be is the failure of this rule alone.
        """

        def rule(view: View, /, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, ...]:
            return tuple(map(_encoded, function(view, *args, **kwargs)))

        functools.update_wrapper(rule, function)
        setattr(rule, "feature", self)  # noqa: B010 - functions take attributes, but their type does not say so
        return rule

    def root(self, function: Callable[[View], Iterable[Any]]) -> Rule[[]]:
        """Decorator: a rule without arguments that every switch starts from."""
        rule = self.rule(function)
        self.roots.append(rule)
        return rule

    def answer(self, function: Answer) -> Answer:
        """Decorator: the pure function that answers the packets which this feature's flows send up."""
        self.on_packet = function
        return function


def _encoded(item: Any) -> Any:
    """What the plan takes; TypeError for anything else, so that it is the failure of the rule that gave it."""
    if isinstance(item, (Flow, GroupEntry)):
        return item.encode()
    if isinstance(item, (Also, Each, Member)):
        hash(item)
        return item
    raise TypeError(f"a rule gives flows, groups, Also, Each and Member, not {item!r}")


def feature_of(call: Call) -> Feature:
    """The feature that a rule call belongs to."""
    feature: Feature = call[0].feature
    return feature


def cookie_of(call: Call) -> int:
    """The cookie of all flows of a rule call: feature (8 bits), scope (24), subject (32).

    The scope is the call's first argument, usually a network or a port; the subject is all its arguments.
    """
    arguments = call[1:]
    subject = crc32(_text(arguments)) if arguments else 0
    scope = subject & 0xFFFFFF if len(arguments) == 1 else scope_of(arguments)
    return feature_of(call).number << 56 | scope << 32 | subject


def scope_of(arguments: Iterable[Hashable]) -> int:
    """24 bits that stand for the first argument of a call."""
    first = next(iter(arguments), None)
    return 0 if first is None else crc32(_text((first,))) & 0xFFFFFF


def feature_number(cookie: int) -> int:
    """The number of the feature in a cookie."""
    return cookie >> 56


def scope_mask(cookie: int) -> int:
    """Feature and scope of a cookie, without its subject."""
    return cookie >> 32


def _text(arguments: Iterable[Hashable]) -> bytes:
    return "\0".join(map(str, arguments)).encode()
