"""What the rules read about the switch itself: keys and values that the running half keeps up to date."""

from __future__ import annotations

from typing import NamedTuple

from vlcp.derive.view import Key

INTERFACES: Key = ("interfaces",)
"""Directory of the `iface-id`s of the bridge's interfaces."""

PORTS: Key = ("ports",)
"""Directory of the numbers of the switch's OpenFlow ports."""


DESCRIBED: Key = ("described",)
"""Key of whether the switch has told its OpenFlow ports at all; None before its first connection."""


class Interface(NamedTuple):
    """A row of OVSDB's Interface table that carries an `iface-id`. `ofport`: its OpenFlow port, None if it has none."""

    name: str
    ofport: int | None


class Port(NamedTuple):
    """A port as OpenFlow describes it."""

    name: str
    mac: int


def interface(iface_id: str) -> Key:
    """Key of an `Interface` by its `external_ids:iface-id`."""
    return ("interface", iface_id)


def port(number: int) -> Key:
    """Key of a `Port` by its OpenFlow port number."""
    return ("port", number)


def iface_id_at(number: int) -> Key:
    """Key of the `iface-id` of the interface with this OpenFlow port number."""
    return ("iface-id at", number)


def settings(feature: str) -> Key:
    """Key of the settings of a feature."""
    return ("settings", feature)
