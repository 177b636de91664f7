"""Connections to OVSDB servers: transactions, schemas and monitors (RFC 7047, ovsdb-server(7)).

When a call returns, the changes that the server told of before its reply have been delivered.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from vlcp.link import address as addresses
from vlcp.link.address import Address, Listener
from vlcp.link.jsonrpc import JsonRpcConnection, KeepAlive, Limits, Steps
from vlcp.wire import WireError
from vlcp.wire.jsonrpc import Notification, decode_value
from vlcp.wire.ovsdb import Operation, OvsdbError, Replica, RowChange, Schema, results

OnChanges = Callable[[list[RowChange]], None]

_update_params = msgspec.json.Decoder(list[msgspec.Raw])


class _Monitor(NamedTuple):
    """What one monitor request feeds. `read` decodes the kind of updates that it gets."""

    replica: Replica
    read: Callable[[msgspec.Raw], Iterator[RowChange]]
    on_changes: OnChanges

    def take(self, updates: msgspec.Raw) -> Steps:
        changes = []
        for change in self.read(updates):
            changes.append(change)
            yield
        if changes:
            self.on_changes(self.replica.apply(changes))


class OvsdbConnection(JsonRpcConnection):
    """One connection to a server. Made by `connect` and `serve`."""

    def __init__(
        self,
        peer: str = "",
        keep_alive: KeepAlive | None = None,
        on_connection: Callable[[OvsdbConnection], None] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a constant
    ) -> None:
        super().__init__(peer, keep_alive, on_connection, limits)
        self._monitors: dict[str, _Monitor] = {}
        self._last_monitor = 0
        self._schemas: dict[str, Schema] = {}

    async def transact(self, database: str, *operations: Operation) -> list[Any]:
        """Run operations as one transaction; their results as `wire.ovsdb` says. `OvsdbError`: nothing was done."""
        reads = any(operation["op"] == "select" for operation in operations)
        schema = await self.get_schema(database) if reads else None
        return results(operations, await self.call("transact", database, *operations), schema)

    async def get_schema(self, database: str) -> Schema:
        """The schema of a database, asked for once."""
        if database not in self._schemas:
            self._schemas[database] = Schema.decode(await self.call("get_schema", database))
        return self._schemas[database]

    async def monitor(
        self, database: str, columns: Mapping[str, Sequence[str]], on_changes: OnChanges
    ) -> Replica:
        """Replicate columns (table -> names) of a database for as long as the connection lasts.

        `on_changes` gets all changes of one or more transactions at once, after the replica has taken them. Its first
        call, before this returns, has the rows that exist (none exist: no call). Its exceptions end the connection.
        """
        replica = Replica(await self.get_schema(database), columns)
        requests = {table: [{"columns": list(names)}] for table, names in columns.items()}
        try:
            monitor = _Monitor(replica, replica.read_update2, on_changes)
            await self._start_monitor("monitor_cond", database, requests, monitor)
        except OvsdbError:  # servers before Open vSwitch 2.6 do not know it
            monitor = _Monitor(replica, replica.read_update, on_changes)
            await self._start_monitor("monitor", database, requests, monitor)
        return replica

    async def _start_monitor(self, method: str, database: str, requests: Any, monitor: _Monitor) -> None:
        self._last_monitor += 1
        name = f"monitor-{self._last_monitor}"
        self._monitors[name] = monitor
        try:
            await self._request(method, (database, name, requests), monitor.take)
        except BaseException:
            del self._monitors[name]
            raise

    def _notified(self, notification: Notification) -> Steps:
        if notification.method not in ("update", "update2"):
            return
        params = decode_value(notification.params, _update_params)
        if len(params) != 2:
            raise WireError(f"{notification.method}: expected two parameters, got {len(params)}")
        monitor = self._monitors.get(str(decode_value(params[0])))
        if monitor is not None:
            yield from monitor.take(params[1])

    def statistics(self) -> Mapping[str, int]:
        """Those of `JsonRpcConnection`, and the monitors with their rows."""
        rows = sum(len(table) for m in self._monitors.values() for table in m.replica.tables.values())
        return {**super().statistics(), "monitors": len(self._monitors), "rows": rows}


async def connect(
    address: Address,
    tls: ssl.SSLContext | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - handed on to `address.connect`
    keep_alive: KeepAlive | None = None,
) -> OvsdbConnection:
    """Connect to a server; errors as those of `address.connect`."""
    _, connection = await addresses.connect(
        address, lambda: OvsdbConnection(str(address), keep_alive), tls, timeout
    )
    return connection


async def serve(
    address: Address,
    on_connection: Callable[[OvsdbConnection], None],
    tls: ssl.SSLContext | None = None,
    keep_alive: KeepAlive | None = None,
) -> Listener:
    """Listen for servers that connect to us as their manager; `on_connection` is called with each new connection."""
    return await addresses.listen(address, lambda: OvsdbConnection("", keep_alive, on_connection), tls)
