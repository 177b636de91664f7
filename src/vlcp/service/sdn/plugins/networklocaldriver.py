"""The driver of local networks."""

from __future__ import annotations

from vlcp.model.kinds import local
from vlcp.service.sdn.networkdriver import NetworkDriver


class NetworkLocalDriver(NetworkDriver):
    """Network driver for local networks: they have no physical ports, so only machines on one host reach each other."""

    kind = local.LocalKind()
    owns = (local.__name__,)
