"""`vlcp start` and `vlcp-start`: run a server until it is told to stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from vlcp.cli import quickstart
from vlcp.server import process
from vlcp.server.config import Config, ConfigError, load

DEFAULT_FILE = Path("/etc/vlcp.conf")


@click.command("start", context_settings={"help_option_names": ["-h", "-?", "--help"]})
@click.option("-f", "file", metavar="FILE", help="Configuration file; '' for none. Default: /etc/vlcp.conf.")
@click.option("-d", "daemon", is_flag=True, help="Run in the background; return when it is up.")
@click.option(
    "-p", "pidfile", metavar="FILE", help="Write the process number to a file, which is locked meanwhile."
)
@click.option("-F", "workers", metavar="N", type=click.IntRange(1), default=1,
              help="Run N processes that share the listening ports; those that crash are started again.")  # fmt: skip
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
def command(
    file: str | None, daemon: bool, pidfile: str | None, workers: int, modules: tuple[str, ...]
) -> NoReturn:
    """Run the controller until SIGINT or SIGTERM.

    MODULE is a loading path, such as vlcp.service.manage.webapi.WebAPI; if given, these are loaded instead of
    server.startup. Without a configuration file a quick-start configuration is used: an embedded store in
    /var/lib/vlcp (or $VLCP_HOME), the API on localhost:8081, and the Open vSwitch of this machine.

    The status is 0 after a stop, 1 when the start fails, and 2 when the command is wrong.
    """
    try:
        config = configuration(file)
    except ConfigError as error:
        click.echo(f"vlcp: {error}", err=True)
        sys.exit(1)
    if modules:
        config.override("server.startup", modules, "command line")
    sys.exit(process.run(config, daemon=daemon, pidfile=pidfile, workers=workers))


def main() -> None:
    """The command `vlcp-start`."""
    command.main(prog_name="vlcp-start")


def configuration(file: str | None) -> Config:
    """The configuration that -f names; without it that of /etc, else the quick-start one."""
    if file == "":
        return Config("command line")
    if file is not None:
        return load(file)
    if DEFAULT_FILE.exists():
        return load(DEFAULT_FILE)
    click.echo(
        f"vlcp: there is no {DEFAULT_FILE}: quick start with the store {quickstart.home() / 'vlcp.db'}, "
        f"the API at {quickstart.API_URL} and Open vSwitch at {quickstart.OVSDB_URL}",
        err=True,
    )
    return quickstart.configuration()
