"""What list calls find: pure functions of a view, whose outcome writes nothing.

Without a filter by id or network they go down from the directory of physical networks, one round of reads a level,
however many objects a level has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from vlcp.derive.view import UnreadableError, View
from vlcp.model import keys
from vlcp.model.answers import attribute, flat
from vlcp.model.changes.outcome import ChangeView, Outcome, members_of
from vlcp.model.keys import PortName
from vlcp.model.objects import Stored
from vlcp.model.params import PortQuery, Query

T = TypeVar("T")


def list_physical_networks(view: ChangeView, query: Query) -> Outcome:
    """The physical networks that match, sorted by id."""
    return _found(view, query, keys.physical_network, "", _physical_networks)


def list_physical_ports(view: ChangeView, query: PortQuery) -> Outcome:
    """The physical ports that match; `query.parent` is a physical network."""
    found = [query.name] if query.name is not None else _physical_ports(view, query.parent)
    wanted = query.filters if query.parent is None else {**query.filters, "physicalnetwork": query.parent}
    return _matching(view, found, keys.physical_port, wanted, PortName._asdict)


def _physical_ports(view: View, network: str | None) -> list[PortName]:
    networks = _physical_networks(view) if network is None else [network]
    return sorted(map(PortName.parse, members_of(view, map(keys.physical_ports_of, networks))))


def list_logical_networks(view: ChangeView, query: Query) -> Outcome:
    """The logical networks that match; `query.parent` is a physical network."""

    def below(view: View) -> list[str]:
        physical = _physical_networks(view) if query.parent is None else [query.parent]
        return members_of(view, map(keys.logical_networks_of, physical))

    return _found(view, query, keys.logical_network, "physicalnetwork", below)


def list_subnets(view: ChangeView, query: Query) -> Outcome:
    """The subnets that match; `query.parent` is a logical network."""
    return _found(
        view, query, keys.subnet, "logicalnetwork", lambda view: _below(view, query, keys.subnets_of)
    )


def list_logical_ports(view: ChangeView, query: Query) -> Outcome:
    """The logical ports that match; `query.parent` is a logical network."""
    return _found(
        view, query, keys.logical_port, "logicalnetwork", lambda view: _below(view, query, keys.ports_of)
    )


def _physical_networks(view: View) -> list[str]:
    return members_of(view, [keys.PHYSICAL_NETWORKS])


def _below(view: View, query: Query, directory: Callable[[str], str]) -> list[str]:
    """The ids of subnets or ports: of one logical network, or of all."""
    if query.parent is not None:
        return members_of(view, [directory(query.parent)])
    networks = members_of(view, map(keys.logical_networks_of, _physical_networks(view)))
    return members_of(view, map(directory, networks))


def _found(
    view: ChangeView,
    query: Query,
    key_of: Callable[[str], str],
    parent: str,
    every: Callable[[View], Iterable[str]],
) -> Outcome:
    """The objects that match; `every` lists the ids to look at when the query names none."""
    found = [query.id] if query.id is not None else sorted(every(view))
    wanted = query.filters if query.parent is None else {**query.filters, parent: query.parent}
    return _matching(view, found, key_of, wanted, lambda each: {"id": each})


def _matching(
    view: ChangeView,
    found: Sequence[T],
    key_of: Callable[[T], str],
    wanted: Mapping[str, Any],
    named: Callable[[T], dict[str, Any]],
) -> Outcome:
    """Those objects that match.

    One that cannot be understood is shown as its name and `error`, whatever the filters: it may match.
    """
    stored_keys = [key_of(each) for each in found]
    answer: list[dict[str, Any]] = []
    for each, key, stored in zip(found, stored_keys, _readable(view, stored_keys), strict=True):
        if isinstance(stored, UnreadableError):
            answer.append({**named(each), "error": str(stored)})
        elif stored is not None and _matches(stored, wanted.items()):
            answer.append(flat(stored, view.version(key)))
    return Outcome(answer=answer)


def _readable(view: View, stored_keys: Sequence[str]) -> list[Any]:
    """The values of keys in one round of reads, with the error in the place of one that cannot be understood."""
    with contextlib.suppress(UnreadableError):
        return view.many(stored_keys)
    return [_readable_one(view, key) for key in stored_keys]


def _readable_one(view: View, key: str) -> Any:
    try:
        return view.get(key)
    except UnreadableError as error:
        return error


def _matches(stored: Stored, wanted: Iterable[tuple[str, Any]]) -> bool:
    return all(attribute(stored, name) == value for name, value in wanted)
