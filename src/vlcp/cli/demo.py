"""`vlcp demo`: a whole small network on this machine, from nothing to a ping, shown step by step."""

from __future__ import annotations

import shlex
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlcp.cli.packages import dhcp_client, install_missing
from vlcp.cli.picture import DrawnBridge, DrawnMachine, draw
from vlcp.cli.steps import Steps
from vlcp.lab import BRIDGE, Controller, ControllerError, Hypervisor, Lab, LabError, Machine
from vlcp.lab.controller import form

NETWORK = (
    ("createphysicalnetwork", {"id": "demo", "type": "local"}),
    ("createlogicalnetwork", {"id": "blue", "physicalnetwork": "demo"}),
    ("createsubnet", {"id": "blue-subnet", "logicalnetwork": "blue", "cidr": "10.100.0.0/24"}),
)
"""The calls that make the network, in order."""

MACHINES = ("alice", "bob")

_SHOWN = ("id", "type", "physicalnetwork", "logicalnetwork", "subnet", "cidr", "mac_address", "ip_address")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INFINITE = 0xFFFFFFFF  # the lease time of a lease without end, RFC 2131 section 3.3
_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


@click.command()
@click.option(
    "--keep", is_flag=True, envvar="KEEP", help="Keep the network until Ctrl-C (KEEP=1 does the same)."
)
def demo(keep: bool) -> None:
    """Build a small network on this machine, show it, and remove it again.

    A private Open vSwitch, the controller and two machines run in network namespaces of their own; nothing else on the
    machine is touched. Missing programs are installed with apt-get. Needs root.
    """
    sys.exit(Demonstration(Steps()).run(keep=keep))


