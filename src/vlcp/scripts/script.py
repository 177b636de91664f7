"""The base of scripts: a module that does its work once, after which the server stops.

A script is a file that defines one class and runs it:

    class Count(ScriptModule):
        options = (Option("logical-network", "n", takes_argument=True, help="Count only the ports of this network."),)

        async def run(self, *names: str, logical_network: str | None = None) -> None: ...

    if __name__ == "__main__":
        main(Count)

`python -m package.count -f /etc/vlcp.conf -n blue name` then calls `run("name", logical_network="blue")`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

import click
import msgspec

from vlcp import start
from vlcp.server import process
from vlcp.server.config import Config, ConfigError
from vlcp.server.errors import ModuleError, status_of
from vlcp.server.module import Module, module_path


class Option(NamedTuple):
    """One option of a script: `--name`, `-short`."""

    name: str
    """Also the keyword of `run`, with underscores in the place of hyphens."""
    short: str | None = None
    takes_argument: bool = False
    """With an argument `run` gets a text, otherwise True; without the option it gets nothing."""
    help: str = ""


class ScriptError(Exception):
    """The script cannot do its work; the text says why, and the exit status is 1."""


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `main.*`: what a script is called with when no command line says so."""

    args: tuple[Any, ...] = ()
    """The arguments."""
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    """The options, by name."""


class ScriptModule(Module):
    """Base script module: calls `run` once everything is loaded, then stops the server."""

    options: ClassVar[Sequence[Option]] = ()

    async def run(self, *args: Any, **options: Any) -> None:
        """The work. What it raises makes the script fail; `ScriptError` is a message, anything else is logged whole."""
        raise NotImplementedError

    async def load(self) -> None:
        """Begin. Raises `ModuleError` for the base itself, and `ConfigError` for `main.*` that `run` cannot take."""
        if type(self).run is ScriptModule.run:
            raise ModuleError(f"{module_path(type(self))} is a base for scripts: it has no work of its own")
        config = self.server.config
        arguments = config.settings(Arguments, "main")
        try:
            inspect.signature(self.run).bind(*arguments.args, **arguments.kwargs)
        except TypeError as error:
            raise ConfigError(f"{config.origin('main')}: main.args, main.kwargs: {error}") from None
        self.spawn(self._work(arguments), name="script")

    async def _work(self, arguments: Arguments) -> None:
        await self.server.ready.wait()
        try:
            await self.run(*arguments.args, **arguments.kwargs)
        except Exception as error:
            expected = isinstance(error, ScriptError | ModuleError) or status_of(error) is not None
            text = str(error) if expected else f"{type(error).__name__}: {error}"
            self.logger.error("%s failed: %s", self.name, text, exc_info=not expected)
            self.server.stop(f"{self.name} failed: {text}", failed=True)
        else:
            self.server.stop(f"{self.name} is done")


def main(script: type[ScriptModule]) -> NoReturn:
    """Run a script as the program that it is, with the arguments of the command line, and exit.

    The status is 0 when `run` returns, 1 when it fails or the server cannot start, 2 when the command is wrong.
    """
    command(script).main()
    raise AssertionError("a command ends the program")


def command(script: type[ScriptModule]) -> click.Command:
    """The command line of a script: its options, `-f FILE` and `--help`."""

    def call(file: str | None, args: tuple[str, ...], **given: Any) -> NoReturn:
        options = {name: value for name, value in given.items() if value not in (None, False)}
        try:
            inspect.signature(script.run).bind(None, *args, **options)
        except TypeError as error:
            raise click.UsageError(str(error)) from None
        sys.exit(_start(script, file, args, options))

    file = click.Option(
        ["-f", "file"], metavar="FILE", help="Configuration file; '' for none. Default: /etc/vlcp.conf."
    )
    arguments = click.Argument(["args"], nargs=-1, metavar=_metavar(script))
    parameters = [file, *map(_parameter, script.options), arguments]
    names = ["-h", "-?", "--help"]
    return click.Command(
        None,
        {"help_option_names": names},
        call,
        parameters,
        help=inspect.getdoc(script),
    )


def _start(
    script: type[ScriptModule], file: str | None, args: tuple[str, ...], options: Mapping[str, Any]
) -> int:
    try:
        config: Config = start.configuration(file)
    except ConfigError as error:
        click.echo(f"vlcp: {error}", err=True)
        return 1
    config.override("server.startup", (module_path(script),), "command line")
    config.override("main.args", args, "command line")
    config.override("main.kwargs", options, "command line")
    return process.run(config)


def _parameter(option: Option) -> click.Option:
    short = [f"-{option.short}"] if option.short else []
    return click.Option(
        [f"--{option.name}", *short],
        is_flag=not option.takes_argument,
        default=None,
        help=option.help or None,
    )


def _metavar(script: type[ScriptModule]) -> str:
    """What `run` takes, for the usage line: `SOURCE [DESTINATION] [NAMES]...`."""
    shown = []
    for parameter in list(inspect.signature(script.run).parameters.values())[1:]:
        name = parameter.name.upper()
        if parameter.kind is parameter.VAR_POSITIONAL:
            shown.append(f"[{name}]...")
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            shown.append(name if parameter.default is parameter.empty else f"[{name}]")
    return " ".join(shown)
