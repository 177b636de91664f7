"""The commands as processes: exit statuses, messages, signals, and a running controller."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vlcp.cli import quickstart

SOURCES = Path(__file__).parents[3] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONWARNINGS": "error"}
START = "from vlcp.cli.start import main; main()"
MANAGER = "vlcp.service.manage.modulemanager.Manager"
WEBAPI = "vlcp.service.manage.webapi.WebAPI"


def vlcp(*arguments: str, program: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = ["-c", program] if program else ["-m", "vlcp"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Controller:
    """A running process with the web API at `url`."""

    def __init__(self, directory: Path, *modules: str, more: str = "") -> None:
        port = free_port()
        self.url = f"http://localhost:{port}"
        startup = (MANAGER, WEBAPI, *modules)
        file = directory / "vlcp.conf"
        file.write_text(
            f"server.startup = {startup!r}\nmodule.httpserver.url = None\n"
            f"module.httpserver.vhost.api.url = 'tcp://localhost:{port}'\n{more}",
        )
        self.log = (directory / "log").open("w+")
        command = [sys.executable, "-m", "vlcp", "start", "-f", str(file)]
        environment = {**ENVIRONMENT, "PYTHONPATH": f"{SOURCES}:{directory}"}
        self.process = subprocess.Popen(command, env=environment, stderr=self.log)
        self._wait()

    def _wait(self) -> None:
        limit = time.monotonic() + 15
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                self.get("manager/activemodules")
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"it does not answer: {self.text()}")

    def get(self, path: str) -> object:
        """The result of an API."""
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=5) as answer:
            return json.load(answer)["result"]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """The exit status after a signal, and the seconds that it took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(10), time.monotonic() - begin

    def text(self) -> str:
        """What it logged."""
        return Path(self.log.name).read_text()

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    running: list[Controller] = []

    def begin(*modules: str, more: str = "") -> Controller:
        running.append(Controller(tmp_path, *modules, more=more))
        return running[-1]

    yield begin
    for controller in running:
        controller.end()


