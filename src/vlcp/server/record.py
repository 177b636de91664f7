"""Where one module is in its life, and what is told when that changes."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from typing import Any

from vlcp.server.api import status_of
from vlcp.server.config import ConfigError
from vlcp.server.module import Module, ModuleError, module_name, module_path


class State(enum.StrEnum):
    """Where a module is in its life."""

    LOADING = "loading"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"


Teller = Callable[["Record", State], None]
"""Told of a record that has entered a state, with the state before."""


class Record:
    """One module class that was asked for: its state, its instance and who needs it."""

    def __init__(self, cls: type[Module], tell: Teller) -> None:
        self.cls = cls
        """The class to load; after a reload the one of the newest code."""
        self.name = module_name(cls)
        self.path = module_path(cls)
        self.instance: Module | None = None
        self.dependents: set[str] = set()
        self.explicit = False
        """Asked for by name: not freed when its last dependent goes."""
        self.change: asyncio.Task[None] | None = None
        """The last load or unload. It goes on, after the module has settled, to free services."""
        self.settled = asyncio.Event()
        """Set when the module is neither loading nor unloading; each load and unload has an event of its own."""
        self.settled.set()
        self.error: BaseException | None = None
        self.state = State.UNLOADED
        self.since = time.time()
        self._tell = tell

    def enter(self, state: State, error: BaseException | None = None) -> None:
        """Take a new state, with the error that caused it."""
        before, self.state, self.error, self.since = self.state, state, error, time.time()
        if state in (State.LOADING, State.UNLOADING):
            self.settled = asyncio.Event()
        else:
            self.settled.set()
        self._tell(self, before)

    @property
    def failed_to_load(self) -> bool:
        """Whether nothing of it is there: it may be loaded again."""
        return self.state is State.FAILED and self.instance is None

    def status(self) -> dict[str, Any]:
        """The state for people: `since` in seconds since 1970; `error` None, or a text: what made the module fail, or
        what does not work at present although it is loaded."""
        problem = self.instance.problem() if self.instance is not None else None
        return {
            "path": self.path,
            "state": str(self.state),
            "since": self.since,
            "error": text_of(self.error) if self.error else problem,
            "explicit": self.explicit,
            "dependents": sorted(self.dependents),
        }

    def failure(self) -> ModuleError:
        """What somebody is told who wanted the module."""
        if self.instance is not None:
            return ModuleError(f"cannot load {self.path!r} before unloading the failed instance", 409)
        status = status_of(self.error) if self.error else None
        return ModuleError(f"cannot load {self.path!r}: {text_of(self.error)}", status or 500)


def is_expected(error: BaseException) -> bool:
    """Whether the text of an error says enough, so that nobody needs its traceback."""
    return isinstance(error, ModuleError | ConfigError | OSError) or status_of(error) is not None


def text_of(error: BaseException | None) -> str:
    """An error in one line."""
    if error is None:
        return "unknown reason"
    named = isinstance(error, ModuleError | ConfigError) or status_of(error) is not None
    return str(error) if named and str(error) else f"{type(error).__name__}: {error}"
