"""What the modules of the data plane have in common: each brings one feature."""

from __future__ import annotations

from typing import Any, ClassVar

from vlcp.flow.rules import Feature
from vlcp.server.module import Module, depend
from vlcp.service.sdn.ofpmanager import OpenflowManager
from vlcp.service.sdn.ofpportmanager import OpenflowPortManager


@depend(OpenflowManager, OpenflowPortManager)
class FlowBase(Module):
    """Gives its feature to every switch while it is loaded.

    A subclass names in `owns` the files with the rules of its feature. When they are reloaded, the new rules are worked
    out beside the old ones, and the switches are sent the one difference.
    """

    feature: ClassVar[Feature]
    _in_place = False

    async def load(self) -> None:
        """Add the feature."""
        manager = self.dependency(OpenflowManager)
        if manager.has_feature(self.feature):  # left there by a reload
            await self.take_over(self)
        else:
            manager.add_feature(self.feature, self.feature_settings())
            self._in_place = True

    async def take_over(self, old: Any) -> None:
        """Put the feature in the place of the earlier one."""
        await self.dependency(OpenflowManager).exchange_feature(self.feature, self.feature_settings())
        self._in_place = True

    async def unload(self) -> None:
        """Withdraw the feature, unless the whole process stops: then the switches go on as they are.

        The feature of an instance before, which this one could not exchange, stays as well.
        """
        if self._in_place and not (self.server.stopping or self.reloading):
            self.dependency(OpenflowManager).remove_feature(self.feature)

    def feature_settings(self) -> Any:
        """What the rules of the feature read as their settings; None for nothing."""
        return None