# What is wrong before anything starts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = [1", "x.conf:1: the value is not a Python literal"),
        ("server.startup = ()", "x.conf:1: server.startup is empty"),
        ("server.startup = (1,)", "x.conf:1: server.startup must be a tuple of loading paths"),
        ("server.startup = 'Manager'", "give the full loading path"),
        (f"server.startup = '{MANAGER}s'", f"did you mean {MANAGER}?"),
        ("server.startup = 'vlcp.service.manage.modulemanger.Manager'", f"did you mean {MANAGER}?"),
        (
            f"server.startup = '{MANAGER}'\nserver.logging.root = {{'handlers': ['x']}}",
            "x.conf:2: server.logging",
        ),
        (f"server.startup = '{MANAGER}'\nserver.ulimitn = 'x'", "x.conf:2: server.ulimitn"),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "x.conf"
    file.write_text(text)
    result = vlcp("start", "-f", str(file))
    assert (result.returncode, result.stdout) == (1, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_file() -> None:
    result = vlcp("-f", "/nosuch.conf", program=START)
    assert (result.returncode, result.stderr) == (
        1,
        "vlcp: cannot read /nosuch.conf: No such file or directory\n",
    )


def test_a_module_file_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nosuchpackage\n")
    result = vlcp("start", "-f", "", "broken.Thing", PYTHONPATH=f"{SOURCES}:{tmp_path}")
    assert result.returncode == 1
    assert (
        result.stderr == "vlcp: cannot load 'broken.Thing': broken needs 'nosuchpackage', which is missing\n"
    )


def test_nothing_starts_when_one_path_is_wrong(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "x.conf"
    file.write_text(f"module.httpserver.url = 'tcp://localhost:{port}'\n")
    result = vlcp("start", "-f", str(file), WEBAPI, "no.such.Module")
    assert (result.returncode, "no Python module 'no'" in result.stderr) == (1, True)


def test_help_and_version() -> None:
    for arguments, program in [
        (("--help",), None),
        (("-h",), START),
        (("-?",), START),
        (("call", "-h"), None),
    ]:
        result = vlcp(*arguments, program=program)
        assert (result.returncode, result.stderr) == (0, "")
        assert "Usage: vlcp" in result.stdout
    assert vlcp("--version").stdout.startswith("vlcp ")


def test_help_is_quick() -> None:
    """What takes time is to import: nothing is, but what any command needs and the list of the commands itself."""

    def imported(program: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-c", program, "--help"]
        result = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=True
        )
        return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}

    plain = imported("import click; click.command(epilog='x')(lambda: None)()")
    ours = imported("from vlcp.cli.main import main; main()")
    assert ours - plain == {"vlcp", "vlcp.cli", "vlcp.cli.main"}


def test_quick_start_needs_a_directory() -> None:
    if Path("/etc/vlcp.conf").exists():
        pytest.skip("this machine has a configuration file")
    result = vlcp("start", VLCP_HOME="/dev/null/x")
    assert result.returncode == 1
    assert "set VLCP_HOME to another directory" in result.stderr


# A running controller


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(start: Callable[..., Controller], number: signal.Signals) -> None:
    controller = start()
    status, seconds = controller.stop(number)
    assert (status, controller.text()) == (0, "")
    assert seconds < 5


def test_a_signal_ends_it_under_load(start: Callable[..., Controller]) -> None:
    controller = start()
    clients = [
        socket.create_connection(("localhost", int(controller.url[-5:].lstrip(":")))) for _ in range(50)
    ]
    request = b"GET /manager/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for client in clients:
        client.sendall(request * 20)
    ready, _, _ = select.select(clients, [], [], 5)
    assert ready
    status, seconds = controller.stop()
    for client in clients:
        client.close()
    assert status == 0
    assert seconds < 5


def test_a_module_that_hangs_does_not_keep_the_process(
    tmp_path: Path, start: Callable[..., Controller]
) -> None:
    (tmp_path / "stuck.py").write_text(
        "import asyncio\nfrom vlcp.server.module import Module\n"
        "class Stuck(Module):\n    async def unload(self):\n        await asyncio.sleep(60)\n"
    )
    controller = start("stuck.Stuck", more="module.stuck.unloadtimeout = 0.3\n")
    status, seconds = controller.stop()
    assert status == 0
    assert seconds < 5
    assert "unload took longer than 0.3 s (unloadtimeout)" in controller.text()


def test_a_process_that_hangs_shows_where_and_ends(tmp_path: Path, start: Callable[..., Controller]) -> None:
    (tmp_path / "frozen.py").write_text(
        "import time\nfrom vlcp.server.module import Module\n"
        "class Frozen(Module):\n    async def unload(self):\n        time.sleep(60)\n"
    )
    controller = start("frozen.Frozen")
    status, seconds = controller.stop()
    assert (status, seconds < 6) == (1, True)
    assert "frozen.py" in controller.text()


def test_a_module_sees_whether_the_process_stops(tmp_path: Path, start: Callable[..., Controller]) -> None:
    (tmp_path / "spy.py").write_text(
        "from vlcp.server.module import Module\n"
        "class Spy(Module):\n    async def unload(self):\n"
        "        self.logger.warning('stopping: %s', self.server.stopping)\n"
    )
    controller = start("spy.Spy")
    controller.get("manager/unloadmodule?path=spy.Spy")
    assert "stopping: False" in controller.text()
    controller.get("manager/loadmodule?path=spy.Spy")
    controller.stop()
    assert "stopping: True" in controller.text()


def test_one_failed_module_leaves_the_others_running(
    tmp_path: Path, start: Callable[..., Controller]
) -> None:
    (tmp_path / "bad.py").write_text(
        "from vlcp.server.module import Module\n"
        "class Bad(Module):\n    async def load(self):\n        raise OSError('no disk')\n"
    )
    controller = start("bad.Bad")
    status = controller.get("manager/status")
    assert isinstance(status, dict)
    assert (status["bad"]["state"], status["bad"]["error"]) == ("failed", "OSError: no disk")
    assert "vlcp call manager/loadmodule path=bad.Bad" in controller.text()
    assert controller.stop()[0] == 0


def test_a_port_in_use_and_nothing_else_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        file = tmp_path / "x.conf"
        file.write_text(f"module.httpserver.url = '{url}'\nprotocol.http.listen_persist = False\n")
        result = vlcp("start", "-f", str(file), WEBAPI)
    assert result.returncode == 1
    assert f"{file}:1: module.httpserver.url = '{url}': " in result.stderr
    assert "ddress already in use" in result.stderr
    assert "no startup module could be loaded" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_manager_unloads_itself_and_the_rest_runs_on(start: Callable[..., Controller]) -> None:
    controller = start()
    controller.get(f"manager/unloadmodule?path={MANAGER}")
    assert controller.get("webapi/discover") == controller.get("webapi/discover?details=")
    assert controller.stop()[0] == 0


def test_call_prints_tables_and_json(start: Callable[..., Controller]) -> None:
    controller = start()
    table = vlcp("call", "manager/status", VLCP_URL=controller.url)
    assert table.returncode == 0
    assert table.stdout.splitlines()[0].split()[:4] == ["path", "state", "since", "error"]
    assert any(line.split()[:3] == ["webapi", WEBAPI, "succeeded"] for line in table.stdout.splitlines())
    servers = vlcp("call", "httpserver/getservers", "vhost=api", "--json", "--url", controller.url)
    assert json.loads(servers.stdout)[0]["listening"] is True
    assert vlcp("call", "httpserver/stoplisten", "vhost=", VLCP_URL=controller.url).stdout == "0\n"
    refused = vlcp("call", "httpserver/stoplisten", "vhost=other", VLCP_URL=controller.url)
    assert (refused.returncode, "no virtual host 'other'; it has '', 'api'" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("manager/nosuch",), 1, "'nosuch' is not defined in module 'manager'"),
        (("manager/loadmodule", "path=x.Y"), 1, "there is no Python module 'x'"),
        (("manager/loadmodule", "path"), 2, "parameters are KEY=VALUE"),
        (("manager/loadmodule", "path:=["), 2, "the value is not JSON"),
        (("manager",), 2, "name the module and its API"),
    ],
)
def test_call_tells_what_is_wrong(
    start: Callable[..., Controller], arguments: tuple[str, ...], status: int, told: str
) -> None:
    result = vlcp("call", *arguments, VLCP_URL=start().url)
    assert (result.returncode, result.stdout) == (status, "")
    assert told in result.stderr


def test_call_without_a_controller() -> None:
    result = vlcp("call", "manager/status", VLCP_URL=f"http://localhost:{free_port()}")
    assert result.returncode == 1
    assert "Connection refused; is the controller running (`vlcp start`)" in result.stderr


def test_the_store_of_a_quick_start_is_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background as well, where a relative path would mean something else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLCP_HOME", "here")
    assert quickstart.configuration().get("module.embeddeddb.path") == f"{tmp_path}/here/vlcp.db"
    assert (tmp_path / "here").is_dir()
