"""What is wrong in a configuration file is told with its place, and the process ends or runs on without that part."""

from __future__ import annotations

import fcntl
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from peers.controller import ENVIRONMENT, START, VIPERFLOW, WEBAPI, free_port

SLOW = 5.0
"""Seconds that a start and its end may take, with other tests at work beside."""
STORE = f"""server.startup = '{VIPERFLOW}'
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.embeddeddb.path = 'vlcp.db'
"""
"""Three lines: what comes after them is in line 4."""


def web() -> str:
    """Three lines of a configuration with the web API alone."""
    return (
        f"server.startup = '{WEBAPI}'\nmodule.httpserver.url = None\n"
        f"module.httpserver.vhost.api.url = 'tcp://localhost:{free_port()}'\n"
    )


def run(directory: Path, file: str) -> subprocess.CompletedProcess[str]:
    """A process with a configuration file, to its end."""
    command = [*START, "-f", file]
    return subprocess.run(
        command, cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False
    )


def start(directory: Path, text: str) -> str:
    """What is told when the process ends with status 1, as all that it should do is impossible."""
    (directory / "x.conf").write_text(text)
    begin = time.monotonic()
    done = run(directory, "x.conf")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False), done.stderr
    assert time.monotonic() - begin < SLOW
    return done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("module.embeddeddb.path = [1", "x.conf:4: the value is not a Python literal"),
        ("module.embeddeddb.path = 1 +", "x.conf:4: the value is not a Python literal"),
        ("module.embeddeddb.path = f()", "x.conf:4: the value is not a Python literal: use numbers, strings"),
        ("module.embeddeddb.path =", "x.conf:4: there is no value after `=`"),
        ("module.embeddeddb path", "x.conf:4: expected `key = value`"),
        ("module.embedded-db.path = 1", "x.conf:4: expected `key = value`; 'module.embedded-db.path' is not a key"),
        ("module = 5", "x.conf:4: module = 5: expected a dictionary, or keys below it"),
        ("server.logging = 5", "x.conf:4: server.logging = 5: expected a dictionary"),
        ("server.loggingconfig = 5", "x.conf:4: server.loggingconfig: expected the name of a file, got 5"),
        ("server.ulimitn = -1", "x.conf:4: server.ulimitn = -1: expected `int` >= 1"),
        ("proxy.kvstorage = 5", "x.conf:4: proxy.kvstorage = 5: expected the loading path of a module"),
        ("proxy.kvstorage = 'no.Module'", "x.conf:4: proxy.kvstorage: cannot load 'no.Module'"),
        ("server.debugging = 'x'", "x.conf:4: server.debugging = 'x': expected `bool`, got `str`"),
        ("server.requireall = 5", "x.conf:4: server.requireall = 5: expected `bool`"),
        ("server.startup = 'vlcp.service.sdn.viperflow.ViperFlo'", f"did you mean {VIPERFLOW}?"),
        ("module.embeddeddb = 5", "x.conf:4: module.embeddeddb = 5: expected a dictionary"),
        ("module.embeddeddb.path = 5", "x.conf:4: module.embeddeddb.path = 5: expected `str`, got `int`"),
        ("module.embeddeddb.checkinterval = 0", "x.conf:4: module.embeddeddb.checkinterval = 0: expected `float` > 0"),
        ("module.embeddeddb.synchronous = 'FAST'", "x.conf:4: module.embeddeddb.synchronous = 'FAST': synchronous is"),
        ("module.embeddeddb.path = '.'", "x.conf:4: module.embeddeddb.path = '.': cannot use . as a store"),
        ("module.embeddeddb.path = '/proc/no/x'", "path = '/proc/no/x': cannot use /proc/no/x as a store"),
        ("module.embeddeddb.path = 'x.conf/x'", "x.conf:4: module.embeddeddb.path = 'x.conf/x': cannot use"),
        ("module.embeddeddb.path = 'a\\0b'", "x.conf:4: module.embeddeddb.path = 'a\\x00b': cannot use"),
        ("module.embeddeddb.path = 'x.conf'", "path = 'x.conf': cannot use x.conf as a store: file is not"),
    ],
)  # fmt: skip
def test_the_store(tmp_path: Path, line: str, told: str) -> None:
    text = f"{STORE}{line}\n"
    assert told in start(tmp_path, text)
    assert (tmp_path / "x.conf").read_text() == text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "module.httpserver.url = 'localhost:80'",
            "x.conf:4: module.httpserver.url: 'localhost:80' is not an address",
        ),
        (
            "module.httpserver.url = 'tcp://localhost:99999'",
            "x.conf:4: module.httpserver.url: 'tcp://localhost:99999'",
        ),
        (
            "module.httpserver.url = 'tcp://no.invalid:80'",
            "x.conf:4: module.httpserver.url = 'tcp://no.invalid:80'",
        ),
        ("module.httpserver.url = 'ssl://localhost:0'", "TLS needs `certificate` (and `key`), PEM files"),
        (
            "module.httpserver.url = 'unix:///proc/no/x'",
            "x.conf:4: module.httpserver.url = 'unix:///proc/no/x'",
        ),
        (
            "module.httpserver.url = 80",
            "x.conf:4: module.httpserver.url = 80: expected `str | null`, got `int`",
        ),
        (
            "module.httpserver.bodylimit = -1",
            "x.conf:4: module.httpserver.bodylimit = -1: expected `int` >= 1",
        ),
        (
            "module.httpserver.vhost.api = 5",
            "x.conf:4: module.httpserver.vhost.api = 5: expected a dictionary",
        ),
        (
            "module.webapi.acceptmethods = 5",
            "x.conf:4: module.webapi.acceptmethods = 5: expected `array`, got `int`",
        ),
        (
            "module.default.loadtimeout = 'x'",
            "x.conf:4: module.default.loadtimeout = 'x': expected `float`, got `str`",
        ),
        ("protocol.http.idletimeout = -1", "x.conf:4: protocol.http.idletimeout = -1: expected `float` > 0"),
    ],
)
def test_the_web_api(tmp_path: Path, line: str, told: str) -> None:
    assert told in start(tmp_path, f"{web()}{line}\n")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        more = f"module.httpserver.url = '{url}'\nprotocol.http.listen_persist = False\n"
        told = start(tmp_path, f"{web()}{more}")
    assert f"x.conf:4: module.httpserver.url = '{url}'" in told
    assert "ddress already in use" in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("module.webapi.rotpath = '/'", "x.conf:4: unknown key module.webapi.rotpath; did you mean module.webapi.root"),
        ("module.webap.rootpath = '/'", "x.conf:4: no module 'webap' is loaded; did you mean module.webapi?"),
        ("modul.webapi.rootpath = '/'", "x.conf:4: unknown key modul.*; did you mean module?"),
        ("server.startpu = ()", "x.conf:4: unknown key server.startpu; did you mean server.startup?"),
        ("protocol.htp.idletimeout = 5", "x.conf:4: unknown key protocol.htp; did you mean protocol.http?"),
        ("protocol.http.idltimeout = 5", "unknown key protocol.http.idltimeout; did you mean protocol.http.idle"),
        ("daemon.umsk = 5", "x.conf:4: unknown key daemon.umsk; did you mean daemon.umask?"),
    ],
)  # fmt: skip
def test_unknown_keys(tmp_path: Path, line: str, told: str) -> None:
    """They are told and harm nothing; here something else ends the process."""
    assert told in start(tmp_path, f"{web()}{line}\nmodule.webapi.acceptjson = 'x'\n")


