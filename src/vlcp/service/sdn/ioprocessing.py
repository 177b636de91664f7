"""The module that loads the feature of the same name."""

from __future__ import annotations

from vlcp.flow.features import ioprocessing
from vlcp.server.module import depend
from vlcp.service.sdn.flowbase import FlowBase
from vlcp.service.sdn.ovsdbportmanager import OVSDBPortManager


@depend(OVSDBPortManager)
class IOProcessing(FlowBase):
    """Classifies what comes in and outputs what goes out; owner of the pipeline."""

    feature = ioprocessing.FEATURE
    owns = (ioprocessing.__name__,)
