"""An OVSDB server that dials in, in a thread of its own: one bridge with one machine, and nothing ever changes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

DATAPATH = 0x1D
SYSTEM = "system-1"
BRIDGE = "00000000-0000-0000-0000-00000000000b"
_STRINGS = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}
_UUIDS = {"key": "uuid", "min": 0, "max": "unlimited"}
_MAYBE = {"key": "integer", "min": 0, "max": 1}
_COLUMNS: dict[str, dict[str, Any]] = {
    "Open_vSwitch": {"external_ids": _STRINGS},
    "Bridge": {
        "name": "string",
        "datapath_id": {"key": "string", "min": 0, "max": 1},
        "ports": _UUIDS,
        "controller": _UUIDS,
    },
    "Controller": {"target": "string"},
    "Port": {"interfaces": _UUIDS},
    "Interface": {
        "name": "string",
        "type": "string",
        "ofport": _MAYBE,
        "ifindex": _MAYBE,
        "external_ids": _STRINGS,
    },
}


def _uuid(last: str) -> list[str]:
    return ["uuid", BRIDGE[:-1] + last]


_ROWS = {
    "Open_vSwitch": {"a": {"external_ids": ["map", [["system-id", SYSTEM]]]}},
    "Bridge": {"b": {"name": "br0", "datapath_id": f"{DATAPATH:016x}", "ports": _uuid("c")}},
    "Port": {"c": {"interfaces": _uuid("d")}},
    "Interface": {
        "d": {
            "name": "tap1",
            "ofport": 1,
            "ifindex": 11,
            "external_ids": ["map", [["iface-id", "vm1"]]],
        }
    },
}


def _answer(method: str) -> Any:
    if method == "get_schema":
        tables = {
            table: {"columns": {name: {"type": kind} for name, kind in columns.items()}}
            for table, columns in _COLUMNS.items()
        }
        return {"name": "Open_vSwitch", "version": "8.0.0", "tables": tables}
    if method == "monitor_cond":
        return {
            table: {_uuid(last)[1]: {"initial": row} for last, row in rows.items()}
            for table, rows in _ROWS.items()
        }
    return []


class DatabaseBeside:
    """It answers until `end`."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._thread = threading.Thread(target=self._serve, name="database")
        self._thread.start()

    def _serve(self) -> None:
        for message in self._messages():
            if message.get("id") is not None and "method" in message:
                reply = {"id": message["id"], "result": _answer(message["method"]), "error": None}
                self._socket.sendall(json.dumps(reply).encode())

    def _messages(self) -> Iterator[dict[str, Any]]:
        text, decoder = "", json.JSONDecoder()
        while data := self._socket.recv(65536):
            text += data.decode()
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:
                    break  # the rest is on its way
                text = text[end:].lstrip()
                yield message

    def end(self) -> None:
        """Close the connection and wait for the end of the thread."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
