"""The process in the background, several side by side, and what a service manager is told."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from peers.controller import WEBAPI, free_port
from peers.place import LAMP, LIMIT, Place, ended, until

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

    with place.file.open("a") as file:
        file.write("module.lamp.light = 8\n")
    os.kill(pid, signal.SIGHUP)  # the file was given by a path that meant something else at /
    until(lambda: f"lamp of {pid}: now light 8" in (place.directory / "f").read_text())

    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid))
    assert not (place.directory / "pid").exists()


def test_modules_are_searched_where_they_were_before(place: Place) -> None:
    """Relative places too; but not where the command was given, which may be anybody's directory."""
    code = (
        "import sys; from vlcp.server import config, daemon; before = [path for path in sys.path if path]\n"
        "sys.path[:] = ['beside', *before]; c = config.Config()\n"
        "daemon.settle(c, c.settings(daemon.DaemonSettings, 'daemon'))\n"
        f"assert sys.path == [{str(place.directory / 'beside')!r}, *before], sys.path"
    )
    done = place.run(command=[sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (0, "")


def test_of_many_at_once_one_runs(place: Place) -> None:
    (place.directory / "pid").write_text("12345678901 of one that was killed")
    processes = [place.start("-f", "x.conf", "-p", "pid") for _ in range(5)]
    until(lambda: sum(process.poll() is None for process in processes) == 1)
    assert sorted(process.poll() or 0 for process in processes) == [0, 1, 1, 1, 1]
    (running,) = (process for process in processes if process.poll() is None)
    until(lambda: (place.directory / "pid").read_text() == str(running.pid))
    running.terminate()
    assert running.wait(LIMIT) == 0
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
    place.told(r"worker \d ended with signal 9: it is started again in 1 s")
    place.told(r"lamp of \d+: light 5 at", 1)
    third = int(re.findall(r"lamp of (\d+): light \d at", place.log())[2])
    os.kill(third, signal.SIGSEGV)
    place.told(r"worker \d ended with signal 11: it is started again in 2 s")
    assert place.stop() == 0
    assert [ended(pid) for pid in (first, second, third)] == [True] * 3
    assert not (place.directory / "pid").exists()


def test_workers_do_not_outlive_who_keeps_them(place: Place) -> None:
    process = place.start("-f", "x.conf", "-F", "2")
    place.told(r"lamp of \d+: light 1", 2)
    workers = set(map(int, re.findall(r"lamp of (\d+)", place.log())))
    place.pids.update(workers)
    process.kill()
    until(lambda: all(map(ended, workers)))


def test_workers_share_a_port(place: Place) -> None:
    port = free_port()
    place.file.write_text(
        f"server.startup = ('lamp.Lamp', '{WEBAPI}')\nmodule.httpserver.url = 'tcp://localhost:{port}'\n"
        "module.webapi.vhostbind = ''\n"
    )
    place.start("-f", "x.conf", "-F", "2", "-p", "pid")
    place.told("lamp of", 2)
    pids = set(map(int, re.findall(r"lamp of (\d+)", place.log())))
    place.pids.update(pids)
    answers = set[int]()

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/lamp/pid", timeout=5) as answer:
                answers.add(json.load(answer)["result"])
        except OSError:
            time.sleep(0.05)  # none listens yet
        return answers == pids

    until(ask, lambda: f"{answers} of {pids}: {place.log()}")
    assert place.stop() == 0


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
