"""What all drivers of physical network types share."""

from __future__ import annotations

from typing import Any, ClassVar

from vlcp.model.kinds import Kind
from vlcp.server.module import Module


class NetworkDriver(Module):
    """The base of the modules that bring a kind of physical network. While one is loaded its kind can be used."""

    kind: ClassVar[Kind]

    async def take_over(self, old: Any) -> None:
        """Whoever asks for the kinds finds the new one."""
