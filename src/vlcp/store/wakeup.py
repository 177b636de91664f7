"""How the processes that share the store of one machine wake each other: datagrams between Unix sockets.

Every process binds a socket in a directory beside the store. A datagram is empty and means "look at the log". One that
gets lost does no harm but delay: everybody looks now and then without being woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_logger = logging.getLogger(__name__)

_SUFFIX = ".sock"


class WakeUps:
    """The socket of this process and those of its peers, in `directory`.

    `listen` and `close` belong to the event loop, `look` and `send` to the thread that writes. Where sockets cannot be
    had nobody is woken, which is logged once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder: int | None = None
        self._name = ""
        self._receiver: socket.socket | None = None
        self._sender: socket.socket | None = None
        self._peers: tuple[str, ...] = ()
        self._complained = False
        self.stale = True
        """Whether to `look` before the next `send`: somebody may have come or gone."""
        self.deaf = False
        """Whether the socket of this process was removed, so that it must `listen` again."""
        self.sent = self.received = 0

    def listen(self, heard: Callable[[], None]) -> None:
        """Bind a new socket; `heard` is called in the event loop after a datagram, or several."""
        self.close()
        try:
            self._bind(heard)
            self._complained = False
        except OSError as error:
            self.close()
            if not self._complained:
                _logger.warning("other processes cannot wake this one, it looks now and then: %s", error)
            self._complained = True
        self.stale = True

    def close(self) -> None:
        for each in (self._receiver, self._sender):
            if each is not None:
                with contextlib.suppress(ValueError, RuntimeError):  # a closed loop, or none
                    asyncio.get_running_loop().remove_reader(each)
                each.close()
        self._receiver = self._sender = None
        if self._folder is not None:
            self._unlink(self._name)
            os.close(self._folder)
        self._folder, self._peers, self.deaf = None, (), False

    def look(self) -> None:
        """See who is there, and greet those who are new, so that they see this process too."""
        self.stale = False
        try:
            names = set(os.listdir(self._directory))
        except OSError:
            names = set()
        self.deaf = self._name not in names
        before, self._peers = self._peers, tuple(self._sockets(names))
        self._wake(name for name in self._peers if name not in before)

    def send(self) -> None:
        """Wake all peers. The socket of one that ended without a word is removed."""
        self._wake(self._peers)

    def statistics(self) -> dict[str, int]:
        return {"peers": len(self._peers), "wakeups_sent": self.sent, "wakeups_received": self.received}

    def _bind(self, heard: Callable[[], None]) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = f"{os.getpid()}.{secrets.token_hex(4)}{_SUFFIX}"
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._receiver.bind(self._address(self._name))
        asyncio.get_running_loop().add_reader(self._receiver, self._drain, self._receiver, heard)

    def _drain(self, receiver: socket.socket, heard: Callable[[], None]) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                receiver.recv(1)
                self.received += 1
        self.stale = True
        heard()

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            if self._sender is None:
                return
            try:
                self._sender.sendto(b"", self._address(name))
                self.sent += 1
            except ConnectionRefusedError:
                self._unlink(name)
                self.stale = True
            except OSError:  # its queue is full, so it will wake anyway, or it is gone
                self.stale = True

    def _sockets(self, names: set[str]) -> Iterator[str]:
        return (name for name in names if name.endswith(_SUFFIX) and name != self._name)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._folder)

    def _address(self, name: str) -> str:
        # By way of the open directory, since an address has 108 bytes at most (unix(7)).
        return f"/proc/self/fd/{self._folder}/{name}"
