"""The session against a scripted peer: a plain socket that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from vlcp.link.address import Address, connect, listen
from vlcp.link.openflow import BundleError, OpenFlowConnection, OpenFlowError, Patience, serve
from vlcp.wire.openflow import (
    BarrierReply,
    BarrierRequest,
    BundleAdd,
    BundleCommand,
    BundleControl,
    EchoReply,
    EchoRequest,
    Error,
    ErrorType,
    FeaturesReply,
    FeaturesRequest,
    FlowMod,
    FlowRequest,
    Hello,
    HelloFailed,
    Message,
    MultipartReply,
    PacketIn,
    PacketOut,
    parse,
)


class Peer:
    """The other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> Message:
        header = await self.reader.readexactly(8)
        return parse(header + await self.reader.readexactly(int.from_bytes(header[2:4], "big") - 8))

    def write(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def greet(self, datapath_id: int = 42) -> None:
        """Hello and features, as a switch answers them."""
        assert isinstance(await self.read(), Hello)
        self.write(Hello().pack(1))
        request = await self.read()
        assert isinstance(request, FeaturesRequest)
        self.write(FeaturesReply(datapath_id, 0, 254, 0).pack(request.xid))

    async def ended(self) -> bool:
        """Whether the connection ends, whatever is still sent before."""
        async with asyncio.timeout(5):
            while await self.reader.read(65536):
                pass
        return True


class Pair:
    """A peer and our connection to it."""

    def __init__(self, peer: Peer, connection: OpenFlowConnection) -> None:
        self.peer, self.connection = peer, connection


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Makes connected pairs: `await pair(...)`, arguments are those of `OpenFlowConnection`."""
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    path = f"{tmp_path}/switch"
    server = await asyncio.start_unix_server(lambda r, w: peers.put_nowait(Peer(r, w)), path)
    made: list[Pair] = []

    async def make(greet: bool = True, **options: Any) -> Pair:
        address = Address("unix", path=path)
        _, connection = await connect(address, lambda: OpenFlowConnection(**options))
        made.append(Pair(await peers.get(), connection))
        if greet:
            await made[-1].peer.greet()
            await connection.ready()
        return made[-1]

    yield make
    for each in made:
        each.connection.close()
        each.peer.writer.close()
        await asyncio.wait_for(each.connection.wait_closed(), 5)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)


Make = Callable[..., "asyncio.Future[Pair]"]


async def test_a_session_knows_the_switch_when_it_is_ready(pair: Make) -> None:
    both = await pair()
    assert both.connection.datapath_id == 42
    assert both.connection.auxiliary_id == 0
    assert both.connection.statistics()["state"] == "ready"


async def test_a_peer_without_our_version_is_told_so_and_left(
    pair: Make, caplog: pytest.LogCaptureFixture
) -> None:
    both = await pair(greet=False)
    assert isinstance(await both.peer.read(), Hello)
    both.peer.write(Hello(frozenset({1})).pack(1))
    error = await both.peer.read()
    assert isinstance(error, Error)
    assert (error.type, error.code) == (ErrorType.HELLO_FAILED, HelloFailed.INCOMPATIBLE)
    assert b"OpenFlow 1.3" in error.data
    with pytest.raises(ConnectionError, match="no common version"):
        await both.connection.ready()
    assert await both.peer.ended()
    assert len(caplog.records) == 1


async def test_what_arrives_before_the_features_is_delivered_after_them(pair: Make) -> None:
    seen: asyncio.Queue[Message] = asyncio.Queue()
    both = await pair(greet=False, on_message=seen.put_nowait)
    await both.peer.read()
    both.peer.write(Hello().pack(1), PacketIn(data=b"early").pack(0))
    request = await both.peer.read()
    assert seen.empty()
    both.peer.write(FeaturesReply(1).pack(request.xid), PacketIn(data=b"late").pack(0))
    await both.connection.ready()
    messages = [await seen.get(), await seen.get()]
    assert [message.data for message in messages if isinstance(message, PacketIn)] == [b"early", b"late"]


async def test_messages_wait_for_a_handler(pair: Make) -> None:
    both = await pair()
    both.peer.write(PacketIn(data=b"1").pack(0), EchoRequest().pack(7))
    assert isinstance(await both.peer.read(), EchoReply)
    seen: list[Message] = []
    both.connection.on_message = seen.append
    assert [type(message) for message in seen] == [PacketIn]


async def test_what_one_turn_sends_leaves_in_one_write_with_our_echo_ahead(pair: Make) -> None:
    both = await pair()
    before = both.connection.statistics()["writes"]
    assert isinstance(before, int)
    both.connection.on_message = lambda _: both.connection.send(*[PacketOut(data=bytes(9))] * 5)
    both.peer.write(PacketIn().pack(0), EchoRequest(b"alive?").pack(7))
    first = await both.peer.read()
    assert isinstance(first, EchoReply)
    assert (first.xid, first.data) == (7, b"alive?")
    assert [type(await both.peer.read()) for _ in range(5)] == [PacketOut] * 5
    assert both.connection.statistics()["writes"] == before + 1


async def test_answers_find_their_requests_in_any_order(pair: Make) -> None:
    both = await pair()
    first = asyncio.create_task(both.connection.request(BarrierRequest()))
    second = asyncio.create_task(both.connection.request(BarrierRequest()))
    requests = [await both.peer.read(), await both.peer.read()]
    both.peer.write(*[BarrierReply().pack(request.xid) for request in reversed(requests)])
    assert [(await task).xid for task in (first, second)] == [request.xid for request in requests]
    assert both.connection.statistics()["requests_pending"] == 0


async def test_a_refused_request_names_itself(pair: Make) -> None:
    both = await pair()
    task = asyncio.create_task(both.connection.request(FlowMod(table=3)))
    request = await both.peer.read()
    both.peer.write(Error(5, 1, request.pack(request.xid)[:64]).pack(request.xid))
    with pytest.raises(OpenFlowError, match="refused FlowMod: FLOW_MOD_FAILED/TABLE_FULL") as caught:
        await task
    assert caught.value.request == FlowMod(table=3)


async def test_an_error_that_nobody_waits_for_is_delivered(pair: Make) -> None:
    seen: list[Message] = []
    both = await pair(on_message=seen.append)
    both.peer.write(Error(5, 1).pack(12345), EchoRequest().pack(7))
    await both.peer.read()
    assert [str(message) for message in seen] == ["FLOW_MOD_FAILED/TABLE_FULL"]


async def test_all_parts_of_an_answer_are_collected(pair: Make) -> None:
    both = await pair()
    task = asyncio.create_task(both.connection.multipart(FlowRequest()))
    request = await both.peer.read()
    both.peer.write(
        MultipartReply(1, 1, b"one").pack(request.xid), MultipartReply(1, 0, b"two").pack(request.xid)
    )
    assert await task == [b"one", b"two"]


async def test_a_cancelled_request_leaves_nothing_behind(pair: Make) -> None:
    both = await pair()
    task = asyncio.create_task(both.connection.barrier())
    request = await both.peer.read()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert both.connection.statistics()["requests_pending"] == 0
    seen: asyncio.Queue[Message] = asyncio.Queue()
    both.connection.on_message = seen.put_nowait
    both.peer.write(BarrierReply().pack(request.xid))
    assert isinstance(await seen.get(), BarrierReply)


async def read_bundle(peer: Peer) -> list[Message]:
    """Everything up to the closing of a bundle."""
    messages = [await peer.read()]
    while not (
        isinstance(messages[-1], BundleControl) and messages[-1].command == BundleCommand.CLOSE_REQUEST
    ):
        messages.append(await peer.read())
    return messages


def agreed(request: Message) -> bytes:
    assert isinstance(request, BundleControl)
    return BundleControl(request.bundle_id, request.command + 1, request.flags).pack(request.xid)


async def test_a_bundle_is_filled_in_one_write_and_then_committed(pair: Make) -> None:
    both = await pair()
    before = both.connection.statistics()["writes"]
    assert isinstance(before, int)
    task = asyncio.create_task(both.connection.bundle([FlowMod(table=1), FlowMod(table=2).pack()]))
    opening, first, second, closing = await read_bundle(both.peer)
    assert both.connection.statistics()["writes"] == before + 1
    assert isinstance(first, BundleAdd)
    assert parse(first.message).xid == first.xid != second.xid
    both.peer.write(agreed(opening), agreed(closing))
    commit = await both.peer.read()
    assert isinstance(commit, BundleControl)
    assert commit.command == BundleCommand.COMMIT_REQUEST
    assert not task.done()
    both.peer.write(agreed(commit))
    await task


async def test_a_bundle_with_a_refused_message_is_not_committed(pair: Make) -> None:
    both = await pair()
    task = asyncio.create_task(both.connection.bundle([FlowMod(table=1), FlowMod(table=2), FlowMod(table=3)]))
    opening, _, second, _, closing = await read_bundle(both.peer)
    both.peer.write(agreed(opening), Error(4, 9).pack(second.xid), agreed(closing))
    with pytest.raises(BundleError, match="message 1: BAD_MATCH/BAD_PREREQ") as caught:
        await task
    assert [index for index, _ in caught.value.errors] == [1]
    discard = await both.peer.read()
    assert isinstance(discard, BundleControl)
    assert discard.command == BundleCommand.DISCARD_REQUEST


async def test_a_silent_peer_is_asked_and_then_left(pair: Make) -> None:
    both = await pair(patience=Patience(idle=0.05, echo=0.05))
    question = await both.peer.read()
    assert isinstance(question, EchoRequest)
    both.peer.write(EchoReply().pack(question.xid))
    assert isinstance(await both.peer.read(), EchoRequest)
    await asyncio.wait_for(both.connection.wait_closed(), 5)
    assert both.connection.reason.startswith("no sign of life")


@pytest.mark.parametrize(
    "garbage", ["0400000000000000", "040a001000000001" + "00" * 8, "040a0003" + "00" * 4]
)
async def test_garbage_ends_the_connection_with_one_line(
    pair: Make, caplog: pytest.LogCaptureFixture, garbage: str
) -> None:
    both = await pair()
    waiting = asyncio.create_task(both.connection.barrier())
    await both.peer.read()
    both.peer.write(bytes.fromhex(garbage), PacketIn().pack(0))
    with pytest.raises(ConnectionError, match="garbage"):
        await waiting
    assert await both.peer.ended()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(ConnectionError, match="is closed"):
        both.connection.send(BarrierRequest())


async def test_a_peer_that_leaves_ends_every_request(pair: Make) -> None:
    both = await pair()
    tasks = [
        asyncio.create_task(both.connection.barrier()),
        asyncio.create_task(both.connection.bundle([FlowMod()])),
    ]
    await both.peer.read()
    both.peer.writer.close()
    for task in tasks:
        with pytest.raises(ConnectionError, match="closed by the peer"):
            await task
    await asyncio.wait_for(both.connection.wait_closed(), 5)


async def test_closing_sends_what_is_queued(pair: Make) -> None:
    both = await pair()
    both.connection.send(PacketOut(data=b"last"))
    both.connection.close()
    message = await both.peer.read()
    assert isinstance(message, PacketOut)
    assert message.data == b"last"
    assert await both.peer.ended()


async def test_a_slow_peer_holds_the_sender_back(pair: Make) -> None:
    both = await pair()
    for _ in range(200):
        both.connection.send(PacketOut(data=bytes(60_000)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(both.connection.drain())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    for _ in range(200):
        await both.peer.read()
    await asyncio.wait_for(waiting, 5)
    assert both.connection.statistics()["bytes_queued"] == 0


async def test_a_peer_that_asks_for_signs_of_life_and_takes_none_is_left(
    pair: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlcp.link.openflow_outbox.LONGEST_QUEUE", 1 << 20)
    both = await pair()
    both.peer.writer.transport.pause_reading()
    request = EchoRequest(bytes(60000)).pack(1)
    async with asyncio.timeout(5):
        while not both.connection.closed:
            both.peer.write(request)
            await asyncio.sleep(0)
    assert "the peer takes nothing" in both.connection.reason


async def test_messages_arrive_whole_however_they_are_cut(pair: Make) -> None:
    seen: asyncio.Queue[Message] = asyncio.Queue()
    both = await pair(on_message=seen.put_nowait)
    sent = [PacketIn(data=bytes([number]) * number * 700).pack(0) for number in range(60)]
    stream = b"".join(sent)
    for start in range(0, len(stream), 7777):
        both.peer.write(stream[start : start + 7777])
        await both.peer.writer.drain()
    async with asyncio.timeout(5):
        assert [(await seen.get()).pack(0) for _ in sent] == sent


async def test_a_handler_that_fails_does_not_end_the_connection(
    pair: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Message) -> None:
        raise RuntimeError("a defect")

    both = await pair(on_message=fail)
    both.peer.write(PacketIn().pack(0), EchoRequest().pack(7))
    assert isinstance(await both.peer.read(), EchoReply)
    assert "the handler of PacketIn failed" in caplog.text


async def test_a_switch_that_dials_is_announced_when_it_is_known(tmp_path: Path) -> None:
    arrived: asyncio.Queue[OpenFlowConnection] = asyncio.Queue()
    listener = await serve(Address("punix", path=f"{tmp_path}/controller"), arrived.put_nowait)
    peer = Peer(*await asyncio.open_unix_connection(f"{tmp_path}/controller"))
    await peer.greet(7)
    connection = await asyncio.wait_for(arrived.get(), 5)
    assert connection.datapath_id == 7
    assert connection.peer == f"unix:{tmp_path}/controller"
    peer.writer.close()
    await connection.wait_closed()
    listener.close()
    await listener.wait_closed()


async def test_a_tcp_peer_is_named_by_address_and_port() -> None:
    arrived: asyncio.Queue[OpenFlowConnection] = asyncio.Queue()
    listener = await listen(
        Address("ptcp", "127.0.0.1", 0), lambda: OpenFlowConnection(on_ready=arrived.put_nowait)
    )
    peer = Peer(*await asyncio.open_connection("127.0.0.1", listener.address.port))
    await peer.greet()
    connection = await asyncio.wait_for(arrived.get(), 5)
    assert connection.peer == "127.0.0.1:{}".format(peer.writer.get_extra_info("sockname")[1])
    peer.writer.close()
    await connection.wait_closed()
    listener.close()
    await listener.wait_closed()
