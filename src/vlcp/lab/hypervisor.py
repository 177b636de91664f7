"""A hypervisor: an Open vSwitch with one bridge for a controller, and the machines that are plugged into it."""

from __future__ import annotations

from pathlib import Path

from vlcp.lab.machine import Machine
from vlcp.lab.namespace import sysctl
from vlcp.lab.openvswitch import BRIDGE, OpenVSwitch


class Hypervisor(OpenVSwitch):
    """One hypervisor of a lab. A fresh one has the bridge `br0` in fail mode `secure`: without flows nothing passes."""

    def __init__(self, name: str, lab: str, directory: Path) -> None:
        super().__init__(name, lab, directory, system_id=name)
        self.machines: dict[str, Machine] = {}
        self._lab = lab
        self._interfaces = 0

    def start(self) -> None:
        """Start the switch and create the bridge."""
        super().start()
        with self.entered():
            # The kernel of this namespace also sees the frames that the switch takes from a veth. By default it would
            # answer ARP for any of its addresses there, beside the switch.
            sysctl("net/ipv4/conf/all/arp_ignore", 1)
        properties = ["datapath_type=netdev", "fail_mode=secure"]
        self.vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, *properties)

    def stop(self) -> None:
        """Remove the machines, then the switch."""
        for title in list(self.machines):
            self.remove_machine(title)
        super().stop()

    def set_controller(self, *urls: str) -> None:
        """Let the bridge connect to OpenFlow controllers, e.g. `tcp:127.0.0.1:6653`; without any, to none.

        Of Unix sockets (`unix:/path`) Open vSwitch takes only those below its own run directory.
        """
        self.vsctl("set-controller" if urls else "del-controller", BRIDGE, *urls)

    def add_machine(
        self,
        title: str,
        *,
        mac: str | None = None,
        address: str | None = None,
        iface_id: str | None = None,
        mtu: int = 1500,
        plug: bool = True,
    ) -> Machine:
        """Create a machine and, unless told otherwise, plug it in; see `Machine.plug` and `Machine.set_address`.

        `title` names it inside the lab: lower-case letters, digits and `-`, beginning with a letter.
        """
        self._interfaces += 1
        machine = Machine(title, self._lab, self, f"v{self._interfaces}")
        self.machines[title] = machine
        machine.start(mac=mac, mtu=mtu)
        if address:
            machine.set_address(address)
        if plug:
            machine.plug(iface_id)
        return machine

    def remove_machine(self, title: str) -> None:
        """Unplug and remove a machine."""
        self.machines.pop(title).stop()
