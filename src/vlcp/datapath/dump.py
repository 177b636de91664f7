"""What a switch holds now, as it tells itself."""

from __future__ import annotations

from vlcp.datapath.tables import FlowKey, FlowValue, Installed
from vlcp.link.openflow import OpenFlowConnection
from vlcp.wire.openflow import FlowRequest, GroupDescRequest, GroupType, flow_entries, group_entries


async def read_installed(connection: OpenFlowConnection) -> Installed:
    """Dump flows and groups. A group of a type that we never make has an empty value, which equals none of ours."""
    installed = Installed()
    for body in await connection.multipart(GroupDescRequest()):
        for group in group_entries(body):
            installed.groups[group.group_id] = group.buckets if group.type == GroupType.ALL else b""
    for body in await connection.multipart(FlowRequest()):
        for entry in flow_entries(body):
            key = FlowKey(entry.table, entry.priority, bytes(entry.match))
            limits = (entry.idle_timeout, entry.hard_timeout, entry.flags)
            installed.flows[key] = FlowValue(entry.cookie, bytes(entry.instructions), limits)
    return installed
