"""The module that loads the feature of the same name."""

from __future__ import annotations

from vlcp.flow.features import l2switch
from vlcp.service.sdn.flowbase import FlowBase


class L2Switch(FlowBase):
    """Switches frames by MAC address."""

    feature = l2switch.FEATURE
    owns = (l2switch.__name__,)
