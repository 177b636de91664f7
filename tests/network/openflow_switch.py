"""A private Open vSwitch without packets: its own database and daemon, a bridge of dummy ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlcp.link.address import Address
from vlcp.link.openflow import MessageHandler, OpenFlowConnection, connect

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PORTS = 8


class Switch:
    """One bridge, `br0`, with ports p1 to p8, numbered likewise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._run("ovsdb-tool", "create", f"{self.directory}/conf.db", SCHEMA)
        remote = f"--remote=punix:{self.directory}/db.sock"
        self._daemon(
            "ovsdb-server", f"{self.directory}/conf.db", remote, f"--unixctl={self.directory}/db.ctl"
        )
        self._await("db.sock")
        self.vsctl("--no-wait", "init")
        options = ("--enable-dummy=override", "--disable-system", f"--unixctl={self.directory}/vs.ctl")
        self._daemon("ovs-vswitchd", f"unix:{self.directory}/db.sock", *options)
        bridge = ("datapath_type=dummy", "protocols=OpenFlow10,OpenFlow13,OpenFlow14", "fail-mode=secure")
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", *bridge)
        for number in range(1, PORTS + 1):
            self.add_port(f"p{number}", number)
        self._await("br0.mgmt")

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(10)

    @property
    def address(self) -> Address:
        return Address("unix", path=f"{self.directory}/br0.mgmt")

    async def connect(self, on_message: MessageHandler | None = None) -> OpenFlowConnection:
        return await connect(self.address, on_message)

    def add_port(self, name: str, number: int) -> None:
        options = ("type=dummy", f"ofport_request={number}")
        self.vsctl("add-port", "br0", name, "--", "set", "Interface", name, *options)

    def vsctl(self, *arguments: str) -> str:
        return self._run("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=10", *arguments)

    def ofctl(self, command: str, *arguments: str) -> str:
        return self._run(
            "ovs-ofctl", "-O", "OpenFlow13", command, f"unix:{self.directory}/br0.mgmt", *arguments
        )

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _daemon(self, *command: str) -> None:
        output: Any = (self.directory / f"{command[0]}.log").open("wb")
        with output:
            quiet = ("--no-chdir", "-vsyslog:off")
            self._daemons.append(
                subprocess.Popen([*command, *quiet], env=self._environment, stdout=output, stderr=output)
            )

    @property
    def _environment(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        return {**os.environ, **dict.fromkeys(names, str(self.directory))}

    def _await(self, name: str) -> None:
        command = f"for i in $(seq 500); do test -S {self.directory}/{name} && exit; sleep 0.01; done; exit 1"
        self._run("sh", "-c", command)


@contextmanager
def private_switch() -> Iterator[Switch]:
    """A switch that runs; in the end nothing of it is left."""
    directory = Path(tempfile.mkdtemp(prefix="ofsw"))
    switch = Switch(directory)
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()
        shutil.rmtree(directory)
