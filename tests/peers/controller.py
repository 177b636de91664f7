"""A controller as a process of its own, and clients that may be as rude as they like."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

TESTS = Path(__file__).parents[1]
SOURCES = TESTS.parent / "src"
START = [sys.executable, "-c", "from vlcp.cli.start import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{SOURCES}{os.pathsep}{TESTS}"}
VIPERFLOW = "vlcp.service.sdn.viperflow.ViperFlow"
WEBAPI = "vlcp.service.manage.webapi.WebAPI"
MODULES = (
    VIPERFLOW,
    WEBAPI,
    "vlcp.service.manage.modulemanager.Manager",
    "vlcp.service.utils.autoload.AutoLoad",
    "vlcp.service.utils.knowledge.MemoryStorage",
)
WAYS = ("json", "form", "query")
"""How parameters are given."""
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class Answer(NamedTuple):
    """What came back, and the seconds that it took."""

    status: int
    body: Any
    seconds: float


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_text(params: dict[str, Any]) -> str:
    """Parameters as a query or a form has them: what is no text is a back-quoted literal."""
    texts = {
        name: value if isinstance(value, str) else f"`{value!r}`"
        for name, value in params.items()
        if value is not None
    }
    return urlencode(texts)


class Controller:
    """A running `vlcp-start`; it keeps its configuration, store and log in a directory.

    Its configuration file is `sample`, what it needs here, and `more`, in this order: later lines win.
    `up` is the API that tells that it is up.
    """

    def __init__(
        self,
        directory: Path,
        startup: tuple[str, ...] = MODULES,
        more: str = "",
        up: str = "viperflow/listphysicalnetworks",
        sample: str = "",
    ) -> None:
        self.port = free_port()
        self._log = directory / "log"
        self.file = directory / "vlcp.conf"
        self.file.write_text(
            f"{sample}server.startup = {startup!r}\n"
            "proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'\n"
            f"module.embeddeddb.path = '{directory}/vlcp.db'\n"
            "module.httpserver.url = None\n"
            f"module.httpserver.vhost.api.url = 'tcp://localhost:{self.port}'\n"
            f"{more}"
        )
        with self._log.open("w") as log:
            self.process = subprocess.Popen([*START, "-f", str(self.file)], env=ENVIRONMENT, stderr=log)
        self._wait(up)

    def _wait(self, up: str) -> None:
        limit = time.monotonic() + 30
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                if self.call(up).status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"it does not answer: {self.log()}")

    def call(self, path: str, how: str = "json", /, **params: Any) -> Answer:
        """Call an API with parameters in one of the `WAYS`."""
        if how == "query":
            return self.request("GET", f"/{path}?{as_text(params)}")
        body, kind = (json.dumps(params), JSON) if how == "json" else (as_text(params), FORM)
        return self.request("POST", f"/{path}", body.encode(), {"Content-Type": kind})

    def result(self, path: str, /, **params: Any) -> Any:
        """The result of a call that succeeds."""
        answer = self.call(path, **params)
        assert answer.status == 200, answer
        return answer.body["result"]

    def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        begin = time.monotonic()
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            text = response.read()
            return Answer(response.status, json.loads(text), time.monotonic() - begin)
        finally:
            connection.close()

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection on which some bytes were sent."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(data)
        return client

    def raw(self, data: bytes) -> bytes:
        """Everything that the controller answers to some bytes until it closes the connection."""
        with self.connect(data) as client:
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
            return answer

    def content(self) -> dict[str, Any]:
        """Every key of the store with its value."""
        keys = self.result("kvstorage/listallkeys")
        return dict(zip(keys, self.result("kvstorage/mget", keys=keys), strict=True))

    def memory(self) -> int:
        """The largest memory that the process ever had, in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def end(self) -> int:
        """Stop it; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)
