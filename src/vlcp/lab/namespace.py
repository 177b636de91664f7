"""One network namespace and the commands that run inside it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vlcp.lab import command, process

DIRECTORY = Path("/run/netns")
"""Where ip-netns(8) keeps the named namespaces."""

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A named network namespace of a lab. `name` is what ip-netns(8) calls it.

    Every command gets the environment `env`, which carries the lab's mark.
    """

    def __init__(self, name: str, lab: str) -> None:
        self.name = name
        self.env: dict[str, str] = {process.MARK: lab}

    def create(self) -> None:
        """Make the namespace: the loopback is up, IPv6 is off, so that nothing but the test itself sends packets."""
        command.ip(f"netns add {self.name}")
        command.ip("link set lo up", namespace=self.name)
        with self.entered():
            for which in ("all", "default"):
                sysctl(f"net/ipv6/conf/{which}/disable_ipv6", 1)

    def delete(self) -> None:
        """Remove the namespace with its interfaces; no harm if it is gone already."""
        if (DIRECTORY / self.name).exists():
            command.run(["ip", "netns", "delete", self.name])

    def run(
        self, *argv: str, check: bool = True, timeout: float = 60.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, to its end; see `command.run`."""
        return command.run(self._inside(argv), check=check, timeout=timeout, env={**self.env, **(env or {})})

    def popen(
        self, *argv: str, env: Mapping[str, str] | None = None, stdout: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start a program inside, with pipes for its output. Whoever starts it also ends it and closes the pipes.

        `stdout` may be a file, which takes any amount: a program waits when its pipe is full.
        """
        return subprocess.Popen(
            self._inside(argv),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.env, **(env or {})},
            start_new_session=True,  # Ctrl-C on the terminal is for us; we end our children in order
        )

    def ip(self, *commands: str) -> None:
        """Run ip(8) commands inside, as one batch."""
        command.ip(*commands, namespace=self.name)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is inside: its new sockets belong to the namespace for ever, and /proc/sys/net is that of it."""
        with open("/proc/thread-self/ns/net") as here, open(DIRECTORY / self.name) as there:
            _join(there.fileno())
            try:
                yield
            finally:
                _join(here.fileno())

    def _inside(self, argv: Sequence[str]) -> list[str]:
        enter = [command.find("nsenter"), f"--net={DIRECTORY / self.name}", "--"]
        return [*enter, command.find(argv[0]), *argv[1:]]


def sysctl(key: str, value: int) -> None:
    """Set a kernel parameter, named like its file below /proc/sys. A parameter that this kernel lacks is left alone."""
    path = Path("/proc/sys") / key
    if path.exists():
        path.write_text(str(value))


def transmit_checksum_off(device: str) -> None:
    """Let the kernel finish checksums before it sends on a device of the namespace that this thread is in.

    The userspace datapath of Open vSwitch takes frames from a veth as they are. With checksum offload TCP and UDP would
    arrive there unfinished and be dropped by the receiver, while ARP and ICMP work.
    """
    value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP8x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def _join(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise command.LabError(f"cannot enter a network namespace: {os.strerror(code)}")
