"""The module that loads the feature of the same name."""

from __future__ import annotations

from vlcp.flow.features import arpresponder
from vlcp.service.sdn.flowbase import FlowBase


class ARPResponder(FlowBase):
    """Answers ARP requests in the switch."""

    feature = arpresponder.FEATURE
    owns = (arpresponder.__name__,)
