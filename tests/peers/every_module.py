"""A controller with every module that exists, and the APIs that users of earlier versions know."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers.controller import Controller, free_port
from peers.database import DATAPATH, DatabaseBeside
from sim.fakeswitch import FakeSwitch
from vlcp.server.finder import find
from vlcp.server.module import NoSuchModuleError

KNOWN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "apis.json").read_text())
"""`modules`: loading path -> API -> parameters; `proxies`: loading path -> the module that it stands for."""
ENDS = "vlcp.scripts.script.ScriptModule"
"""The base of scripts: the server ends with it."""
EMBEDDED = "vlcp.service.kvdb.embeddeddb.EmbeddedDB"
WIRED = "unit.model.wired.WiredDriver"
"""A driver of the tests, for physical networks that may have physical ports."""


def name(path: str) -> str:
    """The name of the module at a loading path."""
    return path.rpartition(".")[2].lower()


def exists(path: str) -> bool:
    """Whether there is a module class at a loading path."""
    try:
        find(path)
    except NoSuchModuleError:
        return False
    return True


class SwitchBeside:
    """A switch that runs in a thread of its own."""

    def __init__(self, path: str) -> None:
        self._switch = FakeSwitch(path, DATAPATH)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="switch")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._switch.connect(), self._loop).result(10)

    def end(self) -> None:
        """Close the connection and wait for the end of the thread."""
        asyncio.run_coroutine_threadsafe(self._switch.disconnect(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def everything(directory: Path) -> Iterator[Controller]:
    """A running controller with all of them, a switch and its database. What listens, listens at places of its own."""
    paths = [
        path for path in (*KNOWN["modules"], *KNOWN["proxies"], EMBEDDED) if path != ENDS and exists(path)
    ]
    port = free_port()
    own = {
        "module.httpserver.url": f"tcp://127.0.0.1:{free_port()}",
        "module.httpserver.vhost.api.urls": (f"tcp://127.0.0.1:{port}",),
        "module.remotecall.target_url_map": {"knowledge": (f"http://127.0.0.1:{port}",)},
        "module.openflowserver.url": f"unix://{directory}/openflow",
        "module.jsonrpcserver.url": f"unix://{directory}/jsonrpc",
        "module.jsonrpcserver.vhost.database.ovsdb": True,
        "module.jsonrpcserver.vhost.database.url": f"unix://{directory}/database",
        "module.console.telnetconsole": "tcp://127.0.0.1:0",
        "module.static.relativeroot": str(directory),
        **{
            f"module.{name(path)}.vhost.spare.url": f"unix://{directory}/spare{name(path)}"
            for path in paths
            if path.startswith("vlcp.service.connection.")
        },
    }
    lines = "".join(f"{key} = {value!r}\n" for key, value in own.items())
    running = Controller(directory, (*paths, WIRED), lines)
    try:
        switch = SwitchBeside(f"{directory}/openflow")
        try:
            database = DatabaseBeside(f"{directory}/database")
            try:
                yield running
            finally:
                database.end()
        finally:
            switch.end()
        assert "Traceback" not in running.log()
    finally:
        assert running.end() == 0, running.log()
