"""Objects in the store: the mirror that shows them and the transactions that change them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from vlcp.derive.view import PendingError
from vlcp.model import codec
from vlcp.server.api import BadParameterError, UnavailableError, api
from vlcp.server.module import Module, ModuleError, depend
from vlcp.service.kvdb.checks import check_function, check_keys
from vlcp.service.kvdb.storage import KVStorage
from vlcp.store.contract import Backend
from vlcp.store.mirror import Mirror, Reader
from vlcp.store.transaction import Outcome, TransactionView, Transactor
from vlcp.store.walk import RetrieveError, walk


@depend(KVStorage)
class ObjectDB(Module):
    """Abstract transaction layer for the key-value store.

    A *request id* is any hashable that a caller chooses; a key is kept up to date in this process as long as some
    request id holds it. Values are immutable: a change puts a new one in the place of the old.
    """

    service = True
    ignored = frozenset({"objectupdatepriority", "debuggingupdater"})

    mirror: Mirror
    transactor: Transactor

    async def load(self) -> None:
        """Follow the store."""
        store = self.dependency(KVStorage)
        backend: Backend | None = getattr(store, "backend", None)
        if backend is None:
            raise ModuleError(
                f"{type(store).__name__} (proxy.kvstorage) is not a store that objectdb can use"
            )
        self._backend = backend
        self._holders: dict[str, dict[Any, None]] = {}
        self.mirror = Mirror(backend, codec.decode)
        self.transactor = Transactor(backend, self.mirror, codec.encode)
        self._reader = self.mirror.reader(lambda change: None)
        await self.mirror.start()

    async def unload(self) -> None:
        """Follow nothing any more."""
        if hasattr(self, "mirror"):
            await self.mirror.stop()

    @api
    async def get(self, key: str, requestid: Any, nostale: bool = False) -> Any:
        """Get an object and keep it under the request id; None if it does not exist."""
        return (await self.mget([key], requestid, nostale))[0]

    @api
    async def mget(self, keys: list[str], requestid: Any, nostale: bool = False) -> list[Any]:
        """Get several objects at one moment and keep those that exist under the request id."""
        _check_requestid(requestid)
        check_keys(keys)
        with self._reading(nostale) as reader:
            await reader.ready(keys)
            values = [reader.get(key) for key in keys]
            self._hold([key for key, value in zip(keys, values, strict=True) if value is not None], requestid)
            return values

    @api
    async def getonce(self, key: str, nostale: bool = False) -> Any:
        """Get a copy of an object, None if it does not exist. Nothing is kept."""
        return (await self.mgetonce([key], nostale))[0]

    @api
    async def mgetonce(self, keys: list[str], nostale: bool = False) -> list[Any]:
        """Get copies of several objects. Nothing is kept."""
        check_keys(keys)
        with self._reading(nostale) as reader:
            await reader.ready(keys)
            return [_private(reader.get(key)) for key in keys]

    @api
    async def unwatch(self, key: str, requestid: Any) -> None:
        """Stop keeping an object under a request id."""
        await self.munwatch([key], requestid)

    @api
    async def munwatch(self, keys: list[str], requestid: Any) -> None:
        """Stop keeping several objects under a request id."""
        _check_requestid(requestid)
        for key in keys:
            holders = self._holders.get(key, {})
            holders.pop(requestid, None)
            if not holders and self._holders.pop(key, None) is not None:
                self._reader.release([key])

    @api
    async def unwatchall(self, requestid: Any) -> None:
        """Stop keeping everything that is kept under a request id."""
        _check_requestid(requestid)
        await self.munwatch(
            [key for key, holders in self._holders.items() if requestid in holders], requestid
        )

    @api
    def watchlist(self, requestid: Any = None) -> dict[str, list[Any]]:
        """The keys that are kept, with their request ids; only those of one request id if it is given."""
        return {
            key: list(holders)
            for key, holders in self._holders.items()
            if requestid is None or requestid in holders
        }

    @api
    async def gettimestamp(self) -> int:
        """The store's time in microseconds since 1970."""
        return (await self._backend.read()).time

    @api
    async def transact(
        self, keys: list[str], updater: Any, withtime: bool = False, maxtime: float = 60.0
    ) -> None:
        """Write what updater(keys, values) returns, (keys, values), all or none; None deletes a key.

        The updater may be called more than once and gets copies. With withtime it is called with a third parameter, the
        store's time in microseconds. What it raises is raised here, and nothing is written.
        """
        check_function(updater)
        check_keys(keys)
        extra = (await self.gettimestamp(),) if withtime else ()

        def change(view: TransactionView, keys: list[str]) -> Outcome:
            values = [_private(value) for value in view.many(keys)]
            written, objects = updater(list(keys), values, *extra)
            return Outcome(dict(zip(written, objects, strict=True)))

        await self.transactor.run(change, keys, timeout=maxtime)

    @api
    async def walk(
        self, keys: list[str], walkerdict: Any, requestid: Any, nostale: bool = False
    ) -> tuple[list[str], list[Any]]:
        """Read from key to key with walker(key, value, walk, save), one for each start key in walkerdict.

        walk(key) gives the value of another key or raises a KeyError if it is not read yet; the walker catches it and
        returns, and is called again. save(key) puts a key into the result and keeps it under the request id. All values
        of the last call are of one moment. Returns the saved keys and their values.
        """
        _check_requestid(requestid)
        if not isinstance(walkerdict, Mapping):
            raise BadParameterError("parameter 'walkerdict' must be a dictionary of functions")
        for walker in walkerdict.values():
            check_function(walker, "walkerdict")
        check_keys(keys)
        with self._reading(nostale) as reader:
            while True:
                walked = walk(reader, keys, walkerdict)
                if not walked.missing:
                    break
                await reader.ready(walked.missing)
            self._hold([key for key, value in walked.saved.items() if value is not None], requestid)
            return list(walked.saved), list(walked.saved.values())

    @api
    async def writewalk(
        self, keys: list[str], walker: Any, withtime: bool = False, maxtime: float = 60.0
    ) -> None:
        """Read from key to key and write, all or none, with walker(walk, write).

        walk(key) gives a copy of a value, or what was written before, or raises a KeyError if it is not read yet; the
        walker catches it and returns, and is called again. write(key, value) writes, None deletes. With withtime the
        walker gets the store's time in microseconds as a third parameter. keys are read at the beginning.
        """
        check_function(walker, "walker")
        check_keys(keys)
        extra = (await self.gettimestamp(),) if withtime else ()

        def change(view: TransactionView, keys: list[str]) -> Outcome:
            with contextlib.suppress(PendingError):
                view.many(keys)
            writes: dict[str, Any] = {}
            walker(_walk_and_write(view, writes), writes.__setitem__, *extra)
            return Outcome(writes)

        await self.transactor.run(change, keys, timeout=maxtime)

    def statistics(self) -> dict[str, Any]:
        """Figures of the mirror and of the transactions."""
        return {
            **super().statistics(),
            "held_keys": len(self._holders),
            "mirror": self.mirror.statistics(),
            "transactions": self.transactor.statistics(),
        }

    @contextlib.contextmanager
    def _reading(self, nostale: bool) -> Iterator[Reader]:
        if nostale and self.mirror.away:
            raise UnavailableError(
                "the store is away, and a result that may be old was not asked for (nostale)"
            )
        reader = self.mirror.reader(lambda change: None)
        try:
            yield reader
        finally:
            reader.close()

    def _hold(self, keys: Iterable[str], requestid: Any) -> None:
        for key in keys:
            self._holders.setdefault(key, {})[requestid] = None
            self._reader.want([key])


def _walk_and_write(view: TransactionView, writes: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(key: str) -> Any:
        if key in writes:
            return writes[key]
        try:
            return _private(view.get(key))
        except PendingError:
            raise RetrieveError(key) from None

    return read


def _private(value: Any) -> Any:
    """A value that its owner may change: objects of ours cannot be changed anyway."""
    return value if codec.known(value) else msgspec.json.decode(msgspec.json.encode(value))


def _check_requestid(requestid: Any) -> None:
    try:
        hash(requestid)
    except TypeError:
        raise BadParameterError("parameter 'requestid' must be hashable, a text for example") from None
