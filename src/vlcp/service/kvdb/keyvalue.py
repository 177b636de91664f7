"""The API of every key-value store: values are JSON, a value may expire, updates are atomic.

A value is stored as its JSON text. One that expires has its deadline before it: `!`, the store's time in microseconds
since 1970 in decimal digits, and a line feed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from vlcp.server.api import BadParameterError, NotFoundError, api
from vlcp.server.config import Seconds
from vlcp.server.module import Module
from vlcp.service.kvdb.checks import check_function, check_keys
from vlcp.store.contract import Backend, Committed, Entry, Preconditions
from vlcp.store.errors import StoreUnavailableError, UndecodableError
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Outcome, TransactionView, Transactor

_LONGEST_LIFETIME = 1e11
"""Seconds, about 3000 years; a longer lifetime is taken for this one."""
_SWEEP_AT_ONCE = 1000
"""Keys that are looked at in one go for expired values."""


class Stored(NamedTuple):
    """A value, and the store's time in microseconds when it ends to exist; None: never."""

    value: Any
    deadline: int | None = None

    def at(self, now: int) -> Any:
        """The value, None if it has expired."""
        return None if self.deadline is not None and self.deadline <= now else self.value


def encode(key: str, stored: Stored) -> bytes:
    """The stored form. `BadParameterError` for what JSON cannot hold."""
    try:
        text = msgspec.json.encode(stored.value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadParameterError(f"the value of {key!r} cannot be stored: {error}") from None
    return text if stored.deadline is None else b"!%d\n%b" % (stored.deadline, text)


def decode(key: str, data: bytes) -> Stored:
    """What was stored. `ValueError` if it is no stored form."""
    if not data.startswith(b"!"):
        return Stored(msgspec.json.decode(data))
    deadline, _, text = data[1:].partition(b"\n")
    return Stored(msgspec.json.decode(text), int(deadline))


class LocalBackend(Backend, Protocol):
    """A backend that can name all of its keys."""

    def keys(self) -> list[str]: ...


class Client(NamedTuple):
    """One store: what it is read from, and how its values are updated."""

    backend: LocalBackend
    transactor: Transactor


class KeyValueDB(Module):
    """The base of the modules that are a key-value store.

    `vhost` selects one of several stores of a module; the default one has the name ''. `backend` is that, which other
    modules build on.
    """

    backend: LocalBackend

    class Settings(Module.Settings, frozen=True, kw_only=True):
        checkinterval: Seconds = 300.0
        """Seconds between two searches for values that have expired."""

    settings: Settings

    def make_backend(self) -> LocalBackend:
        """The store, not yet open."""
        raise NotImplementedError

    async def load(self) -> None:
        self.backend = self.make_backend()
        await self.backend.open()
        self._clients = {"": self.client(self.backend)}
        self._sweep_regularly()

    async def take_over(self, old: Any) -> None:
        """The store stays open; nobody notices."""
        self.backend = old.backend
        self._clients = {vhost: self.client(client.backend) for vhost, client in old._clients.items()}
        self._sweep_regularly()

    def _sweep_regularly(self) -> None:
        self.spawn(self._sweep(), name="expired values", background=True)

    async def unload(self) -> None:
        await self.cancel_tasks()  # they use the store
        if hasattr(self, "backend"):
            await self.backend.close()

    @staticmethod
    def client(backend: LocalBackend) -> Client:
        """How a store is used."""
        return Client(backend, Transactor(backend, Mirror(backend, decode), encode))

    @api
    def getclient(self, vhost: str = "") -> tuple[LocalBackend, Any, Any]:
        """Get the store with its encoder(key, stored) and decoder(key, bytes), for other modules in this process."""
        return self._client(vhost).backend, encode, decode

    @api
    async def get(self, key: str, timeout: float | None = None, vhost: str = "") -> Any:  # noqa: ASYNC109 (a lifetime)
        """Get the value of a key, None if there is none; with a timeout it expires that many seconds from now."""
        values = await self.mget([key], vhost)
        if timeout is not None:
            await self._rearm(self._client(vhost), key, timeout)
        return values[0]

    @api
    async def set(
        self,
        key: str,
        value: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (a lifetime)
        vhost: str = "",
    ) -> None:
        """Set the value of a key, for `timeout` seconds or for ever; a timeout of 0 or less deletes the key."""
        await self.mset({key: value}, timeout, vhost)

    @api
    async def delete(self, key: str, vhost: str = "") -> None:
        """Delete a key; nothing happens if there is none."""
        check_keys([key])
        await self._client(vhost).backend.commit(Preconditions(), {key: None})

    @api
    async def mget(self, keys: list[str], vhost: str = "") -> list[Any]:
        """Get the values of several keys at one moment, None for each that does not exist."""
        check_keys(keys)
        snapshot = await self._client(vhost).backend.read(keys)
        return [_value(key, snapshot.entries[key], snapshot.time) for key in keys]

    @api
    async def mgetwithcache(
        self, keys: list[str], vhost: str = "", cache: Any = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """Get several values and a cache. With the cache of an earlier call, unchanged values are the same objects."""
        check_keys(keys)
        snapshot = await self._client(vhost).backend.read(keys)
        known = cache if isinstance(cache, Mapping) else {}
        fresh: dict[str, tuple[str, Stored]] = {}
        for key, entry in snapshot.entries.items():
            if entry is not None:
                fresh[key] = entry.version, _cached(known.get(key), entry) or _decoded(key, entry)
        return [fresh[key][1].at(snapshot.time) if key in fresh else None for key in keys], fresh

    @api
    async def mset(self, kvpairs: Any, timeout: float | None = None, vhost: str = "") -> None:  # noqa: ASYNC109 (a lifetime)
        """Set several keys at once, from a dictionary or pairs; the timeout is as for set."""
        try:
            pairs: dict[str, Any] = dict(kvpairs)
        except (TypeError, ValueError):
            raise BadParameterError("kvpairs is neither a dictionary nor a list of pairs") from None
        check_keys(pairs)
        backend = self._client(vhost).backend
        deadline = await _deadline(backend, timeout)
        gone = timeout is not None and timeout <= 0
        writes = {key: None if gone else encode(key, Stored(value, deadline)) for key, value in pairs.items()}
        await backend.commit(Preconditions(), writes)

    @api
    async def update(
        self,
        key: str,
        updater: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (a lifetime)
        vhost: str = "",
    ) -> Any:
        """Replace a value by updater(key, value), which may be called more than once; None deletes. Returns the value.

        Only for other modules: a function cannot be given through the web API.
        """
        return (await self.mupdate([key], updater, timeout, vhost))[0]

    @api
    async def mupdate(
        self,
        keys: list[str],
        updater: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (a lifetime)
        vhost: str = "",
    ) -> list[Any]:
        """Replace several values by updater(key, value) each, all or none. Returns the new values."""
        check_function(updater)

        def update_each(keys: list[str], values: list[Any], now: int) -> tuple[list[str], list[Any]]:
            return keys, [updater(key, value) for key, value in zip(keys, values, strict=True)]

        return (await self._update(vhost, keys, update_each, timeout))[1]

    @api
    async def updateall(
        self,
        keys: list[str],
        updater: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (a lifetime)
        vhost: str = "",
    ) -> tuple[list[str], list[Any]]:
        """Write what updater(keys, values) returns, (keys, values), all or none. Returns that pair."""
        check_function(updater)
        return await self._update(vhost, keys, lambda keys, values, now: updater(keys, values), timeout)

    @api
    async def updateallwithtime(
        self,
        keys: list[str],
        updater: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (a lifetime)
        vhost: str = "",
    ) -> tuple[list[str], list[Any]]:
        """As updateall, with updater(keys, values, now); now is the store's time in microseconds."""
        check_function(updater)
        return await self._update(vhost, keys, updater, timeout)

    @api
    async def listallkeys(self, vhost: str = "") -> list[str]:
        """All keys of the store, for management."""
        return self._client(vhost).backend.keys()

    def statistics(self) -> dict[str, Any]:
        return {**super().statistics(), **self.backend.statistics()}

    def _client(self, vhost: str) -> Client:
        if vhost not in self._clients:
            defined = ", ".join(repr(name) for name in self._clients)
            raise NotFoundError(f"vhost {vhost!r} is not defined in {self.name}; there is {defined}")
        return self._clients[vhost]

    async def _update(
        self,
        vhost: str,
        keys: list[str],
        updater: Callable[[list[str], list[Any], int], tuple[Iterable[str], Iterable[Any]]],
        lifetime: float | None,
    ) -> tuple[list[str], list[Any]]:
        check_keys(keys)
        backend, transactor = self._client(vhost)
        now = (await backend.read()).time
        deadline = await _deadline(backend, lifetime)

        def change(view: TransactionView, keys: list[str]) -> Outcome:
            stored: list[Stored | None] = view.many(keys)
            values = [each.at(now) if each is not None else None for each in stored]
            new_keys, new_values = map(list, updater(list(keys), values, now))
            check_keys(new_keys)
            pairs = zip(new_keys, new_values, strict=True)
            gone = lifetime is not None and lifetime <= 0
            writes = {key: None if value is None or gone else Stored(value, deadline) for key, value in pairs}
            return Outcome(writes, answer=(new_keys, new_values))

        answer: tuple[list[str], list[Any]] = (await transactor.run(change, keys)).answer
        return answer

    async def _rearm(self, client: Client, key: str, lifetime: float) -> None:
        deadline = await _deadline(client.backend, lifetime)
        now = (await client.backend.read()).time

        def change(view: TransactionView, key: str) -> Outcome:
            stored: Stored | None = view.get(key)
            if stored is None:
                return Outcome({})
            gone = lifetime <= 0 or stored.at(now) is None
            return Outcome({key: None if gone else Stored(stored.value, deadline)})

        await client.transactor.run(change, key)

    async def _sweep(self) -> None:
        """Delete what has expired, now and then: reads do not show it, but it takes room."""
        while True:
            await asyncio.sleep(self.settings.checkinterval)
            for backend, _ in list(self._clients.values()):
                with contextlib.suppress(StoreUnavailableError):  # next time
                    await self._sweep_all(backend)

    async def _sweep_all(self, backend: LocalBackend) -> None:
        keys = backend.keys()
        for start in range(0, len(keys), _SWEEP_AT_ONCE):
            await self._sweep_some(backend, keys[start : start + _SWEEP_AT_ONCE])
            await asyncio.sleep(0)

    async def _sweep_some(self, backend: LocalBackend, keys: Sequence[str]) -> None:
        snapshot = await backend.read(keys)
        for key, entry in snapshot.entries.items():
            if entry is not None and entry.value.startswith(b"!") and _has_expired(entry, snapshot.time):
                result = await backend.commit(Preconditions({key: entry.version}), {key: None})
                if isinstance(result, Committed):
                    self.logger.debug("%r has expired", key)


async def _deadline(backend: Backend, lifetime: float | None) -> int | None:
    if lifetime is None:
        return None
    return (await backend.read()).time + int(min(lifetime, _LONGEST_LIFETIME) * 1e6)


def _has_expired(entry: Entry, now: int) -> bool:
    with contextlib.suppress(ValueError):
        return int(entry.value[1:].partition(b"\n")[0]) <= now
    return False


def _cached(cached: Any, entry: Entry) -> Stored | None:
    """What a cache holds of a key, if it is still so. A cache from the web API is JSON, and anything in JSON."""
    match cached:
        case [version, [value, None | int() as deadline]] if version == entry.version:
            return Stored(value, deadline)
    return None


def _value(key: str, entry: Entry | None, now: int) -> Any:
    return _decoded(key, entry).at(now) if entry is not None else None


def _decoded(key: str, entry: Entry) -> Stored:
    """What was stored; `UndecodableError` that names the key if it is no stored form."""
    try:
        return decode(key, entry.value)
    except (ValueError, RecursionError) as error:
        raise UndecodableError(key, str(error)) from None
