"""`vlcp start` and `vlcp-start`: run a server until it is told to stop."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib.util
import logging
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import click

from vlcp.cli import quickstart
from vlcp.server import log
from vlcp.server.config import Config, ConfigError, load
from vlcp.server.module import ModuleError
from vlcp.server.server import Server

logger = logging.getLogger(__name__)

DEFAULT_FILE = Path("/etc/vlcp.conf")
COLLECT_AFTER = (20_000, 20, 50)
"""New objects until a collection of the youngest generation, and collections of one generation until one of the next.
Most of what is made here lives long; Python's own (700, 10, 10) would hold the event loop for tens of milliseconds."""

LAST_RESORT = 5.0
"""Seconds after a signal until a process that hangs shows where it hangs and ends with status 1."""

_UNAVAILABLE = {
    "daemon": "-d is not available: run vlcp-start in the foreground under systemd, or `setsid vlcp-start ... &`",
    "pidfile": "-p is not available: a service manager knows the process id, or use the shell's $!",
    "fork": "-F is not available: one process serves one host; start several with their own configuration files",
}


@click.command("start", context_settings={"help_option_names": ["-h", "-?", "--help"]})
@click.option("-f", "file", metavar="FILE", help="Configuration file; '' for none. Default: /etc/vlcp.conf.")
@click.option("-d", "daemon", is_flag=True, hidden=True)
@click.option("-p", "pidfile", hidden=True)
@click.option("-F", "fork", hidden=True)
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
def command(file: str | None, modules: tuple[str, ...], **unavailable: object) -> NoReturn:
    """Run the controller until SIGINT or SIGTERM.

    MODULE is a loading path, such as vlcp.service.manage.webapi.WebAPI; if given, these are loaded instead of
    server.startup. Without a configuration file a quick-start configuration is used: an embedded store in
    /var/lib/vlcp (or $VLCP_HOME), the API on localhost:8081, and the Open vSwitch of this machine.
    """
    for name, value in unavailable.items():
        if value:
            raise click.UsageError(_UNAVAILABLE[name])
    sys.exit(run(file, modules))


def main() -> None:
    """The command `vlcp-start`."""
    command.main(prog_name="vlcp-start")


def run(file: str | None, modules: tuple[str, ...]) -> int:
    """Run a server; the result is the exit status. What the user can put right is told on standard error."""
    gc.set_threshold(*COLLECT_AFTER)
    try:
        config = configuration(file)
        if modules:
            config.set("server.startup", modules, "command line")
        log.configure(config)
        if config.filename == quickstart.NAME:
            _tell_quick_start(config)
        _raise_file_limit(config)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(Server(config)))
    except (ConfigError, ModuleError) as error:
        click.echo(f"vlcp: {error}", err=True)
        return 1


def configuration(file: str | None) -> Config:
    """The configuration that -f names; without it that of /etc, else the quick-start one."""
    if file == "":
        return Config("command line")
    if file is not None:
        return load(file)
    return load(DEFAULT_FILE) if DEFAULT_FILE.exists() else quickstart.configuration()


async def _serve(server: Server) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _stop, server, number.name)
    status = await server.run()
    if status:
        click.echo("vlcp: no startup module could be loaded; the log says why", err=True)
    return status


def _stop(server: Server, reason: str) -> None:
    faulthandler.dump_traceback_later(LAST_RESORT, exit=True)
    server.stop(reason)


def _tell_quick_start(config: Config) -> None:
    logger.info(
        "no configuration file: quick start with store %s, API %s, Open vSwitch %s",
        *map(
            config.get,
            ("module.embeddeddb.path", "module.httpserver.vhost.api.url", "module.jsonrpcserver.url"),
        ),
    )


def _raise_file_limit(config: Config) -> None:
    """Allow `server.ulimitn` open files (32768), as far as the system permits; never lower the limit."""
    wanted = config.get("server.ulimitn", 32768)
    if not isinstance(wanted, int) or wanted <= 0:
        place = config.origin("server.ulimitn")
        raise ConfigError(f"{place}: server.ulimitn = {wanted!r}: expected a positive number")
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
