"""A process in the background: what it takes along, and the file that tells its number."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from vlcp.server.config import Config, ConfigError


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `daemon.*`: they count with `-d`."""

    pidfile: str | None = "/var/run/vlcp.pid"
    """Where the number of the process is written, unless -p names another file; None for nowhere."""
    uid: int | None = None
    """The user that it runs as, as a number."""
    gid: int | None = None
    """Its group, as a number; else the user's own."""
    user: str | None = None
    """The user by name; daemon.uid wins."""
    group: str | None = None
    """The group by name; daemon.gid wins."""
    chroot_directory: str | None = None
    """A directory that becomes its root."""
    working_directory: str = "/"
    """Where it works: paths in the configuration that do not begin with / are meant from there."""
    umask: int = 0o022
    """The permissions that files which it makes do not get."""
    detach_process: bool = True
    """Go to the background; without it the other keys count all the same."""
    prevent_core: bool = True
    """Leave no memory dump when it crashes: that would hold passwords and keys."""


class PidFile:
    """A file that holds the number of the process as long as it runs, locked against another one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._owner = 0

    def __enter__(self) -> Self:
        """Lock the file; what is in it stays. Raises `ConfigError` when another process has it."""
        try:
            self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            self._file = self._lock()
        except OSError as error:
            raise ConfigError(
                f"cannot use {self.path} as pid file: {error.strerror}; -p names another"
            ) from None
        return self

    def _lock(self) -> int:
        while True:
            file = os.open(self.path.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=self._folder)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number = os.read(file, 20).decode("ascii", "replace") or "that starts now"
                os.close(file)
                raise ConfigError(f"it runs already: process {number} has the pid file {self.path}") from None
            if self._is_linked(file):
                return file
            os.close(file)  # its owner removed it between our two steps

    def _is_linked(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path.name, dir_fd=self._folder))
        except FileNotFoundError:
            return False

    def write(self) -> None:
        """Write the number of this process, which removes the file when it ends."""
        self._owner = os.getpid()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(self._owner).encode(), 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._owner in (0, os.getpid()):
            os.ftruncate(self._file, 0)
            try:
                os.unlink(self.path.name, dir_fd=self._folder)
            except OSError:
                pass  # another user's directory: it stays, empty
        os.close(self._file)
        os.close(self._folder)


def detach() -> Callable[[], None]:
    """Go on in the background; call what is returned when everything is up.

    Until then messages still come out where the command was given, and the command waits: it ends with status 0
    when the call comes and with 1 when the process ends before. Then the standard streams lead nowhere.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        _wait(child, read)
    os.close(read)
    os.setsid()
    if os.fork():
        os._exit(0)  # who leads a session could get a terminal

    def up() -> None:
        lead_nowhere()
        os.write(write, b"\0")
        os.close(write)

    return up


def _wait(child: int, read: int) -> None:
    """The end of the process that was called: wait for the one in the background, and say how it went."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.waitpid(child, 0)
    os._exit(0 if os.read(read, 1) else 1)


def lead_nowhere() -> None:
    """Let the standard streams come from and go to nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def settle(config: Config, settings: DaemonSettings) -> None:
    """Take the place, the rights and the limits that the settings name. Raises `ConfigError` that names the key."""
    uid, gid, user = _identity(config, settings)  # while the system's own list of users is at hand
    old = Path.cwd()
    sys.path[:] = [str(old / path) for path in sys.path]
    if settings.prevent_core:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if settings.chroot_directory is not None:
        _try(config, settings, "chroot_directory", lambda: os.chroot(settings.chroot_directory or "/"))
    _try(config, settings, "working_directory", lambda: os.chdir(settings.working_directory))
    os.umask(settings.umask)
    if gid is not None:
        key = "gid" if settings.gid is not None else "group" if settings.group else "user"
        _try(config, settings, key, lambda: os.initgroups(user, gid) if user else os.setgroups([gid]))
        _try(config, settings, key, lambda: os.setgid(gid))
    if uid is not None:
        _try(config, settings, "uid" if settings.uid is not None else "user", lambda: os.setuid(uid))


def _identity(config: Config, settings: DaemonSettings) -> tuple[int | None, int | None, str | None]:
    """Number of the user and of the group, and the user's name, as far as they are set."""
    user: pwd.struct_passwd | None = None
    gid = settings.gid
    try:
        if settings.uid is None and settings.user is not None:
            user = pwd.getpwnam(settings.user)
    except KeyError:
        raise _wrong(config, settings, "user", "there is no such user") from None
    try:
        if gid is None and settings.group is not None:
            gid = grp.getgrnam(settings.group).gr_gid
    except KeyError:
        raise _wrong(config, settings, "group", "there is no such group") from None
    if settings.uid is not None:
        try:
            user = pwd.getpwuid(settings.uid)
        except KeyError:
            return settings.uid, gid, None  # a number without a name is as good
    if user is None:
        return None, gid, None
    return user.pw_uid, user.pw_gid if gid is None else gid, user.pw_name


def _try(config: Config, settings: DaemonSettings, name: str, action: Callable[[], Any]) -> None:
    try:
        action()
    except OSError as error:
        raise _wrong(config, settings, name, error.strerror or str(error)) from None


def _wrong(config: Config, settings: DaemonSettings, name: str, what: str) -> ConfigError:
    key = f"daemon.{name}"
    return ConfigError(f"{config.origin(key)}: {key} = {getattr(settings, name)!r}: {what}")
