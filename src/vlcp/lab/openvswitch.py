"""A private Open vSwitch: its own database server and switch daemon in their own namespace and directory.

Nothing of the machine's installed Open vSwitch is touched: sockets, database, logs and pid files are below the
directory of the lab. The datapath runs in user space (`datapath_type=netdev`), so no kernel module is needed.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

from vlcp.lab import command, process
from vlcp.lab.namespace import Namespace

PROGRAMS = (
    "ip",
    "nsenter",
    "ovsdb-tool",
    "ovsdb-server",
    "ovs-vswitchd",
    "ovs-vsctl",
    "ovs-ofctl",
    "ovs-appctl",
)
"""What must be installed."""

BRIDGE = "br0"
"""The bridge that a controller owns, and the default of every method that takes a bridge."""

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_SOCKET_PATH_LIMIT = 107  # bytes, unix(7)
_LONGEST_SOCKET_NAME = len("/ovsdb-server.ctl.tmp")


class OpenVSwitch(Namespace):
    """A network namespace with an ovsdb-server and an ovs-vswitchd of its own.

    `directory` holds everything, `run_directory` the sockets: `db.sock` of the database, `<bridge>.mgmt` of a bridge.
    `system_id` is the `external_ids:system-id` of ovs-vswitchd.conf.db(5).
    """

    def __init__(self, name: str, lab: str, directory: Path, system_id: str) -> None:
        super().__init__(name, lab)
        self.directory = directory
        self.run_directory = directory / "run"
        self.system_id = system_id
        self.database = f"unix:{self.run_directory}/db.sock"
        self.env |= {
            "OVS_RUNDIR": str(self.run_directory),
            "OVS_LOGDIR": str(directory),
            "OVS_DBDIR": str(directory),
        }
        if len(str(self.run_directory)) + _LONGEST_SOCKET_NAME > _SOCKET_PATH_LIMIT:
            raise command.LabError(
                f"{self.run_directory}: too long for Unix sockets, use a shorter directory"
            )

    def start(self) -> None:
        """Create the namespace and an empty database, start both daemons; they are ready when this returns."""
        self.create()
        self.run_directory.mkdir(parents=True)
        command.run(["ovsdb-tool", "create", str(self.directory / "conf.db"), _SCHEMA])
        self._daemon("ovsdb-server", str(self.directory / "conf.db"), f"--remote=p{self.database}")
        identity = f"external_ids:system-id={self.system_id}"
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", identity)
        self.start_switch()

    def stop(self) -> None:
        """End both daemons and remove the namespace; the directory stays for the lab to remove."""
        process.stop(pid for name in ("ovs-vswitchd", "ovsdb-server") if (pid := self.pid(name)) is not None)
        self.delete()

    def start_switch(self) -> None:
        """Start ovs-vswitchd; it has carried out its database when this returns."""
        self._daemon("ovs-vswitchd", self.database)

    def stop_switch(self, *, crash: bool = False) -> None:
        """End ovs-vswitchd in order, or as a crash would. Flows and groups are lost, the database stays."""
        pid = self.pid("ovs-vswitchd")
        if pid is None:
            return
        if crash:
            os.kill(pid, signal.SIGKILL)
        process.stop([pid])

    def restart_switch(self, *, crash: bool = False) -> None:
        """End ovs-vswitchd and start it again over the same database: an empty switch with the same ports."""
        self.stop_switch(crash=crash)
        self.start_switch()

    def pid(self, daemon: str) -> int | None:
        """The process id of `ovsdb-server` or `ovs-vswitchd`; None when it does not run."""
        with suppress(FileNotFoundError, ValueError):
            pid = int((self.run_directory / f"{daemon}.pid").read_text())
            return None if process.is_dead(pid) else pid
        return None

    def vsctl(self, *arguments: str, timeout: int = 30) -> str:
        """What ovs-vsctl(8) prints; without `--no-wait` the switch has carried the change out."""
        argv = ["ovs-vsctl", f"--db={self.database}", f"--timeout={timeout}", *arguments]
        return command.run(argv, env=self.env, timeout=timeout + 5).stdout.strip()

    def ofctl(self, *arguments: str, version: str = "OpenFlow13") -> str:
        """What ovs-ofctl(8) prints. `version` is an OpenFlow version as it names them."""
        return command.run(["ovs-ofctl", "-O", version, *arguments], env=self.env).stdout

    def appctl(self, *arguments: str, daemon: str = "ovs-vswitchd") -> str:
        """What ovs-appctl(8) prints."""
        target = str(self.run_directory / f"{daemon}.ctl")
        return command.run(["ovs-appctl", "-t", target, *arguments], env=self.env).stdout

    def dump_flows(self, match: str | None = None, *, bridge: str = BRIDGE) -> list[str]:
        """The flows of a bridge as ovs-ofctl(8) prints them without counters; `match` selects as it does there."""
        text = self.ofctl("--no-stats", "dump-flows", bridge, *([match] if match else []))
        return [line.strip() for line in text.splitlines() if "actions=" in line]

    def flows_per_table(self, bridge: str = BRIDGE) -> dict[int, int]:
        """Table number -> number of flows, for the tables that have flows."""
        numbers = (re.search(r"\btable=(\d+)", line) for line in self.dump_flows(bridge=bridge))
        return dict(sorted(Counter(int(found[1]) if found else 0 for found in numbers).items()))

    def trace(self, packet: str, bridge: str = BRIDGE) -> str:
        """What the bridge would do with a packet (`in_port=1,icmp,...`), from `ofproto/trace` of ovs-vswitchd(8)."""
        return self.appctl("ofproto/trace", bridge, packet)

    def datapath_id(self, bridge: str = BRIDGE) -> str:
        """The datapath id of a bridge: 16 hexadecimal digits."""
        return self.vsctl("get", "Bridge", bridge, "datapath_id").strip('"')

    def port_number(self, interface: str) -> int:
        """The OpenFlow port number of an interface; LabError when the switch gave it none."""
        number = self.vsctl("--if-exists", "get", "Interface", interface, "ofport")
        if not number.isdigit():
            raise command.LabError(
                f"interface {interface} has no OpenFlow port number (ofport is {number or 'absent'})"
            )
        return int(number)

    def _daemon(self, program: str, *arguments: str) -> None:
        self.run(
            program,
            *arguments,
            "--no-chdir",
            "--detach",
            f"--pidfile={self.run_directory}/{program}.pid",
            f"--log-file={self.directory}/{program}.log",
            f"--unixctl={self.run_directory}/{program}.ctl",
            "-vconsole:off",
            "-vsyslog:off",
        )
