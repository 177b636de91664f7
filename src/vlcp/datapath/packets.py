"""Packets that come up from a switch, and what goes down in answer."""

from __future__ import annotations

from collections.abc import Mapping

from vlcp.derive.view import PendingError, View
from vlcp.flow.rules import Feature, Packet, Send, feature_number
from vlcp.wire.openflow import Output, PacketIn, PacketOut, Port


def answer(view: View, features: Mapping[int, Feature], message: PacketIn) -> list[Send]:
    """What the feature whose flow sent the packet up answers. Nothing if it is gone, or must read first."""
    feature = features.get(feature_number(message.cookie))
    if feature is None or feature.on_packet is None:
        return []
    try:
        return list(feature.on_packet(view, Packet(_in_port(message), bytes(message.data))))
    except PendingError:
        return []  # the sender will ask again


def packet_out(effect: Send) -> PacketOut:
    """The message that carries an effect out."""
    return PacketOut(in_port=Port.CONTROLLER, actions=(Output(effect.port),), data=effect.frame)


def _in_port(message: PacketIn) -> int:
    assert not isinstance(message.match, bytes)  # a parsed message holds the match itself
    return message.match.number("in_port")
