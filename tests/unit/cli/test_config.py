"""`vlcp config`: what is wrong in a file, and what is in effect, without a start."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vlcp.cli.config import command
from vlcp.server.config import parse

WEBAPI = "server.startup = 'vlcp.service.manage.webapi.WebAPI'\n"
STORE = (
    "server.startup = ('vlcp.service.sdn.viperflow.ViperFlow',)\n"
    "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
    "module.embeddeddb.path = '/nosuch/vlcp.db'\n"
)


def config(directory: Path, text: str, *options: str) -> Result:
    """The command on a file `x.conf` with this text."""
    file = directory / "x.conf"
    file.write_text(text)
    return CliRunner().invoke(command, [*options, str(file)])


@pytest.mark.parametrize("text", [WEBAPI, STORE, f"{WEBAPI}module.static.dir = 'x'\n"])
def test_nothing_is_wrong(tmp_path: Path, text: str) -> None:
    """Modules are made and not loaded: the store's directory need not be there."""
    result = config(tmp_path, text, "--check")
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/x.conf: nothing is wrong\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "error: {file}: server.startup is empty: name the modules to load there or on the command line"),
        (f"{WEBAPI}module.webapi.acceptjson = 'x'\n", "error: {file}:2: module.webapi.acceptjson = 'x': expected"),
        (f"{WEBAPI}module.httpserver.url = 'tcp'\n", "error: {file}:2: module.httpserver.url: 'tcp' is not an address"),
        (f"{WEBAPI}protocol.http.idletimeout = 0\n", "error: {file}:2: protocol.http.idletimeout = 0: expected"),
        (f"{WEBAPI}daemon.umask = 'x'\n", "error: {file}:2: daemon.umask = 'x': expected `int`, got `str`"),
        (f"{WEBAPI}server.ulimitn = 0\n", "error: {file}:2: server.ulimitn = 0: expected `int` >= 1"),
        (f"{WEBAPI}module = 0\n", "error: {file}:2: module = 0: expected a dictionary"),
        (f"{STORE}proxy.kvstorage = 'no.Such'\n", "error: {file}:4: proxy.kvstorage: cannot load 'no.Such'"),
        (f"{WEBAPI}module.webapi.rotpath = '/'\n", "warning: {file}:2: unknown key module.webapi.rotpath; did you"),
        (f"{WEBAPI}module.webap.rootpath = '/'\n", "warning: {file}:2: no module 'webap' is loaded; did you mean"),
        (f"{WEBAPI}daemon.umsk = 0\n", "warning: {file}:2: unknown key daemon.umsk; did you mean daemon.umask?"),
        (f"{WEBAPI}jsonformat.byteslimt = 0\n", "warning: {file}:2: unknown key jsonformat.byteslimt; did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    result = config(tmp_path, text)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(told.format(file=f"{tmp_path}/x.conf"))


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    result = config(
        tmp_path, f"{WEBAPI}module.webapi.acceptjson = 'x'\nmodule.httpserver.urls = 5\nmodul.x = 1\n"
    )
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "error", "warning"]


def test_a_module_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, and with the others all the same."""
    (tmp_path / "clumsy.py").write_text(
        "from vlcp.server.module import Module\nclass Clumsy(Module):\n    def __init__(self, server): {}['x']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = config(tmp_path, f"server.startup = ('clumsy.Clumsy',)\n{WEBAPI.replace('server.startup', 'x')}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == "error: cannot make module 'clumsy.Clumsy': KeyError: 'x'"


def test_keys_of_earlier_versions_are_notes(tmp_path: Path) -> None:
    result = config(tmp_path, f"{WEBAPI}server.lockpriority = 5\n")
    assert result.exit_code == 0
    assert (
        result.stderr
        == "note: without effect, what is ready runs in turn, there are no priorities: server.lockpriority\n"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    result = config(tmp_path, "a = [")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"vlcp: {tmp_path}/x.conf:1: the value is not a Python literal")


def test_what_is_in_effect(tmp_path: Path) -> None:
    text = "module.default.loadtimeout = 5\nmodule.webapi.acceptmethods = [b'GET']\nprotocol.http.idletimeout = 7\n"
    result = config(tmp_path, f"{WEBAPI}{text}module.redisdb.url = 'x'\n", "--show")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for line in (
        f"module.default.loadtimeout = 5  # {tmp_path}/x.conf:2",
        f"module.redisdb.url = 'x'  # {tmp_path}/x.conf:5, which nothing reads",
        f"module.webapi.acceptmethods = [b'GET']  # {tmp_path}/x.conf:3",
        "module.webapi.rootpath = '/'  # default",
        f"protocol.http.idletimeout = 7  # {tmp_path}/x.conf:4",
        "protocol.http.headlinelimit = 8192  # default",
        "server.debugging = False  # default",
    ):
        assert line in lines
    assert lines == sorted(lines)
    shown = parse(result.stdout)
    assert shown.get("module.webapi.acceptmethods") == [b"GET"], "it can be read again"


def test_a_setting_that_has_no_default_is_in_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text(
        "from vlcp.server.module import Module\nclass Needy(Module):\n"
        "    class Settings(Module.Settings, frozen=True, kw_only=True):\n        place: str\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = config(tmp_path, "server.startup = 'needy.Needy'\nmodule.needy.place = 'here'\n", "--show")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"module.needy.place = 'here'  # {tmp_path}/x.conf:2" in result.stdout.splitlines()
