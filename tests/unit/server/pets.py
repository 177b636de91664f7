"""A package of modules whose files a test edits."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

FILES = {
    "__init__": "",
    "diary": """
        from vlcp.server.module import Module
        EVENTS = []
        class Diary(Module):
            version = 1
            async def load(self):
                EVENTS.append(f"+{self.name}{self.version}")
            async def unload(self):
                EVENTS.append(f"-{self.name}{self.version}{'~' if self.reloading else ''}")
        """,
    "rules": "ANSWER = 1\n",
    "bottom": """
        from pets.diary import Diary
        class Ground(Diary):
            service = True
        """,
    "store": """
        from pets import rules
        from pets.bottom import Ground
        from pets.diary import Diary
        from vlcp.server.module import api, depend
        @depend(Ground)
        class Store(Diary):
            version = 1
            service = True
            owns = (rules.__name__,)
            @api
            def answer(self):
                "The answer."
                return rules.ANSWER
        """,
    "top": """
        from pets.diary import Diary
        from pets.store import Store
        from vlcp.server.module import api, depend
        @depend(Store)
        class Top(Diary):
            @api
            def below(self):
                "What the store is."
                return self.dependency(Store).answer()
        """,
    "memory": """
        import asyncio
        from vlcp.server.module import Module, Proxy, api, depend
        class Memory(Module):
            version = 1
            async def load(self):
                self.values = []
                self.spawn(asyncio.sleep(100), name="nap")
            async def take_over(self, old):
                self.values = old.values
                self.spawn(asyncio.sleep(100), name="nap")
            @api
            def add(self, value: int):
                "Add a value."
                self.values.append(value)
                return self.version, self.values
        class Shortcut(Proxy):
            default = "pets.memory.Memory"
        @depend(Memory)
        class User(Module):
            @api
            def add(self, value: int):
                "Add a value."
                return self.dependency(Memory).add(value)
        """,
}


class Pets:
    """A package whose files the tests edit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pets"
        self.folder.mkdir()
        for name, text in FILES.items():
            self.file(name).write_text(textwrap.dedent(text))

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.py"

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.file(name).read_text()
        assert old in text
        self.file(name).write_text(text.replace(old, new, 1))

    @property
    def events(self) -> list[str]:
        """What happened since the last look."""
        all_events: list[str] = sys.modules["pets.diary"].EVENTS
        events, all_events[:] = all_events[:], []
        return events
