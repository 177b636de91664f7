"""A store in memory, for what need not survive the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from vlcp.server.api import BadParameterError, UnavailableError, api
from vlcp.server.config import Limit, Seconds
from vlcp.server.module import Module, Proxy
from vlcp.service.kvdb.checks import check_function


class Knowledge(Module):
    """Keeps values in this process, any Python objects under any hashable keys.

    `timeout` is in seconds everywhere: how long the value exists; None is for ever, 0 or less deletes it.
    """

    service = True

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.knowledge.*`."""

        checkinterval: Seconds = 300.0
        """Seconds between two searches for expired values; reads never show an expired one."""
        limit: Limit | None = None
        """Values that there may be; what would be more is refused with status 503. None: as many as memory holds."""

    settings: Settings

    async def load(self) -> None:
        """Start empty."""
        self._values: dict[Hashable, Any] = {}
        self._deadlines: dict[Hashable, float] = {}
        self._expired = 0
        self._sweep_regularly()

    async def take_over(self, old: Knowledge) -> None:
        """Keep the values."""
        self._values, self._deadlines, self._expired = old._values, old._deadlines, old._expired
        self._sweep_regularly()

    def _sweep_regularly(self) -> None:
        self.spawn(self._sweep(), name="expired values", background=True)

    @api
    def get(self, key: Any, timeout: float | None = None) -> Any:
        """Get the value of a key, None if there is none; with a timeout it expires that many seconds from now."""
        value = self._read(key)
        if timeout is not None and key in self._values:
            self._write(key, value, timeout)
        return value

    @api
    def set(self, key: Any, value: Any, timeout: float | None = None) -> None:
        """Set the value of a key."""
        self._write_pairs({_checked(key): value}, timeout)

    @api
    def delete(self, key: Any) -> None:
        """Delete a key; nothing happens if there is none."""
        self._forget(_checked(key))

    @api
    def mget(self, keys: list[Any]) -> list[Any]:
        """Get the values of several keys, None for each that does not exist."""
        return [self._read(key) for key in keys]

    @api
    def mgetwithcache(self, keys: list[Any], cache: Any = None) -> tuple[list[Any], Any]:
        """Get the values of several keys; the cache is given back as it is."""
        return self.mget(keys), cache

    @api
    def mset(self, kvpairs: Any, timeout: float | None = None) -> None:
        """Set several keys, from a dictionary or pairs."""
        try:
            pairs = dict(kvpairs)
        except (TypeError, ValueError):
            raise BadParameterError("kvpairs is neither a dictionary nor a list of pairs") from None
        self._write_pairs(pairs, timeout)

    @api
    def update(self, key: Any, updater: Any, timeout: float | None = None) -> Any:
        """Replace a value by updater(key, value); None deletes. Returns the new value.

        Only for other modules: a function cannot be given through the web API.
        """
        return self.mupdate([key], updater, timeout)[0]

    @api
    def mupdate(self, keys: list[Any], updater: Any, timeout: float | None = None) -> list[Any]:
        """Replace several values by updater(key, value) each, all or none. Returns the new values."""
        check_function(updater)
        values = [updater(key, self._read(key)) for key in keys]
        self._write_all(keys, values, timeout)
        return values

    @api
    def updateall(
        self, keys: list[Any], updater: Any, timeout: float | None = None
    ) -> tuple[list[Any], list[Any]]:
        """Write what updater(keys, values) returns, (keys, values), all or none. Returns that pair."""
        check_function(updater)
        new_keys, values = updater(keys, self.mget(keys))
        return self._write_all(new_keys, values, timeout)

    @api
    def updateallwithtime(
        self, keys: list[Any], updater: Any, timeout: float | None = None
    ) -> tuple[list[Any], list[Any]]:
        """As updateall, with updater(keys, values, now); now is the time in microseconds since 1970."""
        check_function(updater)
        new_keys, values = updater(keys, self.mget(keys), time.time_ns() // 1000)
        return self._write_all(new_keys, values, timeout)

    def statistics(self) -> dict[str, Any]:
        """The numbers of values, and of those with a lifetime, which both include expired ones that were not searched
        for yet; how many have expired since the start."""
        sizes = {"keys": len(self._values), "expiring": len(self._deadlines), "expired": self._expired}
        return {**super().statistics(), **sizes}

    def _read(self, key: Any) -> Any:
        if self._deadlines.get(_checked(key), float("inf")) <= time.monotonic():
            self._expire(key)
        return self._values.get(key)

    def _write_pairs(self, pairs: Mapping[Hashable, Any], timeout: float | None) -> None:
        if timeout is None or timeout > 0:
            self._make_room(pairs)
        for key, value in pairs.items():
            self._write(key, value, timeout)

    def _write(self, key: Hashable, value: Any, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            self._forget(key)
            return
        self._values[key] = value
        self._deadlines.pop(key, None)
        if timeout is not None:
            self._deadlines[key] = time.monotonic() + timeout

    def _write_all(
        self, keys: Iterable[Any], values: Iterable[Any], timeout: float | None
    ) -> tuple[list[Any], list[Any]]:
        """Write all, where None deletes, or raise and write nothing."""
        keys, values = [_checked(key) for key in keys], list(values)
        pairs = list(zip(keys, values, strict=True))
        self._make_room(key for key, value in pairs if value is not None)
        for key, value in pairs:
            self._write(key, value, 0 if value is None else timeout)
        return keys, values

    def _make_room(self, keys: Iterable[Hashable]) -> None:
        """Raise `UnavailableError` if there is none for all of these."""
        limit = self.settings.limit
        if limit is None:
            return
        more = sum(key not in self._values for key in set(keys))
        if more and len(self._values) + more > limit:
            self._expire_all()
        if more and len(self._values) + more > limit:
            raise UnavailableError(
                f"there are {len(self._values)} values already (module.knowledge.limit is {limit})"
            )

    def _forget(self, key: Hashable) -> None:
        self._values.pop(key, None)
        self._deadlines.pop(key, None)

    def _expire(self, key: Hashable) -> None:
        self._forget(key)
        self._expired += 1

    def _expire_all(self) -> None:
        now = time.monotonic()
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            self._expire(key)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.settings.checkinterval)
            self._expire_all()


class MemoryStorage(Proxy):
    """The store for what need not survive the process: the module that `proxy.memorystorage` names."""

    default = "vlcp.service.utils.knowledge.Knowledge"


def _checked(key: Any) -> Hashable:
    try:
        hash(key)
    except TypeError:
        raise BadParameterError(
            f"a key must be hashable, a text for example, not {type(key).__name__}"
        ) from None
    return key  # type: ignore[no-any-return]  # it is hashable
