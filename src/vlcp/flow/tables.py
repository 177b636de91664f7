"""The pipeline: fixed table numbers with gaps, so that a restart finds every flow where it was.

The gaps are for what is to come: port security and access lists before `L2INPUT`, tunnels, neighbour discovery and
address translation beside the tables that they resemble, access lists of the receiver before `EGRESS`.
"""

from __future__ import annotations

from enum import IntEnum


class Table(IntEnum):
    """A table of the pipeline, in the order of packets."""

    INGRESS = 0
    """By port (and tag or tunnel key): sets the registers. Unknown: dropped."""
    L2INPUT = 20
    """Frames that no bridge forwards are dropped."""
    ARP = 30
    """ARP requests are answered in the switch."""
    L3INPUT = 40
    """Packets to the network's own services: DHCP, gateways."""
    L2OUTPUT = 70
    """The out port, by destination MAC address."""
    EGRESS = 100
    """Output, to one port or to all of the network."""


PATH = tuple(Table)
"""The way of a packet that nothing special happens to."""


def after(table: Table) -> Table:
    """The next table on the way."""
    return PATH[PATH.index(table) + 1]


PRIORITY = 0x8000
"""The priority of an ordinary flow; Open vSwitch does not print it."""
