"""A module that is a store in memory, behind a line that tests may cut."""

from __future__ import annotations

from store.faults import BadLine
from vlcp.service.kvdb.embeddeddb import EmbeddedDB
from vlcp.service.kvdb.keyvalue import LocalBackend
from vlcp.store.memory import MemoryBackend

CONFIGURATION = "proxy.kvstorage = 'store.faultydb.FaultyDB'\n"


class Line(BadLine):
    """The line; its store can name all keys."""

    def __init__(self) -> None:
        self.memory = MemoryBackend()
        super().__init__(self.memory)

    def keys(self) -> list[str]:
        return self.memory.keys()


class FaultyDB(EmbeddedDB):
    """The store at the end of the line."""

    line: Line

    def make_backend(self) -> LocalBackend:
        self.line = Line()
        return self.line
