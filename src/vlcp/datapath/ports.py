"""The ports of one switch as it describes them, for those who ask by number or by name."""

from __future__ import annotations

from collections.abc import Iterable

from vlcp.wire.openflow import PortDesc


class PortTable:
    """Ports by number and by name."""

    def __init__(self) -> None:
        self._ports: dict[int, PortDesc] = {}
        self._numbers: dict[str, int] = {}
        self.changes = 0
        """How often the switch has told a change."""

    def replace(self, ports: Iterable[PortDesc]) -> None:
        """These ports are there and no others."""
        self._ports = {port.number: port for port in ports}
        self._numbers = {port.name: port.number for port in self._ports.values()}

    def put(self, port: PortDesc) -> None:
        """A port is there, or is not what it was."""
        self.remove(port.number)
        self._ports[port.number] = port
        self._numbers[port.name] = port.number

    def remove(self, number: int) -> None:
        """A port is gone, if it was there."""
        self.changes += 1
        gone = self._ports.pop(number, None)
        if gone is not None and self._numbers.get(gone.name) == number:
            del self._numbers[gone.name]

    def all(self) -> list[PortDesc]:
        """Every port."""
        return list(self._ports.values())

    def numbered(self, number: int) -> PortDesc | None:
        """The port with this number."""
        return self._ports.get(number)

    def named(self, name: str) -> PortDesc | None:
        """The port with this name."""
        return self._ports.get(self._numbers.get(name, -1))
