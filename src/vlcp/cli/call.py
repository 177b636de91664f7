"""`vlcp call`: call a module API of a running controller through its web API."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import click


@click.command("call")
@click.argument("target", metavar="MODULE/API")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--url", default="http://localhost:8081", envvar="VLCP_URL", show_default=True, show_envvar=True,
              help="Where the web API is.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait for the answer.")
def command(target: str, parameters: tuple[str, ...], url: str, as_json: bool, timeout: float) -> None:
    """Call MODULE/API, such as manager/status or viperflow/listlogicalports.

    KEY=VALUE gives text, which becomes a number where one is expected; KEY:=JSON gives any value, for example
    'portids:=["a", "b"]'. What a module offers: vlcp call MODULE/discover.
    """
    if not all(target.partition("/")):
        raise click.UsageError(f"{target!r}: name the module and its API, such as manager/status")
    form = urllib.parse.urlencode([_field(parameter) for parameter in parameters]).encode()
    result = fetch(f"{url.rstrip('/')}/{urllib.parse.quote(target)}", form, timeout)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    elif result is not None:
        from vlcp.cli.table import show

        show(result)


def fetch(url: str, form: bytes, timeout: float) -> Any:
    """Post a form and return the result. Raises `click.ClickException` with the server's own error text."""
    try:
        with urllib.request.urlopen(url, form, timeout) as answer:
            return json.load(answer)["result"]
    except urllib.error.HTTPError as error:
        with error:
            raise click.ClickException(_error_text(error)) from None
    except urllib.error.URLError as error:
        hint = "is the controller running (`vlcp start`), and is --url right?"
        raise click.ClickException(f"cannot reach {url}: {error.reason}; {hint}") from None
    except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
        raise click.ClickException(f"{url} did not answer as a VLCP web API does: {error!r}") from None


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"


def _field(parameter: str) -> tuple[str, str]:
    """One form field. A JSON value travels as a Python literal between back-quotes."""
    key, equals, value = parameter.partition("=")
    if not equals or not key.rstrip(":"):
        raise click.UsageError(f"{parameter!r}: parameters are KEY=VALUE, or KEY:=JSON")
    if not key.endswith(":"):
        return key, value
    try:
        return key[:-1], f"`{json.loads(value)!r}`"
    except ValueError as error:
        raise click.UsageError(f"{parameter!r}: the value is not JSON: {error}") from None
