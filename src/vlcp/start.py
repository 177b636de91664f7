"""A server from a program of one's own, with the modules that the program itself defines."""

from __future__ import annotations

import faulthandler
import inspect
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from vlcp.server import process
from vlcp.server.config import Config, ConfigError, load
from vlcp.server.module import Module, Proxy, module_path

DEFAULT_FILE = Path("/etc/vlcp.conf")


def main(
    configpath: str | Path | None = None,
    startup: Iterable[str] | None = None,
    daemon: bool = False,
    pidfile: str | None = None,
    fork: int = 1,
) -> None:
    """Run a server until it is told to stop, as `vlcp-start -f CONFIGPATH [-d] [-p PIDFILE] [-F FORK] STARTUP...` does.

    Without `configpath` the file is /etc/vlcp.conf if there is one; '' stands for none. Without `startup` the key
    `server.startup` counts; if that is not set either, the module classes are taken that the program which runs
    (`__main__`) has defined or imported.

    Ends the program with status 1, and a message on standard error, when the server cannot start.
    """
    try:
        if fork < 1:
            raise ConfigError(f"fork = {fork}: at least 1 process is needed")
        config = configuration(configpath)
        if startup is not None:
            paths = (startup,) if isinstance(startup, str) else tuple(startup)
            config.override("server.startup", paths, "startup")
        elif not config.get("server.startup"):
            config.override("server.startup", tuple(map(module_path, _visible())), "__main__")
    except ConfigError as error:
        sys.exit(f"vlcp: {error}")
    status = process.run(config, daemon=daemon, pidfile=pidfile, workers=fork)
    faulthandler.cancel_dump_traceback_later()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, process.SIGNALS)
    if status:
        sys.exit(status)


def configuration(path: str | Path | None) -> Config:
    """That of a file; None stands for /etc/vlcp.conf if there is one, '' for none. Raises `ConfigError`."""
    if path is None:
        path = DEFAULT_FILE if DEFAULT_FILE.exists() else ""
    return load(path) if path else Config("arguments")


def _visible() -> list[type[Module]]:
    """The module classes in the namespace of the program, without those that others there derive from."""
    program = vars(sys.modules["__main__"]).values()
    found = [cls for cls in program if inspect.isclass(cls) and issubclass(cls, Module)]
    bases = {base for cls in found for base in cls.__mro__[1:]}
    return [cls for cls in dict.fromkeys(found) if cls not in bases | {Module, Proxy}]
