"""The command `vlcp`. Subcommands are imported when they are used, so that `vlcp --help` is quick."""

from __future__ import annotations

import importlib
from typing import cast

import click

SUBCOMMANDS = {
    "call": ("vlcp.cli.call:command", "Call a module API of a running controller."),
    "config": ("vlcp.cli.config:command", "Check a configuration file, or show what is in effect."),
    "demo": ("vlcp.cli.demo:demo", "Show two virtual machines on one Open vSwitch, from nothing to ping."),
    "start": ("vlcp.cli.start:command", "Run the controller until it is told to stop."),
}


class LazyGroup(click.Group):
    """A group whose commands are named here and imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(SUBCOMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options that only `start` has mean `start`: `vlcp -f FILE` is `vlcp start -f FILE`."""
        start = args and args[0][:2] in ("-f", "-d", "-p", "-F")
        return super().parse_args(ctx, ["start", *args] if start else args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of this name."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, _, attribute = SUBCOMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUBCOMMANDS[name][1]) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"vlcp {version('vlcp')}")
        except PackageNotFoundError:
            click.echo("vlcp (not installed: run from its sources)")
        ctx.exit()


@click.group("vlcp", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
def command() -> None:
    """VLCP, an SDN controller for Open vSwitch: one process on every hypervisor, one shared store."""


def main() -> None:
    """The command `vlcp`."""
    command.main(prog_name="vlcp")
