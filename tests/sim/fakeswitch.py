"""A fake switch: it speaks OpenFlow 1.3 over a Unix socket as Open vSwitch does, and fails on demand.

It dials the controller. Its tables and ports outlive its connections; a bundle is carried out whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sim.tables import TABLE_FULL, RefusedError, Tables
from vlcp.wire.openflow import (
    MORE,
    ONF,
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
    GroupDescRequest,
    GroupMod,
    Hello,
    Match,
    Message,
    MultipartReply,
    MultipartType,
    PacketIn,
    PacketOut,
    Port,
    PortDesc,
    PortDescRequest,
    PortReason,
    PortStatus,
    WireError,
    parse,
)

MSG_FAILED = 2313
"""The bundle's own error when one of its messages was refused (ONF extension 230, BUNDLE_FAILED)."""

TURN = 50
"""Messages after which the switch lets others run."""

_PART = 60_000
Mod = FlowMod | GroupMod


@dataclass
class Faults:
    """What goes wrong. A fault holds until it is taken back; those that end a connection happen once."""

    refuses: Callable[[Mod], bool] = lambda mod: False
    """Refuse every change of which this is true, with `error`."""
    refuses_nth: int = 0
    """Refuse one change: the nth from now."""
    error: tuple[int, int] = TABLE_FULL
    silent: bool = False
    """Read, and answer nothing."""
    delay: float = 0.0
    """Seconds until a message is looked at."""
    drops_before_commit: bool = False
    """Close the connection when a bundle shall be committed; it is not carried out."""
    drops_after_commit: bool = False
    """Carry the next bundle out, and close the connection instead of saying so."""
    drops_in_bundle: int = 0
    """Close the connection when this many messages of a bundle have come."""


@dataclass
class _Bundle:
    mods: list[Mod] = field(default_factory=list)


