"""The kinds of physical networks: what each demands of a physical network and of the logical networks on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vlcp.model.errors import InvalidError
from vlcp.model.objects import LogicalNetwork, PhysicalNetwork, PhysicalPort


class Kind(Protocol):
    """One kind of physical network. All checks raise `NotAllowedError` with the attribute as its path."""

    @property
    def name(self) -> str:
        """What users give as the `type` of a physical network."""
        ...

    def check_physical_network(self, network: PhysicalNetwork) -> None:
        """Whether a physical network of this kind may have these attributes."""
        ...

    def check_physical_port(self, port: PhysicalPort) -> None:
        """Whether a physical network of this kind may have this physical port."""
        ...

    def check_logical_network(self, network: LogicalNetwork) -> None:
        """Whether a logical network on a physical network of this kind may have these attributes."""
        ...


Kinds = Mapping[str, Kind]
"""The kinds that are loaded, by name."""


def kind_of(network: PhysicalNetwork, kinds: Kinds, place: str) -> Kind:
    """The kind of a physical network; `InvalidError` when it is not loaded."""
    kind = kinds.get(network.kind)
    if kind is None:
        loaded = ", ".join(sorted(kinds)) or "none"
        raise InvalidError(
            f"{place} is {network.kind!r}: no network driver for this type is loaded; loaded types: {loaded}"
        )
    return kind
