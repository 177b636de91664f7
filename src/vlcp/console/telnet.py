"""The telnet protocol (RFC 854) as far as a console needs it: lines in, interruptions in, text out."""

from __future__ import annotations

import enum
import re

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
END_OF_FILE, BREAK, INTERRUPT_PROCESS, ARE_YOU_THERE = 236, 243, 244, 246
CONTROL_C, CONTROL_D = 3, 4
LONGEST_LINE = 1 << 16
"""Bytes; a longer line ends the session."""

_REFUSALS = {WILL: DONT, DO: WONT}
_HTTP = re.compile(r"\S+ +\S+ +HTTP/|(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) +(/|\*|https?:)", re.IGNORECASE)
"""A site may let its own name point to us: then it chooses the method, which is any token (RFC 9110 section 5.6.2)."""
_TLS_HANDSHAKE = b"\x16\x03"


class Control(enum.Enum):
    """What may come in the place of a line."""

    INTERRUPT = enum.auto()
    END = enum.auto()


class ForeignProtocolError(ValueError):
    """Somebody speaks another protocol: a browser that another site drives, for example."""


class Decoder:
    """Bytes of the client, in any pieces, into lines and controls. `replies` are to be sent back, then cleared."""

    def __init__(self) -> None:
        self.replies = bytearray()
        self._line = bytearray()
        self._command = bytearray()
        self._after_return = False
        self._lines = 0

    def feed(self, data: bytes) -> list[str | Control]:
        """Lines without their end. Raises `ForeignProtocolError`: nothing of the data shall be carried out then."""
        if not self._lines and (bytes(self._line) + data).startswith(_TLS_HANDSHAKE):
            raise ForeignProtocolError("TLS")
        found: list[str | Control] = []
        for byte in data:
            event = self._in_command(byte) if self._command else self._in_text(byte)
            if event is not None:
                found.append(event)
        return found

    def _in_text(self, byte: int) -> str | Control | None:
        after_return, self._after_return = self._after_return, byte == 13
        match byte:
            case 0 | 10 if after_return:
                return None  # the line has ended with the carriage return
            case 10 | 13:
                return self._end_of_line()
            case _ if byte == IAC:
                self._command.append(byte)
            case _ if byte == CONTROL_C:
                self._line.clear()
                return Control.INTERRUPT
            case _ if byte == CONTROL_D:
                return Control.END
            case _:
                self._keep(byte)
        return None

    def _in_command(self, byte: int) -> Control | None:
        self._command.append(byte)
        kind = self._command[1]
        if kind == SB:
            if self._command[-2:] == bytes((IAC, SE)) or len(self._command) > LONGEST_LINE:
                self._command.clear()
            return None
        if kind in (WILL, WONT, DO, DONT) and len(self._command) == 2:
            return None  # the option follows
        self._command.clear()
        return self._command_event(kind, byte)

    def _command_event(self, kind: int, option: int) -> Control | None:
        if kind == IAC:
            self._keep(IAC)
        elif kind in _REFUSALS:
            self.replies += bytes((IAC, _REFUSALS[kind], option))
        elif kind == ARE_YOU_THERE:
            self.replies += b"\r\n[yes]\r\n"
        elif kind == END_OF_FILE:
            return Control.END
        elif kind in (BREAK, INTERRUPT_PROCESS):
            self._line.clear()
            return Control.INTERRUPT
        return None

    def _keep(self, byte: int) -> None:
        if len(self._line) >= LONGEST_LINE:
            raise ForeignProtocolError(f"a line of more than {LONGEST_LINE} bytes")
        self._line.append(byte)

    def _end_of_line(self) -> str:
        line = self._line.decode("utf-8", "replace")
        self._line.clear()
        self._lines += 1
        if self._lines == 1 and _HTTP.match(line):
            raise ForeignProtocolError("HTTP")
        return line


def encode(text: str) -> bytes:
    """Text for the client: lines end with CR LF, the byte 255 is doubled."""
    return (
        text.replace("\r\n", "\n")
        .replace("\n", "\r\n")
        .encode("utf-8", "replace")
        .replace(b"\xff", b"\xff\xff")
    )
