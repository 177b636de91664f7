"""JSON-RPC connections with a scripted peer: what a real server never sends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from vlcp.link import ovsdb as link
from vlcp.link.address import parse
from vlcp.link.jsonrpc import KeepAlive
from vlcp.link.ovsdb import OvsdbConnection
from vlcp.wire.jsonrpc import Framer
from vlcp.wire.ovsdb import OvsdbError, RowChange

SCHEMA = {"name": "db", "version": "1.0.0", "tables": {"t": {"columns": {"c": {"type": "string"}}}}}
UUID = "01234567-89ab-cdef-0123-456789abcdef"


class Peer:
    """The other end. Requests are answered by `answers` (method -> result, or a function of the parameters)."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"get_schema": SCHEMA, "monitor_cond": {}}
        self.got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def start(self) -> None:
        accepted: asyncio.Queue[OvsdbConnection] = asyncio.Queue()
        self.listener = await link.serve(
            parse("ptcp://127.0.0.1:0"), accepted.put_nowait, keep_alive=KeepAlive(60, 60)
        )
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.listener.address.port)
        self.connection = await accepted.get()
        self.task = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        framer = Framer()
        while data := await self.reader.read(65536):
            for text in framer.feed(data):
                message = json.loads(text)
                self.got.put_nowait(message)
                if message.get("method") in self.answers:
                    answer = self.answers[message["method"]]
                    result = answer(message["params"]) if callable(answer) else answer
                    self.send({"id": message["id"], "result": result, "error": None})

    def send(self, *messages: Any) -> None:
        """Send in one piece."""
        self.writer.write("".join(map(json.dumps, messages)).encode())

    async def stop(self) -> None:
        self.task.cancel()
        self.writer.close()
        self.connection.close()
        self.listener.close()
        await asyncio.gather(self.connection.wait_closed(), self.writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()


async def test_requests_of_the_peer(peer: Peer) -> None:
    peer.send({"method": "echo", "params": [1, {"a": None}], "id": "e"})
    assert await peer.got.get() == {"id": "e", "result": [1, {"a": None}], "error": None}
    peer.send({"method": "steal", "params": [], "id": 9})
    assert await peer.got.get() == {"id": 9, "result": None, "error": "method is not supported"}
    peer.send({"method": "unheard of", "params": [], "id": None}, {"method": "echo", "params": [], "id": 10})
    assert (await peer.got.get())["id"] == 10


async def test_errors_of_replies(peer: Peer) -> None:
    call = asyncio.create_task(peer.connection.call("x", 1))
    request = await peer.got.get()
    assert (request["method"], request["params"]) == ("x", [1])
    peer.send(
        {"id": request["id"], "result": None, "error": {"error": "unknown database", "details": "no x"}}
    )
    with pytest.raises(OvsdbError, match="unknown database: no x"):
        await call


async def test_a_late_reply_to_a_cancelled_call_is_ignored(peer: Peer) -> None:
    call = asyncio.create_task(peer.connection.call("slow"))
    request = await peer.got.get()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    peer.answers["fast"] = "quick"
    peer.send({"id": request["id"], "result": "slow", "error": None}, {"id": [], "result": 1, "error": None})
    assert await peer.connection.call("fast") == "quick"
    assert peer.connection.statistics()["calls"] == 0


async def test_a_reply_and_the_updates_behind_it_in_one_piece_keep_their_order(peer: Peer) -> None:
    seen: list[RowChange] = []

    def monitor(params: list[Any]) -> Any:
        update = {"t": {UUID: {"modify": {"c": "second"}}}}
        peer.connection._loop.call_soon(
            peer.send, {"method": "update2", "params": [params[1], update], "id": None}
        )
        return {"t": {UUID: {"initial": {"c": "first"}}}}

    peer.answers["monitor_cond"] = monitor
    replica = await peer.connection.monitor("db", {"t": ["c"]}, seen.extend)
    await wait_for(lambda: len(seen) == 2)
    assert [change.new for change in seen] == [{"c": "first"}, {"c": "second"}]
    assert replica.tables == {"t": {UUID: {"c": "second"}}}


async def test_messages_behind_a_big_update_wait_for_it(peer: Peer) -> None:
    sizes: list[int] = []
    rows = {f"{i:08}-89ab-cdef-0123-456789abcdef": {"initial": {"c": "x" * 50}} for i in range(20_000)}

    def monitor(params: list[Any]) -> Any:
        update = {"t": {next(iter(rows)): {"delete": None}}}
        peer.writer.write(b" ")
        peer.connection._loop.call_soon(
            peer.send, {"method": "update2", "params": [params[1], update], "id": None}
        )
        return {"t": rows}

    peer.answers["monitor_cond"] = monitor
    replica = await peer.connection.monitor("db", {"t": ["c"]}, lambda changes: sizes.append(len(changes)))
    await wait_for(lambda: len(sizes) == 2)
    assert sizes == [20_000, 1]
    assert len(replica.tables["t"]) == 19_999


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a message must be a JSON object"),
        (b'{"method": 3}', "not a JSON-RPC message"),
        (b'{"method": "update2", "params": ["monitor-1"], "id": null}', "expected two parameters"),
        (b'{"method": "update2", "params": ["monitor-1", {"t": {"u": {"modify": {}}}}]}', "never told of"),
        (
            b'{"method": "update2", "params": ["monitor-1", {"t": {"u": {"insert": {"c": 1}}}}]}',
            "t.c: expected string",
        ),
        (b'{"method": "update2", "params": ["monitor-1", {"x": {"u": {"insert": {}}}}]}', "not monitored"),
    ],
)
async def test_garbage_ends_the_connection_with_its_reason(peer: Peer, data: bytes, reason: str) -> None:
    await peer.connection.monitor("db", {"t": ["c"]}, lambda changes: None)
    call = asyncio.create_task(peer.connection.call("unanswered"))
    await peer.got.get()
    peer.writer.write(data)
    with pytest.raises(ConnectionError, match=reason):
        await peer.connection.wait_closed()
    with pytest.raises(ConnectionError, match=reason):
        await call


async def test_a_receiver_that_fails_ends_the_connection(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(changes: list[RowChange]) -> None:
        raise KeyError("oops")

    peer.answers["monitor_cond"] = {"t": {UUID: {"initial": {}}}}
    with pytest.raises(ConnectionError, match="unexpected KeyError"):
        await peer.connection.monitor("db", {"t": ["c"]}, fail)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_the_peers_orderly_end_is_no_error(peer: Peer) -> None:
    call = asyncio.create_task(peer.connection.call("unanswered"))
    await peer.got.get()
    peer.writer.close()
    await peer.connection.wait_closed()
    with pytest.raises(ConnectionError, match="the connection was closed"):
        await call


async def test_calls_of_one_turn_leave_in_one_write(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = peer.connection._transport.write
    monkeypatch.setattr(peer.connection._transport, "write", lambda data: (writes.append(data), write(data)))
    peer.answers["x"] = True
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(peer.connection.call("x"))
    assert len(writes) == 1
    assert peer.connection.statistics()["messages_sent"] == 50


async def test_close_sends_what_was_asked_for(peer: Peer) -> None:
    call = asyncio.create_task(peer.connection.call("last words"))
    await asyncio.sleep(0)
    peer.connection.close()
    assert (await peer.got.get())["method"] == "last words"
    with pytest.raises(ConnectionError):
        await call
    await peer.connection.wait_closed()


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)
