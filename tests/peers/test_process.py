"""The process itself: its command line, signals, background, workers, and what a service manager is told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peers.controller import ENVIRONMENT, START, Controller

MODULES = """
import asyncio
import os
from vlcp.server.module import Module

class Lamp(Module):
    class Settings(Module.Settings, frozen=True, kw_only=True):
        light: int = 1

    async def load(self):
        self.spawn(asyncio.Event().wait(), name="burn")
        umask = os.umask(0o77)
        os.umask(umask)
        self.logger.warning("lamp of %d: light %d at %s, umask %o",
                            os.getpid(), self.settings.light, os.getcwd(), umask)

    def updateconfig(self):
        settings = self.server.config.settings(type(self).Settings, "module.lamp", "module.default")
        self.logger.warning("lamp of %d: now light %d", os.getpid(), settings.light)

class Broken(Module):
    async def load(self):
        raise OSError("no bulb")
"""
LAMP = "server.startup = 'lamp.Lamp'\n"
LIMIT = 15.0
"""Seconds in which anything here happens, with other tests at work beside."""


def until(condition: Callable[[], object], what: Callable[[], str] = lambda: "") -> None:
    """Wait for something."""
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, what()
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Whether a process has ended, though maybe nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Place:
    """A directory with modules and a configuration file, and the processes that were started there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "x.conf"
        self.file.write_text(LAMP)
        (directory / "lamp.py").write_text(MODULES)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids = set[int]()

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{self.directory}", **more}

    def run(self, *arguments: str, command: list[str] = START) -> subprocess.CompletedProcess[str]:
        """A command to its end; what it leaves in the background has no part in that."""
        done = subprocess.run(
            [*command, *arguments], cwd=self.directory, env=self.environment({}), capture_output=True,
            text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        self.pids.update(map(int, re.findall(r"lamp of (\d+)", done.stderr)))
        return done

    def start(self, *arguments: str, command: list[str] = START, **more: str) -> subprocess.Popen[bytes]:
        """A process that goes on; what it says is in `log`."""
        with (self.directory / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, *arguments], cwd=self.directory, env=self.environment(more), stderr=log
            )
        self._processes.append(process)
        return process

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def told(self, text: str, times: int = 1) -> None:
        """Wait until the log says something so many times."""
        until(lambda: len(re.findall(text, self.log())) >= times, self.log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The status of the last process after a signal."""
        self._processes[-1].send_signal(number)
        return self._processes[-1].wait(LIMIT)

    def pid(self, name: str = "pid") -> int:
        number = int((self.directory / name).read_text())
        self.pids.add(number)
        return number

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(LIMIT)
        for pid in self.pids:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    prepared = Place(tmp_path)
    yield prepared
    prepared.close()


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


# In the background


def test_the_command_returns_when_it_is_up(place: Place) -> None:
    handler = {"class": "logging.FileHandler", "filename": f"{place.directory}/f"}
    place.file.write_text(
        f"{LAMP}server.logging.root = {{'handlers': ['f']}}\nserver.logging.handlers.f = {handler}\n"
    )
    done = place.run("-d", "-p", "pid", "-f", "x.conf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = place.pid()
    assert f"lamp of {pid}: light 1 at /, umask 22" in (place.directory / "f").read_text()
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
    assert os.getsid(pid) not in (pid, os.getsid(0))
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)

    again = place.run("-d", "-p", "pid", "-f", "x.conf")
    assert (again.returncode, again.stderr) == (
        1,
        f"vlcp: it runs already: process {pid} has the pid file {place.directory}/pid\n",
    )
    foreground = place.run("-p", "pid", "-f", "x.conf")
    assert (foreground.returncode, place.pid()) == (1, pid)

    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid))
    assert not (place.directory / "pid").exists()


def test_a_start_that_fails_in_the_background_says_so(place: Place) -> None:
    (place.directory / "pid").write_text("123")  # of a process that was killed
    for arguments, told in [
        (("-f", "", "lamp.Broken"), "OSError: no bulb"),
        (("-f", "", "lamp.Nosuch"), "there is no 'Nosuch' in lamp"),
        (("-f", "x.conf"), "daemon.working_directory = '/nosuch': No such file or directory"),
    ]:
        place.file.write_text(f"{LAMP}daemon.working_directory = '/nosuch'\n")
        done = place.run("-d", "-p", "pid", *arguments)
        assert (done.returncode, done.stdout, told in done.stderr) == (1, "", True), done.stderr
        assert "Traceback" not in done.stderr
        until(lambda: not (place.directory / "pid").exists())


def test_the_keys_of_the_background(place: Place) -> None:
    (place.directory / "work").mkdir()
    place.directory.chmod(0o755)
    place.file.write_text(
        f"{LAMP}daemon.pidfile = '{place.directory}/other'\ndaemon.working_directory = '{place.directory}/work'\n"
        "daemon.umask = 0o27\ndaemon.prevent_core = False\ndaemon.detach_process = False\n"
    )
    process = place.start("-d", "-f", "x.conf")
    place.told(rf"lamp of {process.pid}: light 1 at {place.directory}/work, umask 27")
    assert place.pid("other") == process.pid
    core = re.search("Max core file size.*", Path(f"/proc/{process.pid}/limits").read_text())
    assert core
    assert core.group() in Path("/proc/self/limits").read_text()
    assert place.stop() == 0
    assert not (place.directory / "other").exists()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("daemon.user = 'no such'", "daemon.user = 'no such': there is no such user"),
        ("daemon.group = 'no such'", "daemon.group = 'no such': there is no such group"),
        ("daemon.umask = 'x'", "daemon.umask = 'x': expected `int`, got `str`"),
        ("daemon.umsk = 1\nserver.startup = ()", "x.conf:3: unknown key daemon.umsk; did you mean daemon.umask?"),
        ("daemon.pidfile = '/nosuch/pid'", "cannot use /nosuch/pid as pid file: No such file or directory"),
    ],
)  # fmt: skip
def test_wrong_keys_of_the_background(place: Place, keys: str, told: str) -> None:
    place.file.write_text(f"{LAMP}daemon.pidfile = '{place.directory}/other'\n{keys}\n")
    done = place.run("-d", "-f", "x.conf")
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_another_user(place: Place) -> None:
    """Only root may become somebody else; anybody else is told."""
    place.file.write_text("daemon.user = 'nobody'\ndaemon.detach_process = False\n")
    program = "from lamp import Lamp; from vlcp.start import main; main('x.conf', daemon=True, pidfile='pid')"
    process = place.start(command=[sys.executable, "-c", program])
    if os.getuid() != 0:
        assert process.wait(LIMIT) == 1
        assert "daemon.user = 'nobody': Operation not permitted" in place.log()
        return
    place.told("lamp of")
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert re.search(r"^Uid:\t(\d+)\t\1\t\1\t\1$", status, re.MULTILINE)
    assert not re.search(r"^(Uid|Gid):\t0\t", status, re.MULTILINE)
    assert place.stop() == 0
    pid_file = place.directory / "pid"
    assert not pid_file.exists() or pid_file.read_text() == "", "what it may not remove it empties"


# Workers


def test_workers_are_kept_alive_and_stopped_together(place: Place) -> None:
    process = place.start("-f", "x.conf", "-F", "2", "-p", "pid")
    place.told(r"lamp of \d+: light 1", 2)
    first, second = map(int, re.findall(r"lamp of (\d+)", place.log()))
    place.pids.update((first, second))
    assert place.pid() == process.pid not in (first, second)

    place.file.write_text(f"{LAMP}module.lamp.light = 5\n")
    process.send_signal(signal.SIGHUP)
    place.told(r"now light 5", 2)

    os.kill(first, signal.SIGKILL)
    place.told("worker 1 ended with signal 9: it is started again in 1 s")
    place.told(r"lamp of \d+: light \d at", 3)
    third = int(re.findall(r"lamp of (\d+): light \d at", place.log())[2])
    assert place.stop() == 0
    assert [ended(pid) for pid in (first, second, third)] == [True] * 3
    assert not (place.directory / "pid").exists()


def test_workers_that_cannot_start_end_the_whole(place: Place) -> None:
    done = place.run("-f", "", "-F", "3", "lamp.Broken")
    assert (done.returncode, "OSError: no bulb" in done.stderr) == (1, True)
    background = place.run("-f", "", "-F", "2", "-d", "-p", "pid", "lamp.Broken")
    assert (background.returncode, "OSError: no bulb" in background.stderr) == (1, True)


def test_workers_in_the_background(place: Place) -> None:
    done = place.run("-f", "x.conf", "-F", "2", "-d", "-p", "pid")
    assert done.returncode == 0
    workers = set(map(int, re.findall(r"lamp of (\d+)", done.stderr)))
    pid = place.pid()
    assert (len(workers), pid in workers) == (2, False)
    os.kill(pid, signal.SIGINT)
    until(lambda: all(map(ended, {pid, *workers})))


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


# The service manager


def test_a_service_manager_is_told(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.directory / "notify"))
        manager.settimeout(LIMIT)
        process = place.start("-f", "x.conf", NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="200000")

        def next_state() -> str:
            while (state := manager.recv(1000).decode()) == "WATCHDOG=1":
                pass
            return state

        assert manager.recv(1000) == b"WATCHDOG=1"
        assert next_state() == "STATUS=1 modules are loaded"
        assert next_state() == "READY=1"
        assert "lamp of" in place.log()
        assert [manager.recv(1000) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", next_state())
        assert next_state() == "READY=1\nSTATUS=1 modules are loaded"
        process.terminate()
        assert next_state() == "STOPPING=1"
        assert process.wait(LIMIT) == 0


def test_a_service_manager_is_told_by_the_first_of_several_processes(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"vlcp-{os.getpid()}"
        manager.bind(f"\0{name}")
        manager.settimeout(LIMIT)
        place.start("-f", "x.conf", "-F", "2", NOTIFY_SOCKET=f"@{name}")
        assert manager.recv(1000) == b"READY=1"
        assert place.log().count("lamp of") == 2
        assert place.stop() == 0
        assert manager.recv(1000) == b"STOPPING=1"
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)


def test_a_service_manager_that_is_gone_is_no_reason_to_end(place: Place) -> None:
    place.start("-f", "x.conf", NOTIFY_SOCKET=str(place.directory / "nobody"))
    place.told("lamp of")
    assert place.stop() == 0
