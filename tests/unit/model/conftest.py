"""Calls over both stores: the dictionary that watches what a change does, and the product's own transactor."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from unit.model.calls import Calls
from unit.model.dictstore import DictStore
from vlcp.model import codec
from vlcp.store.memory import MemoryBackend
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Transactor


@pytest.fixture(params=["dictionary", "transactor"])
async def calls(request: pytest.FixtureRequest) -> AsyncIterator[Calls]:
    """Calls over an empty store."""
    if request.param == "dictionary":
        yield Calls(DictStore())
        return
    backend = MemoryBackend()
    await backend.open()
    mirror = Mirror(backend, codec.decode)
    await mirror.start()
    yield Calls(Transactor(backend, mirror, codec.encode))
    await mirror.stop()
    await backend.close()
