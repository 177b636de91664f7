"""A controller that ends and starts again over a network in use: what is lost, how long it takes, what is sent."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vlcp.lab import BRIDGE, Controller, Hypervisor, Machine
from vlcp.lab.ping import PingResult

NETWORK = {"logicalnetwork": "blue", "subnet": "blue-subnet"}

LOGGING = {
    "formatters": {"line": {"format": "%(created)f %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"vlcp.datapath": {"level": "DEBUG"}},
}
"""The controller's log names every change that a switch has acknowledged; times are seconds since 1970."""

EDITOR = (
    "vlcp.service.sdn.viperflow.ViperFlow",
    "vlcp.service.manage.modulemanager.Manager",
    "vlcp.service.manage.webapi.WebAPI",
)
"""The modules of a process that changes the network in the store, and cares for no switch."""

AFTERWARDS = 0.5
"""Seconds that the machines go on pinging each other when all is done."""

_DIFFERENCE = re.compile(
    r"^([\d.]+) vlcp\.datapath\.switch\S*: Switch connected: .* difference of (\d+) sent$", re.MULTILINE
)
_CHANGE = re.compile(r"^[\d.]+ vlcp\.datapath\.switch\S*: ((?:add|replace|delete) .*)$", re.MULTILINE)
_LOADED = re.compile(r"^([\d.]+) vlcp\.server\.server: \d+ of \d+ startup modules are loaded$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Restart:
    """What a restart has cost.

    `start`, `loaded`: seconds from the new process, and from all its modules being loaded, until all is as it shall be.
    `changes`: what was sent, in the syntax of ovs-ofctl(8). `announced`: the number of changes that the log tells.
    """

    ping: PingResult
    start: float
    loaded: float
    changes: tuple[str, ...]
    announced: int


class PopulatedNetwork:
    """A network of two machines that ping each other, and internal ports that are only there.

    Every port is plugged in from the beginning. `coming` has no logical port yet, `leaving` will lose it.
    """

    def __init__(self, hypervisor: Hypervisor, ports: int) -> None:
        self.hypervisor = hypervisor
        self.controller = Controller(hypervisor, {"server.logging": LOGGING})
        self.ports = ports
        self.coming, self.leaving = "coming", "leaving"
        self.machines: list[Machine] = []
        self.addresses: list[str] = []

    def build(self) -> None:
        """Start the controller, create the network and plug everything in; the machines reach each other then."""
        self.controller.start()
        self.controller.call("viperflow/createphysicalnetwork", type="local", id="here")
        self.controller.call("viperflow/createlogicalnetwork", physicalnetwork="here", id="blue")
        subnet = {"id": "blue-subnet", "cidr": "10.100.0.0/20"}
        self.controller.call("viperflow/createsubnet", logicalnetwork="blue", **subnet)
        silent = [f"t{number}" for number in range(self.ports - 2)]
        made = self._create("alice", "bob", self.leaving, *silent)
        self._plug_internal([self.coming, self.leaving, *silent])
        for port in made[:2]:
            self._add_machine(port)
        self._await_settled()

    def _create(self, *names: str) -> list[dict[str, Any]]:
        ports = [{"id": name, **NETWORK} for name in names]
        made: list[dict[str, Any]] = self.controller.call("viperflow/createlogicalports", ports=ports)
        return made

    def logical_port(self, name: str) -> dict[str, Any]:
        """A logical port as the API lists it."""
        [port] = self.controller.call("viperflow/listlogicalports", id=name)
        assert isinstance(port, dict)
        return port

    def _plug_internal(self, names: Iterable[str]) -> None:
        commands: list[str] = []
        for name in names:
            columns = ("type=internal", f"external_ids:iface-id={name}")
            commands += ["--", "add-port", BRIDGE, name, "--", "set", "Interface", name, *columns]
        self.hypervisor.vsctl(*commands)

    def _add_machine(self, port: dict[str, Any]) -> None:
        machine = self.hypervisor.add_machine(port["id"], mac=port["mac_address"], iface_id=port["id"])
        machine.set_address(f"{port['ip_address']}/20")
        self.machines.append(machine)
        self.addresses.append(port["ip_address"])

    def _await_settled(self) -> None:
        """Wait until the flows do not change any more, and the machines have met."""
        flows: list[str] = []
        while flows != (flows := self.dump()):
            self.machines[0].ping(self.addresses[1], count=3)

    def dump(self) -> list[str]:
        """All flows and groups of the switch."""
        groups = self.hypervisor.ofctl("dump-groups", BRIDGE).splitlines()[1:]
        return sorted([*self.hypervisor.dump_flows(), *(line.strip() for line in groups)])

    def edit_store(self) -> None:
        """While no controller runs, another process adds one logical port to the store and removes one."""
        editor = Controller(self.hypervisor, {"server.startup": EDITOR})
        try:
            editor.start()
            editor.call("viperflow/createlogicalport", id=self.coming, **NETWORK)
            editor.call("viperflow/deletelogicalport", id=self.leaving)
        finally:
            editor.stop()

    def restart(self, *, crash: bool, edit: bool) -> Restart:
        """End the controller, by SIGKILL or in order, and start it again, while the machines ping each other."""
        with self.machines[0].background_ping(self.addresses[1]) as meanwhile:
            if crash:
                self.controller.kill()
            else:
                self.controller.terminate()
            if edit:
                self.edit_store()
            self.controller.log_path.write_text("")
            started = time.time()
            self.controller.start()
            effective, announced = self._await_difference()
            time.sleep(AFTERWARDS)
        log = self.controller.log_path.read_text()
        [loaded] = map(float, _LOADED.findall(log))
        changes = tuple(_CHANGE.findall(log))
        return Restart(meanwhile.result, effective - started, effective - loaded, changes, announced)

    def _await_difference(self) -> tuple[float, int]:
        """When the switch had acknowledged the difference, and how many changes that was."""
        deadline = time.monotonic() + 10
        while not (found := _DIFFERENCE.findall(self.controller.log_path.read_text())):
            assert time.monotonic() < deadline, self.controller.log_tail()
            time.sleep(0.02)
        [(when, sent)] = found
        return float(when), int(sent)
