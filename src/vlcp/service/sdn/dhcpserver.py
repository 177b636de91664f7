"""The module that loads the DHCP feature, with its settings."""

from __future__ import annotations

from vlcp.flow import dhcpreplies, leases
from vlcp.flow.features import dhcpserver
from vlcp.model.addresses import AddressError, format_address, parse_address, parse_mac
from vlcp.server.config import ConfigError
from vlcp.server.module import depend
from vlcp.service.sdn.arpresponder import ARPResponder
from vlcp.service.sdn.flowbase import FlowBase


@depend(ARPResponder)
class DHCPServer(FlowBase):
    """Answers DHCP with the address and options of the logical port."""

    feature = dhcpserver.FEATURE
    owns = (dhcpserver.__name__, dhcpreplies.__name__, leases.__name__)

    class Settings(FlowBase.Settings, frozen=True, kw_only=True):
        """The keys of `module.dhcpserver.*`."""

        serveraddress: str = "169.254.169.254"
        """IPv4 address of the server, where the subnet names none."""
        servermac: str = "1a:23:67:59:63:33"
        """MAC address of the server."""
        leasetime: int | None = None
        """Seconds of a lease, where network, subnet or port say nothing; None: without end."""
        t1: int | None = None
        """Seconds until a client renews its lease (option 58)."""
        t2: int | None = None
        """Seconds until a client asks any server (option 59)."""

    settings: Settings

    def feature_settings(self) -> leases.Settings:
        """The settings as the rules read them."""
        s = self.settings
        return leases.Settings(
            self._checked("serveraddress"), self._checked("servermac"), s.leasetime, s.t1, s.t2
        )

    def _checked(self, name: str) -> str:
        text, key = getattr(self.settings, name), f"module.dhcpserver.{name}"
        try:
            return parse_mac(text) if name == "servermac" else format_address(parse_address(text))
        except AddressError as error:
            raise ConfigError(f"{self.server.config.origin(key)}: {key} = {text!r} must be {error}") from None
