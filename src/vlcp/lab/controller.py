"""The controller under test: the real `vlcp-start` as a process of its own beside a hypervisor, used over HTTP."""

from __future__ import annotations

import http
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from vlcp.lab.command import LabError
from vlcp.lab.hypervisor import Hypervisor
from vlcp.lab.openvswitch import BRIDGE

STARTUP = (
    "vlcp.service.sdn.viperflow.ViperFlow",
    "vlcp.service.sdn.ioprocessing.IOProcessing",
    "vlcp.service.sdn.l2switch.L2Switch",
    "vlcp.service.sdn.arpresponder.ARPResponder",
    "vlcp.service.sdn.dhcpserver.DHCPServer",
    "vlcp.service.manage.modulemanager.Manager",
    "vlcp.service.manage.webapi.WebAPI",
    "vlcp.service.utils.autoload.AutoLoad",
)
"""The modules of a small network: API, layer 2, ARP and DHCP."""

_START = "import sys; from vlcp.cli.start import main; sys.exit(main())"
_SETTLED = ("succeeded", "failed")


class ControllerError(LabError):
    """The controller did not start, ended, or refused a call; `status` is the HTTP status of a refusal."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class Controller:
    """One controller process for one hypervisor.

    It runs outside of the hypervisor's namespace, so its web API at `url` is within reach of a plain curl; OVSDB and
    OpenFlow use Unix sockets of the hypervisor. Store, configuration and log are in `directory`.

    `answer_limit` is how many seconds a call waits for its answer. `settings` are configuration keys that are added to
    the generated ones or replace them.
    """

    def __init__(self, hypervisor: Hypervisor, settings: Mapping[str, object] | None = None) -> None:
        self.hypervisor = hypervisor
        self.directory = hypervisor.directory
        self.url = f"http://localhost:{_free_port()}"
        self.config_path = self.directory / "vlcp.conf"
        self.log_path = self.directory / "vlcp.log"
        self.settings = {**self._default_settings(), **(settings or {})}
        self.answer_limit = 30.0
        self.source = Path(__file__).parents[2]
        """Where the process imports vlcp from."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 30.0) -> None:
        """Start the process and wait until its modules are loaded and the switch is connected.

        ControllerError with the reason and the end of the log when that does not happen within `timeout` seconds.
        """
        if self.is_running():
            raise ControllerError("the controller runs already")
        lines = (f"{key}={value!r}\n" for key, value in self.settings.items())
        self.config_path.write_text("".join(lines))
        self._process = self._spawn()
        deadline = time.monotonic() + timeout
        self._await(self._modules_missing, deadline)
        self._introduce()
        datapath_id = self.hypervisor.datapath_id()
        self._await(lambda: self._switch_missing(datapath_id), deadline)

    def terminate(self, *, timeout: float = 10.0) -> int:
        """Stop the process in order (SIGTERM) and give its exit status; killed when it takes longer than `timeout`."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL, 10.0)

    def stop(self) -> None:
        """Stop the process in order if it runs; no harm if it does not."""
        if self.is_running():
            self.terminate()

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; ControllerError when it was never started."""
        if self._process is None:
            raise ControllerError("the controller was not started")
        return self._process.pid

    def call(self, target: str, /, **parameters: object) -> Any:
        """Call `module/api` as a user does, with a form over HTTP, and give the `result` of the answer.

        ControllerError with the text of the `error`, and with `status`, when the call is refused, or without when there
        is no answer within `answer_limit` seconds.
        """
        body = form(parameters).encode()
        request = urllib.request.Request(f"{self.url}/{target}", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.answer_limit) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                text = _error_text(refusal.read())
            raise ControllerError(f"{target}: {refusal.code}: {text}", refusal.code) from None
        except (OSError, http.client.HTTPException) as failure:
            raise ControllerError(f"{target}: no answer from {self.url}: {failure}") from None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the process wrote."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    @property
    def _openflow_socket(self) -> Path:
        return self.hypervisor.run_directory / "openflow.sock"

    def _default_settings(self) -> dict[str, object]:
        return {
            "server.startup": STARTUP,
            "proxy.kvstorage": "vlcp.service.kvdb.embeddeddb.EmbeddedDB",
            "module.embeddeddb.path": str(self.directory / "vlcp.db"),
            "module.httpserver.url": None,
            "module.httpserver.vhost.api.url": self.url.replace("http", "tcp"),
            "module.jsonrpcserver.ovsdb": True,
            "module.jsonrpcserver.client": True,
            "module.jsonrpcserver.url": f"unix://{self.hypervisor.run_directory}/db.sock",
            "module.openflowserver.url": f"unix://{self._openflow_socket}",
        }

    def _spawn(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [str(self.source), os.environ.get("PYTHONPATH")]))
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _START, "-f", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.hypervisor.env, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C on the terminal is for us; we end our children in order
            )

    def _introduce(self) -> None:
        """Name the controller to the switch, once and only when it listens: Open vSwitch 3.1 tries again after 1, 2, 4,
        8 seconds, whatever `max_backoff` says."""
        url = f"unix:{self._openflow_socket}"
        if self.hypervisor.vsctl("get-controller", BRIDGE) != url:
            self.hypervisor.set_controller(url)

    def _await(self, missing: Callable[[], str | None], deadline: float) -> None:
        while (what := missing()) is not None:
            if not self.is_running():
                raise ControllerError(f"the controller ended at once; its log:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ControllerError(
                    f"not ready in time, still waiting for {what}; the log:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    def _switch_missing(self, datapath_id: str) -> str | None:
        """Ask the controller: `is_connected` in the switch's database is up to five seconds old."""
        try:
            switches: list[dict[str, Any]] = self.call("openflowmanager/status")
        except ControllerError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None  # the settings load no module that wants switches
            raise
        ours = [switch for switch in switches if switch["datapath_id"] == datapath_id]
        ready = any(switch["connected"] and switch["settled"] for switch in ours)
        return None if ready else f"the switch to be connected and settled (now: {ours or 'not connected'})"

    def _modules_missing(self) -> str | None:
        """What is still missing; None when nothing is. ControllerError when a module has failed for good."""
        try:
            modules: dict[str, dict[str, Any]] = self.call("manager/status")
        except ControllerError as error:
            return f"the web API ({error})"
        failed = [
            f"{name}: {state['error']}" for name, state in modules.items() if state["state"] == "failed"
        ]
        if failed:
            raise ControllerError(f"modules failed: {'; '.join(failed)}; the log:\n{self.log_tail()}")
        loading = [name for name, state in modules.items() if state["state"] not in _SETTLED]
        return f"the modules {', '.join(loading)}" if loading else None

    def _end(self, signal_number: int, timeout: float) -> int:
        if self._process is None:
            raise ControllerError("the controller was not started")
        self._process.send_signal(signal_number)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ControllerError(
                f"the controller did not end within {timeout:g} s; the log:\n{self.log_tail()}"
            ) from None


def form(parameters: Mapping[str, object]) -> str:
    """Parameters as a form: text as it is, anything else as a Python literal between back-quotes, as the web API takes
    them."""
    return urlencode({key: quoted(value) for key, value in parameters.items()}, safe="/:`,", quote_via=quote)


def quoted(value: object) -> str:
    """One value as the web API takes it in a form."""
    return value if isinstance(value, str) else f"`{value!r}`"


def _error_text(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "no explanation"


def _free_port() -> int:
    """A TCP port that is free now; nothing keeps it free until the controller listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
