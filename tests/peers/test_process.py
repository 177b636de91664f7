"""The process: its command line, what it logs, its signals, and a program that starts it."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from peers.controller import WEBAPI, Controller, free_port
from peers.place import LAMP, Place, until

# The command line


@pytest.mark.parametrize(
    "arguments",
    [
        ("lamp.Lamp", "-p", "pid", "-f", ""),
        ("-f", "x.conf", "-p", "pid"),
        ("-f", "", "lamp.Lamp", "-ppid"),
        ("-p", "pid", "lamp.Lamp", "-f", "x.conf", "-F", "1"),
    ],
)
def test_options_and_modules_in_any_order(place: Place, arguments: tuple[str, ...]) -> None:
    place.start(*arguments)
    place.told(r"lamp of \d+: light 1")
    assert place.stop() == 0
    assert not (place.directory / "pid").exists()


@pytest.mark.parametrize("arguments", [("start", "-f", "x.conf"), ("-f", "x.conf"), ("-fx.conf",)])
def test_it_can_be_started_as_a_python_module(place: Place, arguments: tuple[str, ...]) -> None:
    place.start(*arguments, command=[sys.executable, "-m", "vlcp"])
    place.told(r"lamp of \d+: light 1")
    assert place.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-F", "x"), "'x' is not a valid integer range"),
        (("-F", "0"), "0 is not in the range x>=1"),
        (("--nosuch",), "No such option"),
        (("-f",), "Option '-f' requires an argument"),
    ],
)
def test_wrong_usage_is_status_2(place: Place, arguments: tuple[str, ...], told: str) -> None:
    done = place.run(*arguments)
    assert (done.returncode, done.stdout, told in done.stderr) == (2, "", True), done.stderr


def test_nothing_to_load(place: Place) -> None:
    done = place.run("-f", "")
    assert (done.returncode, done.stderr) == (
        1,
        "vlcp: command line: server.startup is empty: name the modules to load there or on the command line\n",
    )


# From a program


def test_a_program_starts_the_modules_that_it_defines(place: Place) -> None:
    (place.directory / "own.py").write_text(
        "import vlcp.start\nfrom lamp import Lamp\nfrom vlcp.server.module import Module, depend\n"
        "class Base(Module):\n    async def load(self):\n        self.logger.warning('%s is loaded', self.name)\n"
        "@depend(Lamp)\nclass Own(Base):\n    pass\n"
        "if __name__ == '__main__':\n    vlcp.start.main('', pidfile='pid')\n    print('the end')\n"
    )
    process = place.start(command=[sys.executable, "own.py"])
    place.told("own is loaded")
    assert place.pid() == process.pid
    assert "base is loaded" not in place.log()
    assert place.log().index("lamp of") < place.log().index("own is loaded")
    assert place.stop() == 0


def test_a_program_ends_with_what_is_wrong(place: Place) -> None:
    for call, told in [
        ("main('')", "server.startup is empty"),
        ("main('nosuch.conf')", "vlcp: cannot read nosuch.conf: No such file or directory"),
        ("main('', startup=['lamp.Broken'])", "no startup module could be loaded"),
        ("main('', startup='lamp.Broken')", "no startup module could be loaded"),
        ("main('', startup=['lamp.Lamp'], fork=0)", "vlcp: fork = 0: at least 1 process is needed"),
    ]:
        done = place.run(command=[sys.executable, "-c", f"from vlcp.start import main; {call}; print('on')"])
        assert (done.returncode, done.stdout, told in done.stderr) == (1, "", True), done.stderr


# What a failed start tells


def test_a_part_of_the_startup_modules(place: Place) -> None:
    place.start("-f", "", "lamp.Lamp", "lamp.Broken")
    place.told(r"vlcp: not loaded: broken \(OSError: no bulb\)")
    assert place.stop() == 0


def test_all_startup_modules_may_be_required(place: Place) -> None:
    place.file.write_text("server.requireall = True\n")
    done = place.run("-f", "x.conf", "lamp.Lamp", "lamp.Broken")
    assert done.returncode == 1
    told = "vlcp: not loaded, which server.requireall demands: broken; the log says why"
    assert done.stderr.splitlines()[-1] == told


# What it logs, and where

ROOT = {"level": "INFO", "handlers": ["f"]}
HANDLER = {"class": "logging.FileHandler", "filename": "f", "formatter": "line"}
LINE = {"format": "%(levelname)s %(name)s: %(message)s"}


@pytest.mark.parametrize(
    "lines",
    [
        (f"server.logging = {{'root': {ROOT}, 'handlers': {{'f': {HANDLER}}}, 'formatters': {{'line': {LINE}}}}}",),
        ("server.logging.version = 1", f"server.logging.root = {ROOT}", f"server.logging.handlers = {{'f': {HANDLER}}}",
         f"server.logging.formatters = {{'line': {LINE}}}"),
        (f"server.logging.root = {ROOT}", f"server.logging.handlers.f = {HANDLER}",
         f"server.logging.formatters.line = {LINE}"),
        ("server.loggingconfig = 'logging.ini'",),
    ],
)  # fmt: skip
def test_the_forms_of_logging(place: Place, lines: tuple[str, ...]) -> None:
    (place.directory / "logging.ini").write_text(
        "[loggers]\nkeys = root\n[handlers]\nkeys = f\n[formatters]\nkeys = line\n"
        "[logger_root]\nlevel = INFO\nhandlers = f\n"
        "[handler_f]\nclass = FileHandler\nargs = ('f',)\nformatter = line\n"
        f"[formatter_line]\nformat = {LINE['format']}\n"
    )
    place.file.write_text("\n".join((LAMP, *lines, "")))
    process = place.start("-f", "x.conf")
    log = place.directory / "f"
    until(lambda: log.exists() and "startup modules are loaded" in log.read_text())
    assert log.read_text().splitlines() == [
        f"WARNING lamp.Lamp: lamp of {process.pid}: light 1 at {place.directory}, umask 22",
        "INFO vlcp.server.loader: module 'lamp' is loaded",
        "INFO vlcp.server.server: 1 of 1 startup modules are loaded",
    ]
    assert place.stop() == 0
    assert place.log() == ""


def test_without_a_word_on_logging_there_are_warnings(place: Place) -> None:
    place.start("-f", "x.conf")
    place.told(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ WARNING lamp.Lamp: lamp of \d+: light 1 ")
    assert place.stop() == 0
    assert len(place.log().splitlines()) == 1


def test_debugging_shows_more(place: Place) -> None:
    place.file.write_text(f"{LAMP}server.debugging = True\n")
    place.start("-f", "x.conf")
    place.told("INFO vlcp.server.server: 1 of 1 startup modules are loaded")
    assert place.stop() == 0


# Signals


def test_the_configuration_is_read_again(place: Place) -> None:
    logging = ("server.logging.root = {'handlers': ['f'], 'level': 'INFO'}\n"
               "server.logging.handlers.f = {'class': 'logging.FileHandler', 'filename': 'f'}\n")  # fmt: skip
    place.file.write_text(LAMP + logging)
    process = place.start("-f", "x.conf")
    log, old = place.directory / "f", place.directory / "f.1"
    until(lambda: log.exists() and "startup modules are loaded" in log.read_text())

    log.rename(old)
    place.file.write_text(
        f"{LAMP}{logging}module.lamp.light = 7\nserver.ulimitn = 1000\nmodule.lamp.lihgt = 1\n"
    )
    process.send_signal(signal.SIGHUP)
    until(lambda: log.exists() and "read again: 3 keys" in log.read_text())
    told = log.read_text()
    assert "now light 7" in told
    assert "changed, but in effect only after the next start or load: server.ulimitn" in told
    assert "x.conf:6: unknown key module.lamp.lihgt; did you mean module.lamp.light?" in told
    assert "now light" not in old.read_text()

    for text, wrong in [
        ("module.lamp.light = [\n", "x.conf:1: the value is not a Python literal"),
        ("server.logging.root = {'handlers': ['g']}\n", "x.conf:1: server.logging: Unable to configure root"),
    ]:
        place.file.write_text(text)
        process.send_signal(signal.SIGHUP)
        until(lambda wrong=wrong: wrong in log.read_text(), log.read_text)
    assert log.read_text().count("the configuration stays as it is") == 2
    assert log.read_text().count("now light") == 1
    assert place.stop() == 0
    assert "stopping: SIGTERM" in log.read_text()
    assert place.log() == ""


def test_listeners_follow_the_configuration(tmp_path: Path) -> None:
    controller = Controller(
        tmp_path, (WEBAPI, "vlcp.service.utils.knowledge.MemoryStorage"), up="webapi/discover"
    )
    try:
        controller.result("memorystorage/set", key="k", value="kept")
        port = free_port()
        text = controller.file.read_text()
        text = text.replace(f":{controller.port}'", f":{port}'")
        controller.file.write_text(f"{text}protocol.http.idletimeout = 7\n")
        controller.process.send_signal(signal.SIGHUP)
        old, controller.port = controller.port, port

        def follows() -> bool:
            try:
                return controller.call("memorystorage/get", key="k").body == {"result": "kept"}
            except OSError:
                return False

        until(follows, controller.log)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old), timeout=5)
    finally:
        status = controller.end()
    assert (status, controller.log()) == (0, "")


def test_without_a_file_there_is_nothing_to_read_again(place: Place) -> None:
    process = place.start("-f", "", "lamp.Lamp")
    place.told("lamp of")
    process.send_signal(signal.SIGHUP)
    place.told("the configuration stays as it is: command line: there is no file to read again")
    assert place.stop() == 0


def test_what_every_task_waits_for(place: Place) -> None:
    (place.directory / "napper.py").write_text(
        "import asyncio\nfrom vlcp.server.module import Module\n"
        "class Napper(Module):\n    async def load(self):\n        self.spawn(self.nap(), name='nap')\n"
        "    async def nap(self):\n        await asyncio.sleep(1000)\n"
    )
    process = place.start("-f", "x.conf", "lamp.Lamp", "napper.Napper", "-p", "pid")
    until(lambda: (place.directory / "pid").exists() and "lamp of" in place.log())
    process.send_signal(signal.SIGUSR1)
    place.told(r"napper: nap:\n +\S+/napper.py:7 Napper.nap\n")
    assert re.search(r"WARNING vlcp.server.process: \d+ tasks:", place.log())
    assert place.stop() == 0


def test_the_end_under_load(tmp_path: Path) -> None:
    """Clients create objects, idle and stop in the middle of requests: it ends at once all the same."""
    controller = Controller(tmp_path)
    over = threading.Event()

    def hammer(number: int) -> None:
        turn = 0
        while not over.is_set():
            try:
                controller.call("viperflow/createphysicalnetwork", type="local", id=f"p{number}-{turn}")
            except (OSError, ValueError):
                pass
            turn += 1

    clients = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    half = b"POST /viperflow/createphysicalnetwork HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
    parked = [controller.connect(data) for data in (b"", b"GET / HT", half) for _ in range(5)]
    try:
        for client in clients:
            client.start()
        until(lambda: len(controller.result("viperflow/listphysicalnetworks")) > 50)
        begin = time.monotonic()
        status = controller.end()
        seconds = time.monotonic() - begin
    finally:
        over.set()
        for client in clients:
            client.join()
        for connection in parked:
            connection.close()
        controller.end()
    assert (status, controller.log()) == (0, "")
    assert seconds < 5
