"""Objects in the store: what is kept up to date in this process, and the transactions that change it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlcp.server.api import BadParameterError, api
from vlcp.server.config import Seconds
from vlcp.server.module import Module, ModuleError, depend
from vlcp.service.kvdb import forms
from vlcp.service.kvdb.checks import check_function, keys_of
from vlcp.service.kvdb.redisnotifier import UpdateNotifier
from vlcp.service.kvdb.storage import KVStorage
from vlcp.store.contract import Backend, Preconditions
from vlcp.store.errors import EndlessWalkError, StaleError, StoreUnavailableError
from vlcp.store.holdings import Holdings, Step
from vlcp.store.known import Known
from vlcp.store.mirror import Mirror
from vlcp.store.patience import PATIENCE, answered
from vlcp.store.reference import Reference
from vlcp.store.transaction import Transactor
from vlcp.store.updaters import Updaters, run_again
from vlcp.store.walk import walk

_ROUNDS = 1000
"""Rounds of reads in one walk at most."""
_SHOWN = 20
"""Undecodable keys in the statistics."""


@depend(KVStorage, UpdateNotifier)
class ObjectDB(Module):
    """Abstract transaction layer for the key-value store.

    A *request id* is any hashable that a caller chooses; a key is kept up to date in this process as long as some
    request id holds it. A *reference* shows the present value of a kept key. A key may be given as text, bytes, or an
    object or reference that knows its own.

    Each change of a kept key is notified (name `update`) with key, object (a reference), type (`updated` or `deleted`),
    transactionid, and allkeys: the keys of the same step. Calls are answered after the notifications of what they see.
    """

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.objectdb.*`."""

        debuggingupdater: bool = False
        """Call every updater and walker twice, on equal values, and fail if the results differ."""
        storetimeout: Seconds = PATIENCE
        """Seconds that the store may take for one answer; then it counts as away."""

    service = True

    settings: Settings
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
        self.mirror = Mirror(backend, forms.decode)
        self.transactor = Transactor(backend, self.mirror, forms.encode, self.settings.storetimeout)
        self._updaters = Updaters(self.transactor, forms, checking=self.settings.debuggingupdater)
        self._holdings = Holdings(self.mirror, forms.own, self._tell)
        await self.mirror.start()

    async def unload(self) -> None:
        """Follow nothing any more."""
        if hasattr(self, "_holdings"):
            self._holdings.close()
            await self.mirror.stop()

    @contextlib.contextmanager
    def request(self) -> Iterator[str]:
        """A new request id for a `with` statement; at its end nothing is kept under the id any more."""
        requestid = str(uuid.uuid4())
        try:
            yield requestid
        finally:
            self._holdings.release_all(requestid)

    # Reading

    @api
    async def get(self, key: Any, requestid: Any, nostale: bool = False) -> Reference | None:
        """Get a reference to an object and keep it under the request id; None if it does not exist.

        While the store is away the last values are given, and status 503 for what is not known; with nostale always.
        """
        return (await self.mget([key], requestid, nostale))[0]

    @api
    async def mget(self, keys: list[Any], requestid: Any, nostale: bool = False) -> list[Reference | None]:
        """Get references to several objects of one moment, see get. Keeps those that exist."""
        keys = keys_of(keys)
        with self._call(requestid) as holder:
            await self._ready(holder, keys, nostale)
            found = [self._holdings.existing(key) for key in keys]
            self._holdings.hold(requestid, [reference.getkey() for reference in found if reference])
            return found

    @api
    async def getonce(self, key: Any, nostale: bool = False) -> Any:
        """Get a copy of an object, None if it does not exist. Nothing is kept."""
        return (await self.mgetonce([key], nostale))[0]

    @api
    async def mgetonce(self, keys: list[Any], nostale: bool = False) -> list[Any]:
        """Get copies of several objects of one moment. Nothing is kept."""
        keys = keys_of(keys)
        known = {key: self.mirror.known(key) for key in keys}
        if nostale or None in known.values():
            try:
                if nostale:
                    await self._ask()
                snapshot = await answered(self._backend.read(list(known)), self.settings.storetimeout)
            except StoreUnavailableError:
                last = {key: self.mirror.last(key) for key in keys}
                if nostale:
                    raise StaleError(_owned(keys, last)) from None
                if None in last.values():
                    raise
                return _owned(keys, last)
            known = {key: self.mirror.decoded(key, entry) for key, entry in snapshot.entries.items()}
        return _owned(keys, known)

    @api
    async def watch(self, key: Any, requestid: Any, nostale: bool = False) -> Reference:
        """Get a reference to an object, whether it exists or not, and keep it under the request id.

        reference.isdeleted() tells whether it exists; await reference.wait() until it does.
        """
        return (await self.mwatch([key], requestid, nostale))[0]

    @api
    async def mwatch(self, keys: list[Any], requestid: Any, nostale: bool = False) -> list[Reference]:
        """Get references to several objects of one moment, whether they exist or not, and keep all, see watch."""
        keys = keys_of(keys)
        with self._call(requestid) as holder:
            await self._ready(holder, keys, nostale)
            self._holdings.hold(requestid, keys)
            return [self._holdings.watched(key) for key in keys]

    @api
    async def unwatch(self, key: Any, requestid: Any) -> None:
        """Stop keeping an object under a request id."""
        await self.munwatch([key], requestid)

    @api
    async def munwatch(self, keys: list[Any], requestid: Any) -> None:
        """Stop keeping several objects under a request id."""
        _check_requestid(requestid)
        self._holdings.release(requestid, keys_of(keys))

    @api
    async def unwatchall(self, requestid: Any) -> None:
        """Stop keeping everything under a request id; if calls with this id still run, when they have ended."""
        _check_requestid(requestid)
        self._holdings.release_all(requestid)

    @api
    def watchlist(self, requestid: Any = None) -> dict[str, list[Any]]:
        """The keys that are kept, with their request ids; only those of one request id if it is given."""
        _check_requestid(requestid)
        return self._holdings.held(requestid)

    @api
    async def gettimestamp(self) -> int:
        """The store's time in microseconds since 1970."""
        return (await answered(self._backend.read(), self.settings.storetimeout)).time

    @api
    async def walk(
        self, keys: list[Any], walkerdict: Any, requestid: Any, nostale: bool = False
    ) -> tuple[list[str], list[Reference | None]]:
        """Read from key to key with walker(key, value, walk, save), one for each start key in walkerdict.

        walk(key) gives the value of another key or raises a KeyError if it is not read yet; the walker may catch it and
        go on or return, and is called again. save(key) puts a key into the result and keeps it under the request id.
        All values of the last call are of one moment. Returns the saved keys and references to them.
        """
        keys, walkers = keys_of(keys), _walkers(walkerdict)
        with self._call(requestid) as holder:
            await self._ready(holder, keys, nostale)
            for _ in range(_ROUNDS):
                walked = walk(self._holdings, keys, walkers, keys_of)
                if not walked.missing:
                    break
                await self._ready(holder, keys_of(walked.missing), nostale)
            else:
                raise EndlessWalkError(f"the walkers still ask for more after {_ROUNDS} rounds")
            found = [self._holdings.existing(key) for key in walked.saved]
            self._holdings.hold(requestid, [reference.getkey() for reference in found if reference])
            return list(walked.saved), found

    # Writing

    @api
    async def transact(
        self, keys: list[Any], updater: Any, withtime: bool = False, maxtime: float = 60
    ) -> None:
        """Write what updater(keys, values) returns, (keys, values), all or none; None deletes a key.

        The updater may be called more than once and gets copies. With withtime it is called with a third parameter, the
        store's time in microseconds. What it raises is raised here, and nothing is written. After maxtime seconds the
        transaction is given up.
        """
        check_function(updater)
        await self._updaters.transact(keys_of(keys), updater, await self._times(withtime), maxtime)

    @api
    async def asynctransact(
        self, asyncupdater: Any, withtime: bool = False, maxretry: int | None = None, maxtime: float = 60
    ) -> None:
        """Transact with what await asyncupdater(last_info, container) returns: (updater, keys), or None to end.

        An updater raises AsyncTransactionLockException(info) to begin again from asyncupdater with info as last_info,
        which is None at first; at most maxretry times. container is the server: await container.call(module, api, ...).
        """
        check_function(asyncupdater, "asyncupdater")

        async def run(updater: Any, keys: Any, limit: float) -> None:
            await self.transact(keys, updater, withtime, limit)

        await run_again(lambda info: asyncupdater(info, self.server), run, maxretry, maxtime)

    @api
    async def writewalk(
        self, keys: list[Any], walker: Any, withtime: bool = False, maxtime: float = 60
    ) -> None:
        """Read from key to key and write, all or none, with walker(walk, write).

        walk(key) gives a copy of a value, or what was written before, or raises a KeyError if it is not read yet; the
        walker may catch it and go on or return, and is called again. write(key, value) writes, None deletes. With
        withtime the walker gets the store's time in microseconds as a third parameter. keys are read at the beginning.
        """
        check_function(walker, "walker")
        await self._updaters.walk(keys_of(keys), walker, await self._times(withtime), maxtime)

    @api
    async def asyncwritewalk(self, asyncwalker: Any, withtime: bool = False, maxtime: float = 60) -> None:
        """Writewalk with what await asyncwalker(last_info, container) returns: (keys, walker), or None to end.

        A walker raises AsyncTransactionLockException to begin again, see asynctransact.
        """
        check_function(asyncwalker, "asyncwalker")

        async def run(keys: Any, walker: Any, limit: float) -> None:
            await self.writewalk(keys, walker, withtime, limit)

        await run_again(lambda info: asyncwalker(info, self.server), run, None, maxtime)

    def statistics(self) -> dict[str, Any]:
        """Figures of the kept keys, the mirror and the transactions; undecodable values with the reason."""
        bad = self.mirror.undecodable
        return {
            **super().statistics(),
            "held_keys": len(self._holdings),
            "undecodable": dict(list(bad.items())[:_SHOWN]),
            "mirror": self.mirror.statistics(),
            "transactions": self.transactor.statistics(),
        }

    def _call(self, requestid: Any) -> contextlib.AbstractContextManager[Any]:
        _check_requestid(requestid)
        return self._holdings.call(requestid)

    async def _ready(self, holder: Any, keys: Sequence[str], nostale: bool) -> None:
        """Keep keys for a call and wait until they are known, in their newest form if the store can be reached."""
        self._holdings.hold(holder, keys)
        try:
            if nostale:
                await self._ask()
                await self.gettimestamp()
            await answered(self._holdings.ready(keys), self.settings.storetimeout)
        except StoreUnavailableError:
            known = all(map(self._holdings.knows, keys))
            if nostale:
                raise StaleError(list(map(self._holdings.existing, keys)) if known else None) from None
            if not known:
                raise

    async def _ask(self) -> None:
        """Let a store that reads from memory look at its file; what is new there is told before the return."""
        await answered(self._backend.commit(Preconditions(), {}), self.settings.storetimeout)

    async def _times(self, withtime: bool) -> tuple[int, ...]:
        return (await self.gettimestamp(),) if withtime else ()

    def _tell(self, step: Step) -> None:
        keys = [reference.getkey() for reference in step.changed]
        for key, reference in zip(keys, step.changed, strict=True):
            self.server.notifications.notify(
                self.name, "update",
                key=key, object=reference, type="deleted" if reference.isdeleted() else "updated",
                allkeys=keys, transactionid=step.number,
            )  # fmt: skip


def _owned(keys: Iterable[str], known: Mapping[str, Known | None]) -> list[Any]:
    """Copies of what is known; None for what is not."""
    found = {key: entry.get(key) if entry is not None else None for key, entry in known.items()}
    return [forms.own(key, found[key]) for key in keys]


def _walkers(walkerdict: Any) -> Mapping[str, Any]:
    if not isinstance(walkerdict, Mapping):
        raise BadParameterError("parameter 'walkerdict' must be a dictionary of functions")
    for walker in walkerdict.values():
        check_function(walker, "walkerdict")
    return dict(zip(keys_of(walkerdict), walkerdict.values(), strict=True))


def _check_requestid(requestid: Any) -> None:
    try:
        hash(requestid)
    except TypeError:
        raise BadParameterError("parameter 'requestid' must be hashable, a text for example") from None