class FakeSwitch:
    """`received` counts messages by the name of their type; `mods` is every change that was carried out."""

    def __init__(self, path: str, datapath_id: int = 1) -> None:
        self.path = path
        self.datapath_id = datapath_id
        self.tables = Tables()
        self.ports: dict[int, PortDesc] = {Port.LOCAL: PortDesc(Port.LOCAL, 0x02FF, "br0")}
        self.faults = Faults()
        self.received: Counter[str] = Counter()
        self.mods: list[Mod] = []
        self.sent_out: list[PacketOut] = []
        self._writer: asyncio.StreamWriter | None = None
        self._session: asyncio.Task[None] | None = None
        self._bundles: dict[int, _Bundle] = {}

    # What a test does with it.

    async def connect(self) -> None:
        """Dial the controller."""
        await self.disconnect()
        reader, self._writer = await asyncio.open_unix_connection(self.path)
        self._bundles.clear()
        self._send(Hello())
        self._session = asyncio.create_task(self._serve(reader, self._writer), name="fake switch")

    async def disconnect(self) -> None:
        """Close the connection, if there is one."""
        session, writer = self._session, self._writer
        self._session = self._writer = None
        if session is not None and writer is not None:
            session.cancel()
            await asyncio.wait([session])
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def connected(self) -> bool:
        """Whether the connection still is there."""
        return self._session is not None and not self._session.done()

    def forget_counts(self) -> None:
        """Count from here on."""
        self.received.clear()
        self.mods.clear()

    def add_port(self, number: int, name: str) -> None:
        """A port appears, or changes."""
        reason = PortReason.MODIFY if number in self.ports else PortReason.ADD
        self.ports[number] = PortDesc(number, number, name)
        self._send(PortStatus(reason, self.ports[number]))

    def remove_port(self, number: int) -> None:
        """A port goes."""
        self._send(PortStatus(PortReason.DELETE, self.ports.pop(number)))

    def packet_in(self, in_port: int, frame: bytes, *, table: int = 0, cookie: int = 0) -> None:
        """A packet comes up."""
        self._send(PacketIn(table=table, cookie=cookie, match=Match(in_port=in_port), data=frame))

    # The session.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    for _ in range(TURN):
                        await self._take(await _read(reader))
                    await asyncio.sleep(0)
        finally:
            writer.close()

    async def _take(self, data: bytes) -> None:
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        message = parse(data)
        self.received[type(message).__name__] += 1
        answer = _ANSWERS.get(type(message))
        if answer is not None:
            answer(self, message)

    def _send(self, *messages: Message, xid: int = 0) -> None:
        if self._writer is not None and not self._writer.is_closing() and not self.faults.silent:
            self._writer.write(b"".join(message.pack(xid) for message in messages))

    def _drop(self) -> None:
        raise ConnectionError("the fake switch drops the connection")

    # Answers.

    def _answer_echo(self, request: EchoRequest) -> None:
        self._send(EchoReply(request.data), xid=request.xid)

    def _answer_features(self, request: FeaturesRequest) -> None:
        self._send(FeaturesReply(self.datapath_id, 0, 254), xid=request.xid)

    def _answer_barrier(self, request: BarrierRequest) -> None:
        self._send(BarrierReply(), xid=request.xid)

    def _dump_ports(self, request: PortDescRequest) -> None:
        self._dump(MultipartType.PORT_DESC, (port.pack() for port in self.ports.values()), request.xid)

    def _dump_flows(self, request: FlowRequest) -> None:
        self._dump(MultipartType.FLOW, self.tables.flow_dump(), request.xid)

    def _dump_groups(self, request: GroupDescRequest) -> None:
        self._dump(MultipartType.GROUP_DESC, self.tables.group_dump(), request.xid)

    def _dump(self, kind: MultipartType, entries: Iterable[bytes], xid: int) -> None:
        *others, last = _parts(entries)
        self._send(*(MultipartReply(kind, MORE, body) for body in others), xid=xid)
        self._send(MultipartReply(kind, 0, last), xid=xid)

    def _take_mod(self, mod: Mod) -> None:
        try:
            self._carry_out(self.tables, mod)
        except RefusedError as refused:
            self._refuse(mod, refused)

    def _take_packet(self, message: PacketOut) -> None:
        self.sent_out.append(message)

    # Bundles.

    def _control(self, control: BundleControl) -> None:
        match control.command:
            case BundleCommand.OPEN_REQUEST:
                self._bundles[control.bundle_id] = _Bundle()
            case BundleCommand.COMMIT_REQUEST:
                if not self._commit(self._bundles.pop(control.bundle_id)):
                    data = ONF.to_bytes(4, "big") + control.pack(control.xid)
                    self._send(Error(ErrorType.EXPERIMENTER, MSG_FAILED, data), xid=control.xid)
                    return
            case BundleCommand.DISCARD_REQUEST:
                self._bundles.pop(control.bundle_id)
        reply = BundleControl(control.bundle_id, control.command + 1, control.flags)
        self._send(reply, xid=control.xid)

    def _add(self, add: BundleAdd) -> None:
        bundle = self._bundles[add.bundle_id]
        try:
            mod = parse(add.message)
        except WireError:
            error = Error(ErrorType.BAD_REQUEST, 6, add.message[:64])
            self._send(error, xid=add.xid)
            return
        assert isinstance(mod, FlowMod | GroupMod), f"in a bundle: {mod}"
        bundle.mods.append(mod)
        if 0 < self.faults.drops_in_bundle <= len(bundle.mods):
            self.faults.drops_in_bundle = 0
            self._drop()

    def _commit(self, bundle: _Bundle) -> bool:
        """Carry the bundle out, or say which of its messages is refused and do nothing."""
        if self.faults.drops_before_commit:
            self.faults.drops_before_commit = False
            self._drop()
        before, done = self.tables, len(self.mods)
        self.tables = before.copy()
        for mod in bundle.mods:
            try:
                self._carry_out(self.tables, mod)
            except RefusedError as refused:
                self.tables = before
                del self.mods[done:]
                self._refuse(mod, refused)
                return False
        if self.faults.drops_after_commit:
            self.faults.drops_after_commit = False
            self._drop()
        return True

    def _carry_out(self, tables: Tables, mod: Mod) -> None:
        nth = self.faults.refuses_nth == 1
        self.faults.refuses_nth = max(0, self.faults.refuses_nth - 1)
        if nth or self.faults.refuses(mod):
            raise RefusedError(self.faults.error)
        tables.take(mod)
        self.mods.append(mod)

    def _refuse(self, mod: Mod, refused: RefusedError) -> None:
        self._send(Error(*refused.kind, mod.pack(mod.xid)[:64]), xid=mod.xid)


async def _read(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(8)
    return header + await reader.readexactly(int.from_bytes(header[2:4], "big") - 8)


def _parts(entries: Iterable[bytes]) -> Iterator[bytes]:
    """The bodies of a multipart reply: as many entries in each as fit; at least one body."""
    body: list[bytes] = []
    size = 0
    for entry in entries:
        if size + len(entry) > _PART:
            yield b"".join(body)
            body, size = [], 0
        body.append(entry)
        size += len(entry)
    yield b"".join(body)


_ANSWERS: dict[type[Message], Callable[[FakeSwitch, Any], None]] = {
    EchoRequest: FakeSwitch._answer_echo,
    FeaturesRequest: FakeSwitch._answer_features,
    BarrierRequest: FakeSwitch._answer_barrier,
    PortDescRequest: FakeSwitch._dump_ports,
    FlowRequest: FakeSwitch._dump_flows,
    GroupDescRequest: FakeSwitch._dump_groups,
    FlowMod: FakeSwitch._take_mod,
    GroupMod: FakeSwitch._take_mod,
    PacketOut: FakeSwitch._take_packet,
    BundleControl: FakeSwitch._control,
    BundleAdd: FakeSwitch._add,
}