class Demonstration:
    """One run of the demonstration."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.controller: Controller | None = None
        self._log = ""

    def run(self, *, keep: bool) -> int:
        """Build, show, keep if wanted, and remove all of it, whatever happens. Gives the exit status."""
        with _interruptible():
            try:
                install_missing(self.steps)
                with Lab("demo") as lab, self._ending_in_order():
                    self._build(lab)
                    if keep:
                        self._keep(lab.hypervisors[0])
            except LabError as error:
                self.steps.failed(str(error), self._log)
                return 1
            except KeyboardInterrupt:
                self.steps.console.print("Interrupted; everything is removed again.")
                return _INTERRUPTED
        self.steps.console.print("Everything is removed again.")
        return 0

    def _build(self, lab: Lab) -> None:
        with self.steps.step("Start Open vSwitch"):
            hypervisor = lab.add_hypervisor()
        with self.steps.step("Start the controller"):
            self.controller = Controller(hypervisor)
            self.controller.start()
        with self.steps.step("Create the network"):
            for api, parameters in NETWORK:
                self._call(api, parameters)
        with self.steps.step("Create the logical ports"):
            ports = [self._call("createlogicalport", _port(title)) for title in MACHINES]
        with self.steps.step("Plug in the machines"):
            machines = [self._plug(hypervisor, port) for port in ports]
        with self.steps.step("Get addresses by DHCP"):
            for machine, port in zip(machines, ports, strict=True):
                self._lease(machine, port)
        with self.steps.step("Ping both ways"):
            drawn = [
                self._ping(machine, to) for machine, to in zip(machines, reversed(machines), strict=True)
            ]
        draw(drawn, self._bridge(hypervisor), self.steps.done, self.steps.console)

    def _call(self, api: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Call the web API and show the same call as a user types it."""
        assert self.controller is not None
        url = f"{self.controller.url}/viperflow/{api}"
        self.steps.detail(shlex.join(["curl", "-g", "-d", form(parameters), url]), style="cyan")
        answer: dict[str, Any] = self.controller.call(f"viperflow/{api}", **parameters)
        short = (f"{key}={answer[key]}" for key in _SHOWN if answer.get(key) is not None)
        self.steps.detail(f"-> {', '.join(short)}, ...")
        return answer

    def _plug(self, hypervisor: Hypervisor, port: dict[str, Any]) -> Machine:
        machine = hypervisor.add_machine(port["id"], mac=port["mac_address"], iface_id=port["id"])
        self.steps.detail(
            f"{machine.title} is on {machine.interface} of {BRIDGE}, external_ids:iface-id={port['id']}"
        )
        return machine

    def _lease(self, machine: Machine, port: dict[str, Any]) -> None:
        client = dhcp_client() or "dhclient"
        lease = machine.dhcp(client)
        if lease.address.partition("/")[0] != port["ip_address"]:
            raise LabError(
                f"{machine.title} got {lease.address}, but its logical port has {port['ip_address']}"
            )
        term = "without end" if lease.seconds == _INFINITE else f"for {lease.seconds} s"
        self.steps.detail(f"{machine.title}: {client} got {lease.address} {term} from {lease.server}")

    def _ping(self, machine: Machine, to: Machine) -> DrawnMachine:
        address, destination = machine.addresses[0], to.addresses[0].partition("/")[0]
        result = machine.ping(destination, count=5, interval=0.05)
        if result.lost:
            raise LabError(
                f"{machine.title} -> {destination}: {result.lost} of {result.sent} pings were lost"
            )
        median = statistics.median(result.rtts)
        self.steps.detail(
            f"{machine.title} -> {destination}: {result.received} of {result.sent}, {median:.2f} ms"
        )
        number = machine.switch.port_number(machine.interface)
        return DrawnMachine(machine.title, address, machine.mac, machine.interface, number, median)

    def _bridge(self, hypervisor: Hypervisor) -> DrawnBridge:
        assert self.controller is not None
        return DrawnBridge(
            name=BRIDGE,
            network="logical network blue, 10.100.0.0/24",
            controller=f"{self.controller.url}, process {self.controller.pid}",
            flows=hypervisor.flows_per_table(),
            table_names=self._table_names(),
        )

    def _table_names(self) -> dict[int, str]:
        """Names of the flow tables from the controller; none when it has no module that tells."""
        assert self.controller is not None
        try:
            tables, _ = self.controller.call("openflowmanager/lastacquiredtables")
        except ControllerError:
            return {}
        return {number: name for name, number in tables}

    def _keep(self, hypervisor: Hypervisor) -> None:
        """Say what to try, and wait for Ctrl-C. ControllerError when the controller ends meanwhile."""
        controller = self.controller
        assert controller is not None
        self.steps.begin("Keep the network")
        console = self.steps.console
        console.print("\nTry this in another terminal; Ctrl-C here removes everything:")
        for command in _suggestions(hypervisor, controller):
            console.print(f"    {command}", style="cyan", markup=False, soft_wrap=True)
        try:
            while controller.is_running():
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
        raise ControllerError("the controller ended by itself")

    @contextmanager
    def _ending_in_order(self) -> Iterator[None]:
        """Afterwards the controller is stopped, its last words are kept, and signals no longer disturb the cleaning."""
        try:
            yield
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            if self.controller is not None:
                self._log = self.controller.log_tail()
                self.controller.stop()


def _port(title: str) -> dict[str, str]:
    return {"id": title, "logicalnetwork": "blue", "subnet": "blue-subnet"}


def _suggestions(hypervisor: Hypervisor, controller: Controller) -> Iterator[str]:
    machines = list(hypervisor.machines.values())
    yield f"ip netns exec {machines[0].name} ping {machines[1].addresses[0].partition('/')[0]}"
    yield from (f"ip netns exec {machine.name} sh" for machine in machines)
    yield f"curl -g '{controller.url}/viperflow/listlogicalports'"
    yield f"OVS_RUNDIR={hypervisor.run_directory} ovs-ofctl -O OpenFlow13 dump-flows {BRIDGE}"
    yield f"ovs-vsctl --db={hypervisor.database} show"
    yield f"tail -f {controller.log_path}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does, also where a shell had made it deaf to it."""
    before = [signal.signal(number, signal.default_int_handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
