"""The console over TLS."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import Authority
from peers.console import PATIENCE, PROMPT, Client, Process, running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Process]:
    certificate, key = authority.sign("console")
    files = {"certificate": certificate, "key": key, "ca_certs": authority.certificate}
    more = "".join(f"module.console.{name} = {file!r}\n" for name, file in files.items())
    with running(tmp_path_factory.mktemp("console"), "pssl", more) as process:
        yield process


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(*authority.sign("user"))
    return context


def secure(process: Process, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(process.connect(), server_hostname="localhost")


def test_who_has_a_certificate_gets_a_session(process: Process, context: ssl.SSLContext) -> None:
    with Client(secure(process, context)) as client:
        assert client.ask("1 + 1") == "2\r\n"
        assert client.ask("print('x' * 5_000_000)") == "x" * 5_000_000 + "\r\n"


def test_a_session_may_be_written_to_while_it_is_read_from(process: Process, context: ssl.SSLContext) -> None:
    with Client(secure(process, context)) as client:
        client.send(b"".join(b"print(%d, 'x' * 10000)\r\n" % number for number in range(500)))
        shown = [f"{number} {'x' * 10000}\r\n" for number in range(500)]
        assert client.until(f"\r\n>>> {shown[-1]}>>> ".encode()) == ">>> ".join(shown[:-1]).rstrip()
        client.send(b"print('begun'); await __import__('asyncio').sleep(3600)\r\n")
        client.until(b"begun\r\n")
        client.send(b"\x03")
        assert client.until(PROMPT) == "KeyboardInterrupt\r\n"
        client.send(b"exit()\r\n")
        assert client.rest() == b""


@pytest.mark.parametrize("certificate", ["none", "another"])
def test_who_has_no_certificate_of_ours_gets_none(
    process: Process, authority: Authority, certificate: str, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=authority.certificate)
    if certificate == "another":
        context.load_cert_chain(*Authority(tmp_path).sign("user"))
    with pytest.raises((ssl.SSLError, ConnectionError)), secure(process, context) as connection:
        connection.recv(100)


def test_clients_that_say_nothing_are_bounded(process: Process, context: ssl.SSLContext) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(process.connect()) for _ in range(20)]
        silent[-1].settimeout(PATIENCE)
        assert silent[-1].recv(1) == b""
        assert "there are 16 sessions already" in process.controller.log()
