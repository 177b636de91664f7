"""The console of a running controller, as its users reach it."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.console import CONSOLE, KNOWLEDGE, PATIENCE, PROMPT, Client, Process, running
from peers.controller import ENVIRONMENT, START

NOBODY = 65534


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("console")) as process:
        yield process


@pytest.fixture
def client(process: Process) -> Iterator[Client]:
    with process.client() as client:
        yield client


def test_a_session_greets_and_carries_out_statements(process: Process, client: Client) -> None:
    assert (
        f"VLCP console, Python {sys.version.split()[0]}, process {process.controller.process.pid}"
        in client.banner
    )
    assert client.ask("1 + 1") == "2\r\n"
    assert client.ask("x = 'grüße'; print(x)") == "grüße\r\n"
    assert client.ask("x, _") == "('grüße', 2)\r\n"
    assert "ZeroDivisionError" in client.ask("1 / 0")
    assert "SyntaxError" in client.ask("1 +* 2")
    assert "pprint" in client.ask("import pprint; pprint.pprint(['pprint'])")


def test_a_statement_may_have_several_lines(client: Client) -> None:
    client.send(b"def double(x):\r\n    return 2 * x\r\n\r\n")
    assert client.until(b"... ... >>> ") == ""
    assert client.ask("double(21)") == "42\r\n"


def test_what_is_printed_stays_in_the_session(process: Process, client: Client) -> None:
    assert client.ask("import sys; print('secret-out'); print('secret-err', file=sys.stderr)").split() == [
        "secret-out", "secret-err",
    ]  # fmt: skip
    assert "secret" not in process.controller.log()


def test_both_ways_to_call_an_api(process: Process, client: Client) -> None:
    assert client.ask('callapi("knowledge", "set", key="xx", value=[1])') == ""
    assert client.ask('callapi("knowledge", "get", key="xx")') == "[1]\r\n"
    client.send(b'for m in callapi(container, "knowledge", "get", key="xx"):\r\n    print(m)\r\n\r\n')
    assert client.until(b"... ... >>> ") == ""
    assert client.ask("container.retvalue") == "[1]\r\n"
    assert client.ask('await callapi("knowledge", "get", key="xx")') == "[1]\r\n"
    assert process.controller.result("knowledge/get", key="xx") == [1]
    assert "BadParameterError: knowledge/get: missing parameter 'key'" in client.ask(
        'callapi("knowledge", "get")'
    )
    assert "no module 'nosuch' is loaded" in client.ask('callapi("nosuch", "get")')


def test_a_generator_may_call_apis(client: Client) -> None:
    client.send(
        b'def routine():\r\n    for m in callapi(container, "knowledge", "mget", keys=["a"]):\r\n        yield m\r\n'
        b"    return container.retvalue\r\n\r\n"
    )
    client.until(b"... ... ... ... >>> ")
    assert client.ask("execute(routine())") == "[None]\r\n"
    assert client.ask("subroutine(routine()).result(5)") == "[None]\r\n"


def test_the_variables(process: Process, client: Client) -> None:
    assert client.ask("sorted(server.modules)[0]") == "'console'\r\n"
    assert client.ask("manager.module.console.telnetconsole") == f"'ptcp://localhost:{process.port}/'\r\n"
    assert "server.startup = (" in client.ask("print(manager.savetostr())")
    for name in (
        "callapi", "capture", "sendevent", "subroutine", "execute", "breakpoint", "syscall", "resume", "debug",
        "restore_console", "console_help", "container",
    ):  # fmt: skip
        assert client.ask(f"'{name}' in dir()") == "True\r\n"
        assert client.ask("console_help()").count(name)


def test_notifications_are_captured_and_sent(process: Process, client: Client) -> None:
    assert "capturing" in client.ask("c = capture('probe/now', captureonce=True); c")
    assert client.ask("sendevent('probe/later', n=1)") == ""
    assert client.ask("sendevent('probe/now', n=2)") == "probe/now n=2\r\n"
    assert client.ask("sendevent('probe/now', n=3); c.seen.attributes['n']") == "2\r\n"
    assert client.ask("capture([]).stop()") == ""
    client.send(b"capture(['server'], blocking=True).attributes['module']\r\n")
    path = "vlcp.service.utils.session.Session"
    while not select.select([client.connection], [], [], 0)[0]:  # it may listen only after the first ones
        process.controller.call("manager/loadmodule", path=path)
        process.controller.call("manager/unloadmodule", path=path)
    assert re.search(r"server/\w+ .*\r\n'\w+'\r\n$", client.until(PROMPT), re.DOTALL)


def test_coroutines_run_in_the_event_loop(client: Client) -> None:
    client.send(b"import asyncio\r\n")
    client.until(PROMPT)
    client.send(b"async def name():\r\n    return asyncio.current_task().get_name()\r\n\r\n")
    client.until(b"... ... >>> ")
    assert client.ask("execute(name())") == "'console: execute'\r\n"
    assert client.ask("subroutine(name()).result(5)") == "'console: subroutine'\r\n"
    assert (
        client.ask("import threading; syscall(threading.current_thread) is threading.main_thread()")
        == "True\r\n"
    )
    assert "is not a coroutine" in client.ask("execute(name)")
    assert client.ask("await asyncio.sleep(0, 'awaited')") == "'awaited'\r\n"


@pytest.mark.parametrize("interrupt", [b"\x03", b"\xff\xf4", b"\xff\xf3"], ids=["Ctrl-C", "IP", "BRK"])
@pytest.mark.parametrize(
    "statement", ["await asyncio.sleep(3600)", "while True: pass", "capture('x', blocking=True)"]
)
def test_an_interruption_ends_a_statement_and_nothing_else(
    client: Client, statement: str, interrupt: bytes
) -> None:
    client.ask("import asyncio")
    client.send(
        f"print('begun');{statement}\r\n".encode()
        if "while" not in statement
        else b"exec(\"print('begun')\\nwhile True: pass\")\r\n"
    )
    client.until(b"begun\r\n")
    client.send(interrupt)
    assert client.until(PROMPT) == "KeyboardInterrupt\r\n"
    assert client.ask("2") == "2\r\n"


def test_an_interruption_drops_an_unfinished_statement(client: Client) -> None:
    client.send(b"def unfinished():\r\n")
    client.until(b"... ")
    client.send(b"\x03")
    assert "KeyboardInterrupt" in client.until(PROMPT)
    assert client.ask("3") == "3\r\n"


def test_the_event_loop_is_held_until_it_is_resumed(process: Process, client: Client) -> None:
    assert "held, for 60 seconds at most" in client.ask("breakpoint()")
    assert client.ask("server.modules['knowledge'].name") == "'knowledge'\r\n"
    assert "HeldError: the event loop is held: resume() first" in client.ask(
        'callapi("knowledge", "get", key="xx")'
    )
    with process.controller.connect(
        b"GET /knowledge/get?key=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ) as caller:
        caller.settimeout(0.3)
        with pytest.raises(TimeoutError):
            caller.recv(100)
        assert client.ask("resume()") == "'the event loop goes on'\r\n"
        caller.settimeout(PATIENCE)
        assert caller.recv(100).startswith(b"HTTP/1.1 200")
    assert client.ask("resume()") == "'the event loop was not held'\r\n"


@pytest.mark.parametrize("end", ["c", "q", "restore_console()"])
def test_pdb_looks_at_the_event_loop_and_returns(process: Process, client: Client, end: str) -> None:
    client.send(b"debug()\r\n")
    client.until(b"(Pdb) ")
    client.send(b"import threading\r\n")
    client.until(b"(Pdb) ")
    client.send(b"threading.current_thread() is threading.main_thread()\r\n")
    assert client.until(b"(Pdb) ") == "True\r\n"
    client.send(f"{end}\r\n".encode())
    client.until(PROMPT)
    assert client.ask("4") == "4\r\n"
    assert process.controller.result("knowledge/get", key="nothing") is None


def test_sessions_do_not_disturb_each_other(process: Process, client: Client) -> None:
    client.ask("x = 'mine'")
    with process.client() as other:
        assert "NameError" in other.ask("x")
        other.send(b"exit()\r\n")
        assert other.rest() == b""
    assert client.ask("x") == "'mine'\r\n"
    with process.client() as third:
        third.send(b"\x04")
        assert third.rest() == b""
    assert process.controller.result("knowledge/get", key="nothing") is None


def test_statements_may_be_piped_in(process: Process) -> None:
    with process.client() as client:
        client.send(b"await __import__('asyncio').sleep(0.2)\nprint('last')\n")
        client.connection.shutdown(socket.SHUT_WR)
        assert b"last\r\n" in client.rest()


def test_a_client_that_says_everything_at_once_is_known(process: Process) -> None:
    with process.connect() as connection:
        connection.sendall(b"print('only')\n")
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while piece := connection.recv(65536):
            text += piece
    assert b"only\r\n" in text


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1", "POST / HTTP/1.1"])
def test_a_browser_gets_nothing_done(process: Process, request_line: str) -> None:
    with process.connect() as connection:
        connection.sendall(f"{request_line}\r\nHost: localhost\r\n\r\nserver.stop('attack')\r\n".encode())
        connection.settimeout(PATIENCE)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    assert b"Error" not in received
    assert process.controller.result("knowledge/get", key="nothing") is None
    assert "a console session is refused: HTTP" in process.controller.log()


def test_a_process_of_another_user_is_refused(process: Process) -> None:
    program = f"import socket; print(socket.create_connection(('127.0.0.1', {process.port}), 10).recv(100))"
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-c", program],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout == "b''\n" or "ConnectionResetError" in done.stderr, done
    assert f"a console session is refused: it is a process of user {NOBODY}" in process.controller.log()


def test_unloading_ends_the_sessions_and_frees_the_port(process: Process) -> None:
    with process.client() as client:
        client.send(b"capture('nothing', blocking=True)\r\n")
        assert process.controller.call("manager/unloadmodule", path=CONSOLE).status == 200
        client.rest()
    with pytest.raises(ConnectionRefusedError):
        process.connect()
    assert process.controller.call("manager/loadmodule", path=CONSOLE).status == 200
    with process.client() as client:
        assert client.ask("5") == "5\r\n"


def test_a_server_stops_in_time_whatever_sessions_do(tmp_path: Path) -> None:
    process = Process(tmp_path)
    sleeping, waiting, holding, idle = (process.client() for _ in range(4))
    with sleeping, waiting, holding, idle:
        sleeping.send(b"import time; print('begun'); time.sleep(3600)\r\n")
        waiting.send(b"print('begun'); await __import__('asyncio').sleep(3600)\r\n")
        for client in (sleeping, waiting):
            client.until(b"begun\r\n")
        holding.ask("server.loader and None")
        begin = time.monotonic()
        assert process.controller.end() == 0
        assert time.monotonic() - begin < 5


def configuration(directory: Path, lines: str) -> list[str]:
    file = directory / "vlcp.conf"
    file.write_text(f"server.startup = ({CONSOLE!r}, {KNOWLEDGE!r})\n{lines}")
    return [*START, "-f", str(file)]


def test_the_terminal_of_the_process_may_be_the_console(tmp_path: Path) -> None:
    command = configuration(
        tmp_path, "module.console.startinconsole = True\nmodule.console.telnetconsole = None\n"
    )
    statements = (
        "callapi('knowledge', 'set', key='k', value='from here')\ncallapi('knowledge', 'get', key='k')\n"
    )
    done = subprocess.run(
        command,
        input=statements,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ">>> 'from here'\n" in done.stdout


def test_a_unix_socket_is_for_our_user_only(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    command = configuration(tmp_path, f"module.console.telnetconsole = 'punix://{path}'\n")
    process = subprocess.Popen(command, env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert os.stat(path).st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            assert Client(connection).ask("6") == "6\r\n"
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("module.console.telnetconsole = 'ptcp://0.0.0.0:9923'\n", "is not on a loopback address"),
        ("module.console.telnetconsole = 'ptcp://192.0.2.1'\n", "is not on a loopback address"),
        ("module.console.telnetconsole = 'pssl://localhost'\n", "certificate"),
        ("module.console.telnetconsole = 'http://localhost'\n", "the scheme one of"),
    ],
)
def test_a_console_that_others_could_reach_is_not_opened(tmp_path: Path, lines: str, message: str) -> None:
    process = subprocess.Popen(
        configuration(tmp_path, lines), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.readline()
        process.terminate()
        process.wait(10)
    assert "vlcp.conf:2: module.console.telnetconsole: " in errors
    assert message in errors
