"""What the modules of the data plane have in common: each brings one feature."""

from __future__ import annotations

from typing import Any, ClassVar

from vlcp.flow.rules import Feature
from vlcp.server.module import Module, depend
from vlcp.service.sdn.ofpmanager import OpenflowManager


@depend(OpenflowManager)
class FlowBase(Module):
    """Gives its feature to every switch while it is loaded."""

    feature: ClassVar[Feature]

    async def load(self) -> None:
        """Add the feature."""
        self.dependency(OpenflowManager).add_feature(self.feature, self.feature_settings())

    async def unload(self) -> None:
        """Withdraw the feature, unless the whole process stops: then the switches go on as they are."""
        if not self.server.stopping:
            self.dependency(OpenflowManager).remove_feature(self.feature)

    def feature_settings(self) -> Any:
        """What the rules of the feature read as their settings; None for nothing."""
        return None
