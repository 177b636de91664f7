"""What a switch holds now, as it tells itself."""

from __future__ import annotations

import asyncio

from vlcp.datapath.tables import FlowKey, FlowValue, Installed
from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import FlowRequest, GroupDescRequest, GroupType, flow_entries, group_entries

_OTHER_TYPE = b"?"
"""No list of buckets is this short, unless it is empty."""


async def read_installed(connection: OpenFlowConnection) -> Installed:
    """Dump flows and groups. A group of a type that we never make has a value that equals none of ours."""
    installed = Installed()
    for body in await connection.multipart(GroupDescRequest()):
        for group in group_entries(body):
            installed.groups[group.group_id] = group.buckets if group.type == GroupType.ALL else _OTHER_TYPE
    for body in await connection.multipart(FlowRequest()):
        for entry in flow_entries(body):
            key = FlowKey(entry.table, entry.priority, bytes(entry.match))
            limits = (entry.idle_timeout, entry.hard_timeout, entry.flags)
            installed.flows[key] = FlowValue(entry.cookie, bytes(entry.instructions), limits)
        await asyncio.sleep(0)  # a body holds hundreds of flows
    return installed
