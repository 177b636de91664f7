"""A server as a process: in the foreground or the background, alone or as several workers, and its signals.

SIGINT and SIGTERM stop it in order, SIGHUP reads the configuration file again, SIGUSR1 logs what every task waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import importlib.util
import logging
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from vlcp.server import log, systemd
from vlcp.server.config import Config, ConfigError
from vlcp.server.daemon import DaemonSettings, PidFile, detach, lead_nowhere, settle
from vlcp.server.module import ModuleError
from vlcp.server.server import Server, ServerSettings

logger = logging.getLogger(__name__)

COLLECT_AFTER = (20_000, 20, 50)
"""New objects until a collection of the youngest generation, and collections of one generation until one of the next.
Most of what is made here lives long; Python's own (700, 10, 10) would hold the event loop for tens of milliseconds."""

LAST_RESORT = 5.0
"""Seconds after a signal until a process that hangs shows where it hangs and ends with status 1."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Those that are handled while a server runs; they are blocked when it has ended."""


def run(config: Config, *, daemon: bool = False, pidfile: str | None = None, workers: int = 1) -> int:
    """Run a server until it stops; the result is the exit status: 0, or 1 when it could not start.

    With `daemon` in the background: the calling process ends (it does not return) with status 0 when the startup
    modules are loaded, and with 1 when that fails. `pidfile` is a file for the number of the process. With several
    `workers` each is a process with a server of its own, and this one keeps them alive.

    What the user can put right is told on standard error.
    """
    gc.set_threshold(*COLLECT_AFTER)
    try:
        with contextlib.ExitStack() as stack:
            up = _place(config, daemon, pidfile, stack)
            log.configure(config)
            _raise_file_limit(config)
            if workers == 1:
                return _work(config, up)
            return _keep_workers(config, workers, up, silent=daemon)
    except ConfigError as error:
        return _failed(error)


def _place(
    config: Config, daemon: bool, pidfile: str | None, stack: contextlib.ExitStack
) -> Callable[[], None]:
    """Lock the file with the process number and go to the background, as far as it is wanted.

    What is returned is to be called when the server is up.
    """
    settings = config.settings(DaemonSettings, "daemon")
    path = pidfile or (settings.pidfile if daemon else None)
    file = stack.enter_context(PidFile(path)) if path else None
    up = detach() if daemon and settings.detach_process else _nothing
    if file:
        file.write()
    if daemon:
        settle(config, settings)

    def tell() -> None:
        _tell_manager()
        up()

    return tell


def _nothing() -> None:
    """The standard streams stay where they are, and nobody waits."""


def _tell_manager() -> None:
    systemd.notify("READY=1")


def _keep_workers(config: Config, count: int, up: Callable[[], None], *, silent: bool) -> int:
    """Run several servers side by side; they share their listening ports.

    `silent` ones say nothing on the standard streams once they are up, if this process goes to the background.
    """
    from vlcp.server.workers import Supervisor

    if config.get("protocol.default.reuseport") is None:
        config.override("protocol.default.reuseport", True, "-F")
    silent = silent and config.settings(DaemonSettings, "daemon").detach_process

    def work(tell: Callable[[], None], parent: int) -> int:
        def say_last() -> None:
            if silent:
                lead_nowhere()
            tell()

        return _work(config, say_last, parent)

    def reread() -> None:
        try:
            log.reconfigure(config)  # for workers that are started from now on
        except ConfigError as error:
            logger.error("the configuration stays as it is: %s", error)

    return Supervisor(count, work, up, reread).run()


def _work(config: Config, up: Callable[[], None], parent: int | None = None) -> int:
    """One server in this process; `up` is called when its startup modules are loaded.

    `parent` is a pipe whose end means that the process which keeps this one has ended.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(Server(config), up, parent))
    except (ConfigError, ModuleError) as error:
        return _failed(error)


def _failed(reason: object) -> int:
    sys.stderr.write(f"vlcp: {reason}\n")
    return 1


async def _serve(server: Server, up: Callable[[], None], parent: int | None) -> int:
    loop = asyncio.get_running_loop()
    if parent is not None:
        loop.add_reader(parent, _orphaned, server, parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server, number.name)
    loop.add_signal_handler(signal.SIGHUP, lambda: server.spawn(_reconfigure(server), name="reconfigure"))
    loop.add_signal_handler(signal.SIGUSR1, log_tasks)
    server.spawn(_tell_when_up(server, up), name="tell when up")
    if interval := systemd.watchdog_interval():
        server.spawn(_live(interval), name="signs of life")
    status = await server.run()
    if status:
        _failed(f"{server.stop_reason}; the log says why")
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # it ends already: one more signal shall not spoil that
    return status


def _orphaned(server: Server, parent: int) -> None:
    asyncio.get_running_loop().remove_reader(parent)
    _stop(server, "the process that kept this one has ended")


def _stop(server: Server, reason: str) -> None:
    if server.stopping:
        return
    faulthandler.dump_traceback_later(LAST_RESORT, exit=True)
    systemd.notify("STOPPING=1")
    server.stop(reason)


async def _tell_when_up(server: Server, up: Callable[[], None]) -> None:
    await server.ready.wait()
    if server.stopping:
        return
    if server.failures:
        _failed(f"not loaded: {'; '.join(f'{name} ({why})' for name, why in server.failures.items())}")
    systemd.notify(f"STATUS={server.state()}")
    up()


async def _live(interval: float) -> None:
    while True:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(interval / 2)


async def _reconfigure(server: Server) -> None:
    """Read the configuration file again when all is loaded; when that is impossible everything stays as it is."""
    await server.ready.wait()
    systemd.reloading()
    try:
        await server.reconfigure()
    except ConfigError as error:
        logger.error("the configuration stays as it is: %s", error)
    finally:
        systemd.notify("READY=1", f"STATUS={server.state()}")


def log_tasks() -> None:
    """Log what every task waits for."""
    lines = list[str]()
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        lines += [f"{task.get_name()}:", *(f"    {place}" for place in _stack(task.get_coro()))]
    logger.warning("%d tasks:\n%s", len(asyncio.all_tasks()), "\n".join(lines))


def _stack(coroutine: Any) -> Iterator[str]:
    """Where a coroutine waits, and the coroutines that it waits for."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def _raise_file_limit(config: Config) -> None:
    """Allow `server.ulimitn` open files, as far as the system permits; never lower the limit."""
    wanted = config.settings(ServerSettings, "server").ulimitn
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft >= limits[0] or soft == resource.RLIM_INFINITY:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return
        except (OSError, ValueError, OverflowError):
            continue  # not allowed: the second attempt stays below the hard limit


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster event loop if it is installed; None stands for that of asyncio."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    return cast(Callable[[], asyncio.AbstractEventLoop], importlib.import_module("uvloop").new_event_loop)
