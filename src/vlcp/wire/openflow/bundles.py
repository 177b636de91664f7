"""Experimenter messages that Open vSwitch takes on OpenFlow 1.3: atomic bundles (ONF extension 230), Nicira's roles."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from vlcp.wire.openflow.action import NICIRA
from vlcp.wire.openflow.errors import ONF
from vlcp.wire.openflow.message import Message, experimenter
from vlcp.wire.records import U16, U32, Pad, Rest


class BundleCommand(IntEnum):
    """What happens to a bundle; each request has its reply (ONF_BCT_*)."""

    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


class BundleFlag(IntFlag):
    """How a bundle is carried out (ONF_BF_*)."""

    ATOMIC = 1
    ORDERED = 2


@experimenter(ONF, 2300)
class BundleControl(Message, frozen=True):
    """Open, commit or discard a bundle, and the answers to that."""

    bundle_id: U32
    command: U16
    flags: U16 = BundleFlag.ATOMIC | BundleFlag.ORDERED


@experimenter(ONF, 2301)
class BundleAdd(Message, frozen=True):
    """Put a whole message into a bundle; it must have the transaction id of this one."""

    bundle_id: Annotated[U32, Pad(2)]
    flags: U16
    message: Rest


@experimenter(NICIRA, 10)
class NiciraRoleRequest(Message, frozen=True):
    """Ask for a role. 0: other, 1: primary, 2: secondary."""

    role: U32


@experimenter(NICIRA, 11)
class NiciraRoleReply(Message, frozen=True):
    """The role that the controller has now."""

    role: U32
