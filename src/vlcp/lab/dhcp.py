"""Real DHCP clients in a namespace: they ask for a lease, the lab applies it and leaves /etc alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from vlcp.lab.command import LabError
from vlcp.lab.namespace import Namespace

# Both clients call a script for every event and describe the lease in its environment: udhcpc names the event in the
# first argument, dhclient in $reason. The script only writes this down.
_SCRIPT = """#!/bin/sh
{ echo "event=${1:-$reason}"; env; echo "--"; } >> "$LEASE_LOG"
"""
_LEASE_EVENTS = ("bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT")
_DHCLIENT_CONF = """timeout {timeout};
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name, interface-mtu,
  ntp-servers, rfc3442-classless-static-routes;
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a DHCP server gave. `address` has its prefix length (`10.0.0.2/24`), `seconds` is the lease time.

    `routes`: (destination, next hop) pairs of the classless routes (RFC 3442); the next hop 0.0.0.0 is the link itself.
    `variables`: everything that the client told, under the names that it uses.
    """

    address: str
    routers: tuple[str, ...]
    name_servers: tuple[str, ...]
    server: str
    seconds: int
    mtu: int | None
    routes: tuple[tuple[str, str], ...]
    variables: Mapping[str, str]


def obtain(namespace: Namespace, device: str, directory: Path, client: str, timeout: float) -> Lease:
    """Run `udhcpc` or `dhclient` until it has a lease; LabError with the client's words when it gets none in time.

    Files of the client go to `directory`. The client ends then: the address stays, nobody renews it.
    """
    if client not in _CLIENTS:
        raise LabError(f"unknown DHCP client {client!r}; allowed are {', '.join(sorted(_CLIENTS))}")
    directory.mkdir(parents=True, exist_ok=True)
    script, log = directory / "script", directory / "log"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    log.write_text("")
    said = _CLIENTS[client](namespace, device, directory, timeout)
    variables = _last_lease(log)
    if variables is None:
        words = "; ".join(dict.fromkeys(said.split("\n")))  # every attempt says the same again
        raise LabError(f"{client} in {namespace.name} got no lease within {timeout:g} seconds: {words}")
    return _from_dhclient(variables) if client == "dhclient" else _from_udhcpc(variables)


def apply(namespace: Namespace, device: str, lease: Lease) -> None:
    """Configure a device with a lease: address, MTU and routes. The classless routes replace the routers (RFC 3442)."""
    routes = lease.routes or tuple(("0.0.0.0/0", router) for router in lease.routers[:1])
    mtu = [f"link set {device} mtu {lease.mtu}"] if lease.mtu else []
    namespace.ip(
        f"addr flush dev {device} scope global",
        *mtu,
        f"addr add {lease.address} dev {device}",
        *(f"route replace {destination} {_next_hop(hop)} dev {device}" for destination, hop in routes),
    )


def _next_hop(hop: str) -> str:
    return "scope link" if hop == "0.0.0.0" else f"via {hop}"


def _run_udhcpc(namespace: Namespace, device: str, directory: Path, timeout: float) -> str:
    attempts = max(1, round(timeout))
    wanted = [word for option in ("mtu", "staticroutes", "ntpsrv") for word in ("-O", option)]
    done = namespace.run(
        *("busybox", "udhcpc", "-f", "-n", "-q", "-i", device, "-s", str(directory / "script")),
        *("-t", str(attempts), "-T", "1", "-A", "1", *wanted),
        check=False,
        timeout=timeout + 15,
        env={"LEASE_LOG": str(directory / "log")},
    )
    return done.stdout + done.stderr


def _run_dhclient(namespace: Namespace, device: str, directory: Path, timeout: float) -> str:
    """Left alone it would stay as a daemon, so it runs in the foreground and we end it when it has a lease."""
    log, leases = directory / "log", directory / "leases"
    (directory / "conf").write_text(_DHCLIENT_CONF.format(timeout=max(1, round(timeout))))
    leases.write_text("")  # a known lease would make it ask for the same address again
    files = ["-cf", directory / "conf", "-sf", directory / "script", "-lf", leases, "-pf", directory / "pid"]
    argv = ["dhclient", "-d", "-1", "-v", *map(str, files), "-e", f"LEASE_LOG={log}", device]
    with namespace.popen(*argv) as client:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and client.poll() is None and _last_lease(log) is None:
            time.sleep(0.02)
        client.terminate()
        try:
            output, errors = client.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            client.kill()
            output, errors = client.communicate()
    return output + errors


_CLIENTS: Mapping[str, Callable[[Namespace, str, Path, float], str]] = {
    "dhclient": _run_dhclient,
    "udhcpc": _run_udhcpc,
}


def _last_lease(log: Path) -> dict[str, str] | None:
    """The variables of the newest event that gave a lease; an event that is still being written does not count."""
    for event in reversed(log.read_text().split("--\n")[:-1]):
        variables = dict(line.split("=", 1) for line in event.splitlines() if "=" in line)
        if variables.get("event") in _LEASE_EVENTS:
            return variables
    return None


def _from_udhcpc(seen: Mapping[str, str]) -> Lease:
    words = seen.get("staticroutes", "").split()
    return Lease(
        address=f"{seen['ip']}/{seen.get('mask', '24')}",
        routers=tuple(seen.get("router", "").split()),
        name_servers=tuple(seen.get("dns", "").split()),
        server=seen.get("serverid", ""),
        seconds=int(seen.get("lease", 0)),
        mtu=int(seen["mtu"]) if "mtu" in seen else None,
        routes=tuple(zip(words[::2], words[1::2], strict=True)),
        variables=seen,
    )


def _from_dhclient(seen: Mapping[str, str]) -> Lease:
    network = IPv4Network(f"0.0.0.0/{seen.get('new_subnet_mask', '255.255.255.0')}")
    mtu = seen.get("new_interface_mtu")
    return Lease(
        address=f"{seen['new_ip_address']}/{network.prefixlen}",
        routers=tuple(seen.get("new_routers", "").split()),
        name_servers=tuple(seen.get("new_domain_name_servers", "").split()),
        server=seen.get("new_dhcp_server_identifier", ""),
        seconds=int(seen.get("new_dhcp_lease_time", 0)),
        mtu=int(mtu) if mtu else None,
        routes=_classless_routes(seen.get("new_rfc3442_classless_static_routes", "")),
        variables=seen,
    )


def _classless_routes(text: str) -> tuple[tuple[str, str], ...]:
    """RFC 3442 section 3: prefix length, the significant bytes of the destination, the next hop; again and again."""
    numbers = text.split()
    routes = []
    while numbers:
        length = int(numbers[0])
        significant = (length + 7) // 8
        destination = [*numbers[1 : 1 + significant], *["0"] * (4 - significant)]
        hop = numbers[1 + significant : 5 + significant]
        routes.append((f"{'.'.join(destination)}/{length}", ".".join(hop)))
        numbers = numbers[5 + significant :]
    return tuple(routes)
