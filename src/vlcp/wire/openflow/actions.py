"""The actions of OpenFlow 1.3 (OpenFlow 1.3.5, section 7.2.5), without set_field, which is in `assignments`."""

from __future__ import annotations

from typing import Annotated

from vlcp.wire.openflow.action import Action, action
from vlcp.wire.openflow.ports import Port
from vlcp.wire.records import U8, U16, U32, Pad


@action(0)
class Output(Action, frozen=True):
    """Send the packet out of `port`. `max_len`: how many bytes go to the controller (0xffff: all)."""

    port: U32
    max_len: Annotated[U16, Pad(6)] = 0


@action(15)
class SetMplsTtl(Action, frozen=True):
    """Set the TTL of the outermost MPLS label."""

    ttl: Annotated[U8, Pad(3)]


@action(16, pad=4)
class DecMplsTtl(Action, frozen=True):
    """Count the TTL of the outermost MPLS label down by one."""


@action(17)
class PushVlan(Action, frozen=True):
    """Add a VLAN tag, number 0; `ethertype` is 0x8100 or 0x88a8."""

    ethertype: Annotated[U16, Pad(2)] = 0x8100


@action(18, pad=4)
class PopVlan(Action, frozen=True):
    """Remove the outermost VLAN tag."""


@action(19)
class PushMpls(Action, frozen=True):
    """Add an MPLS label; `ethertype` is 0x8847 or 0x8848."""

    ethertype: Annotated[U16, Pad(2)] = 0x8847


@action(20)
class PopMpls(Action, frozen=True):
    """Remove the outermost MPLS label; `ethertype` is what the packet becomes."""

    ethertype: Annotated[U16, Pad(2)]


@action(21)
class SetQueue(Action, frozen=True):
    """Choose the queue of the output port."""

    queue: U32


@action(22)
class Group(Action, frozen=True):
    """Hand the packet to a group."""

    group_id: U32


@action(23)
class SetNwTtl(Action, frozen=True):
    """Set the TTL of the IP header."""

    ttl: Annotated[U8, Pad(3)]


@action(24, pad=4)
class DecNwTtl(Action, frozen=True):
    """Count the TTL of the IP header down by one; the packet goes to the controller when it reaches 0."""


def to_controller(max_len: int = 0xFFFF) -> Output:
    """Send the first `max_len` bytes of the packet to the controller; 0xffff: all of it."""
    return Output(Port.CONTROLLER, max_len)
