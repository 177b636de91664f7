"""Which user is at the other end of a connection from this machine."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from pathlib import Path

_NO_PROCESS = "0"
"""The inode of a socket that no process has any more; its user shows as 0, whoever it was."""


def owner(connection: socket.socket) -> int | None:
    """The user id of the peer: SO_PEERCRED of a Unix socket (unix(7)), for TCP what /proc/net/tcp says (proc(5)).

    None when the peer is not on this machine, in another network namespace, or gone.
    """
    if connection.family == socket.AF_UNIX:
        form = struct.Struct("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
        return int(form.unpack(credentials)[1])
    table = Path("/proc/net/tcp6" if connection.family == socket.AF_INET6 else "/proc/net/tcp")
    try:
        ends = [_as_listed(connection.getpeername()), _as_listed(connection.getsockname())]
        lines = table.read_text().splitlines()
    except OSError:
        return None
    for line in lines[1:]:
        _, local, remote, _, _, _, _, uid, _, inode, *_ = line.split()
        if [local, remote] == ends and inode != _NO_PROCESS:
            return int(uid)
    return None


def _as_listed(name: tuple[str, int]) -> str:
    """An address as proc(5) has it: words of 32 bits in the order of the machine, and the port."""
    packed = ip_address(name[0].partition("%")[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{name[1]:04X}"
