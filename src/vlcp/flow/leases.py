"""What a machine is told by DHCP: the options of its network, subnet and port, put together (RFC 2131, RFC 2132)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import UNSET

from vlcp.model.addresses import format_address, parse_prefix
from vlcp.model.dhcpoptions import code_of
from vlcp.model.objects import DhcpAttributes, LogicalNetwork, LogicalPort, Subnet

INFINITE = 0xFFFFFFFF
"""A lease without end (RFC 2131, 3.3)."""

Options = dict[int, Any]
"""Option code -> value, in the shapes of `vlcp.model.dhcpoptions`. None: not to be sent."""

_NETMASK, _ROUTER, _DNS, _HOSTNAME, _DOMAIN, _MTU, _BROADCAST = 1, 3, 6, 12, 15, 26, 28
_NTP, _LEASE, _SERVER, _T1, _T2, _ROUTES = 42, 51, 54, 58, 59, 121

_ATTRIBUTES = {
    "dns_nameservers": _DNS,
    "domain_name": _DOMAIN,
    "mtu": _MTU,
    "ntp_servers": _NTP,
    "lease_time": _LEASE,
}


class Settings(NamedTuple):
    """The settings of the DHCP server. Times are seconds; a `leasetime` of None is a lease without end."""

    serveraddress: str = "169.254.169.254"
    servermac: str = "1a:23:67:59:63:33"
    leasetime: int | None = None
    t1: int | None = None
    t2: int | None = None


class Lease(NamedTuple):
    """What is given to a machine: its address, and the options."""

    address: str
    server: str
    options: Options


def server_address(settings: Settings, subnet: Subnet) -> str:
    """The address that the server uses in a subnet."""
    return subnet.dhcp_server or settings.serveraddress


def lease_of(settings: Settings, network: LogicalNetwork, subnet: Subnet, port: LogicalPort) -> Lease | None:
    """The lease of a port; None when it has no address or its subnet is not served.

    Later sources win: the server's settings, the network, the subnet, the port.
    """
    if port.ip_address is None or not subnet.dhcp_enabled:
        return None
    server = server_address(settings, subnet)
    options: Options = {_LEASE: INFINITE if settings.leasetime is None else settings.leasetime}
    options |= _attributes(network) | _extra(network)
    options |= _prefix(subnet) | _attributes(subnet) | _routes(subnet) | _extra(subnet)
    options |= {_HOSTNAME: port.hostname} | _attributes(port) | _extra(port) | {_SERVER: server}
    options |= dict(_renewal(settings, options))
    told = {code: value for code, value in options.items() if value is not None}
    return Lease(port.ip_address, server, told)


def _attributes(source: DhcpAttributes) -> Options:
    values = {code: getattr(source, name) for name, code in _ATTRIBUTES.items()}
    set_values = {code: value for code, value in values.items() if value is not UNSET}
    if set_values.get(_LEASE) == "infinite":
        set_values[_LEASE] = INFINITE
    return set_values


def _extra(source: DhcpAttributes) -> Options:
    return {code_of(tag): value for tag, value in source.extra_dhcp_options}


def _prefix(subnet: Subnet) -> Options:
    prefix = parse_prefix(subnet.cidr)
    mask = format_address(0xFFFFFFFF << (32 - prefix.length) & 0xFFFFFFFF)
    router = None if subnet.gateway is None else (subnet.gateway,)
    return {_NETMASK: mask, _BROADCAST: format_address(prefix.last), _ROUTER: router}


def _routes(subnet: Subnet) -> Options:
    """A client that knows option 121 ignores option 3, so the default route is in both (RFC 3442)."""
    routes = subnet.host_routes
    if not routes:
        return {}
    if subnet.gateway is not None and all(destination != "0.0.0.0/0" for destination, _ in routes):
        routes = (*routes, ("0.0.0.0/0", subnet.gateway))
    return {_ROUTES: routes}


def _renewal(settings: Settings, options: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    lease = options.get(_LEASE)
    if lease in (None, INFINITE):
        return
    for code, time in ((_T1, settings.t1), (_T2, settings.t2)):
        if time is not None and time < lease and code not in options:
            yield code, time
