"""A machine: a network namespace with one network card, which is a veth whose other end is a port of a bridge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vlcp.lab import dhcp
from vlcp.lab.capture import Capture
from vlcp.lab.namespace import Namespace, transmit_checksum_off
from vlcp.lab.openvswitch import BRIDGE, OpenVSwitch
from vlcp.lab.ping import BackgroundPing, PingResult, ping

DEVICE = "eth0"
"""The network card inside a machine."""


class Machine(Namespace):
    """A machine beside a switch. `interface` is its port's name on the switch, `title` its name inside the lab."""

    def __init__(self, title: str, lab: str, switch: OpenVSwitch, interface: str) -> None:
        super().__init__(f"{lab}-{title}", lab)
        self.title, self.switch, self.interface = title, switch, interface

    def start(self, *, mac: str | None, mtu: int) -> None:
        """Create the namespace and the cable; the port is not yet in the bridge."""
        self.create()
        self.switch.ip(
            f"link add {self.interface} type veth peer name {DEVICE} netns {self.name}",
            f"link set {self.interface} mtu {max(mtu, 1500)} up",
        )
        self.ip(f"link set {DEVICE} {f'address {mac}' if mac else ''} mtu {mtu} up")
        with self.entered():
            transmit_checksum_off(DEVICE)

    def stop(self) -> None:
        """Take the port out of the bridge and remove the namespace; the cable goes with it."""
        self.unplug()
        self.delete()

    def plug(self, iface_id: str | None = None, *, bridge: str = BRIDGE) -> None:
        """Put the port into a bridge, in one OVSDB transaction with the identity that a controller looks for.

        `iface_id` is the `external_ids:iface-id` of ovs-vswitchd.conf.db(5): the id of the logical port.
        """
        identity = (
            {"iface-id": iface_id, "attached-mac": self.mac, "iface-status": "active"} if iface_id else {}
        )
        columns = [f'external_ids:{key}="{value}"' for key, value in identity.items()]
        extra = ["--", "set", "Interface", self.interface, *columns] if columns else []
        self.switch.vsctl("add-port", bridge, self.interface, *extra)

    def unplug(self) -> None:
        """Take the port out of its bridge; no harm if it is not in one."""
        if self.switch.pid("ovsdb-server") is not None:
            # Without a running switch nobody would confirm the change.
            waiting = [] if self.switch.pid("ovs-vswitchd") is not None else ["--no-wait"]
            self.switch.vsctl(*waiting, "--if-exists", "del-port", self.interface)

    @property
    def mac(self) -> str:
        """The MAC address of the card, in lower case with colons."""
        return self._shown("link", r"link/ether ([0-9a-f:]{17})")[0]

    @property
    def addresses(self) -> list[str]:
        """The IPv4 addresses of the card, each with its prefix length."""
        return self._shown("addr", r"inet ([\d./]+)")

    def set_address(self, address: str, *, gateway: str | None = None) -> None:
        """Configure one static IPv4 address with its prefix length (`10.0.0.1/24`) in place of all others."""
        route = [f"route replace default via {gateway}"] if gateway else []
        self.ip(f"addr flush dev {DEVICE} scope global", f"addr add {address} dev {DEVICE}", *route)

    def dhcp(self, client: str = "udhcpc", *, timeout: float = 15.0) -> dhcp.Lease:
        """Get a lease with a real client, `udhcpc` or `dhclient`, and apply it. LabError when there is none in time."""
        directory = self._files / f"dhcp-{self.title}"
        lease = dhcp.obtain(self, DEVICE, directory, client, timeout)
        dhcp.apply(self, DEVICE, lease)
        return lease

    def ping(
        self, destination: str, count: int = 3, interval: float = 0.1, *, wait: float = 2.0
    ) -> PingResult:
        """Ping and wait for the end; times in seconds. See `ping.ping`."""
        return ping(self, destination, count=count, interval=interval, wait=wait)

    def background_ping(self, destination: str, interval: float = 0.01) -> BackgroundPing:
        """A context manager that pings meanwhile and reports the loss; see `BackgroundPing`."""
        return BackgroundPing(self, destination, interval)

    def capture(self, expression: str = "", *, settle: float = 0.2) -> Capture:
        """A context manager that captures what the card sends and receives; see `Capture`."""
        return Capture(self, DEVICE, expression, settle=settle)

    def forget_neighbours(self, addresses: Iterable[str] = ()) -> None:
        """Empty the ARP cache, or only the entries of `addresses`, so that the next packet asks again."""
        for address in addresses or ["all"]:
            self.run("ip", "neighbour", "flush", *([address] if address == "all" else ["to", address]))

    @property
    def _files(self) -> Path:
        return self.switch.directory

    def _shown(self, what: str, pattern: str) -> list[str]:
        return re.findall(pattern, self.run("ip", "-4", what, "show", "dev", DEVICE).stdout)
