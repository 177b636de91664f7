"""A process that writes to an embedded store until it is killed, and says on its output what was acknowledged."""

from __future__ import annotations

import asyncio
import sys

from vlcp.store.contract import Committed, Preconditions
from vlcp.store.embedded import EmbeddedBackend

WRITERS = 8


async def main(path: str, first: int) -> None:
    backend = EmbeddedBackend(path)
    await backend.open()
    async with asyncio.TaskGroup() as group:
        for number in range(first, first + WRITERS):
            group.create_task(count(backend, number))


async def count(backend: EmbeddedBackend, number: int) -> None:
    """Count up in two keys at once, for ever."""
    keys = [f"left/{number}", f"right/{number}"]
    while True:
        snapshot = await backend.read(keys)
        versions = {key: entry.version if entry else None for key, entry in snapshot.entries.items()}
        entry = snapshot.entries[keys[0]]
        following = int(entry.value) + 1 if entry else 1
        value = str(following).encode()
        result = await backend.commit(Preconditions(versions), dict.fromkeys(keys, value))
        assert isinstance(result, Committed)
        sys.stdout.write(f"{number} {following}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