def test_a_limit_of_files_beyond_all_systems(tmp_path: Path) -> None:
    told = start(tmp_path, f"{web()}server.ulimitn = {1 << 70}\nmodule.webapi.acceptjson = 'x'\n")
    assert "ulimitn" not in told


def test_a_store_that_another_process_has(tmp_path: Path) -> None:
    with (tmp_path / "vlcp.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = start(tmp_path, STORE)
    assert (
        "x.conf:3: module.embeddeddb.path = 'vlcp.db': the store vlcp.db is in use by another process" in told
    )
    assert not (tmp_path / "vlcp.db").exists()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            f"PRAGMA application_id = {0x564C4350}; PRAGMA user_version = 2",
            "has schema 2; this program knows only 1",
        ),
        ("CREATE TABLE other(a)", "is a database of another program"),
    ],
)
def test_a_store_that_is_not_ours(tmp_path: Path, script: str, told: str) -> None:
    connection = sqlite3.connect(tmp_path / "vlcp.db")
    connection.executescript(script)
    connection.close()
    before = (tmp_path / "vlcp.db").read_bytes()
    assert told in start(tmp_path, STORE)
    assert (tmp_path / "vlcp.db").read_bytes() == before


def test_no_file_to_read(tmp_path: Path) -> None:
    (tmp_path / "x.conf").mkdir()
    for file, told in (("x.conf", "Is a directory"), ("nosuch.conf", "No such file or directory")):
        done = run(tmp_path, file)
        assert (done.returncode, done.stderr) == (1, f"vlcp: cannot read {file}: {told}\n")
