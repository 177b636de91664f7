"""`vlcp config`: what a configuration file says, without starting it."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import NoReturn

import click

from vlcp.cli.start import configuration
from vlcp.server.config import Config, ConfigError
from vlcp.server.examine import examine, in_effect

_LABELS = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "note"}


@click.command("config")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--check", "action", flag_value="check", default="check", help="Tell what is wrong (the default)."
)
@click.option(
    "--show", "action", flag_value="show", help="Print every setting in effect, and where it comes from."
)
def command(file: str | None, action: str) -> NoReturn:
    """Check a configuration file, or show what is in effect.

    Every module that the file starts is made, which reads its settings; nothing is opened or connected. FILE is
    /etc/vlcp.conf unless given; what --show prints is a configuration file again.

    The status is 0 when nothing is wrong, and 1 after errors, or warnings about keys that have no effect.
    """
    try:
        config = configuration(file)
    except ConfigError as error:
        click.echo(f"vlcp: {error}", err=True)
        sys.exit(1)
    findings = asyncio.run(examine(config))
    if action == "show":
        _show(config)
    for level, text in findings:
        click.echo(f"{_LABELS[level]}: {text}", err=True)
    bad = any(level > logging.INFO for level, _ in findings)
    if action == "check" and not bad:
        click.echo(f"{config.filename}: nothing is wrong")
    sys.exit(1 if bad else 0)


def _show(config: Config) -> None:
    for key, value, place in in_effect(config):
        click.echo(f"{key} = {value!r}  # {place}")
