"""Calls to the web APIs of other controllers: which one is asked, and what becomes of their answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from vlcp.server.api import BadParameterError, CallTimeoutError, NotFoundError, UnavailableError
from vlcp.web.remote import Remote, RemoteError, WebClient

Peer = tuple[str, list[bytes]]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answering(body: bytes, status: str = "200 OK") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body))

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""


@contextlib.asynccontextmanager
async def peer(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """The URL of a web server, and the requests that reached it."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            requests.append(head + await reader.readexactly(length))
            await answer(writer)
        writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if tls else ''}://localhost:{port}", requests
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def call(*urls: str, limit: float = 20.0, client: WebClient | None = None) -> object:
    remote = Remote({"knowledge": urls}, client or WebClient())
    try:
        return await remote.call("knowledge", "get", {"key": "a"}, limit)
    finally:
        await remote.close()


async def test_the_parameters_are_sent_as_json_and_the_result_is_returned() -> None:
    async with peer(answering(b'{"result": [1, "b"]}')) as (url, requests):
        assert await call(f"{url}/api/") == [1, "b"]
    [request] = requests
    assert request.startswith(b"POST /api/knowledge/get HTTP/1.1\r\n")
    assert request.endswith(b'{"key":"a"}')
    assert b"application/json" in request


async def test_the_next_url_is_tried_when_no_connection_comes_about() -> None:
    async with peer(answering(b"")) as (closed, _):
        pass
    async with peer(answering(b'{"result": "second"}')) as (second, _):
        assert await call(closed, "http://nowhere.invalid", second) == "second"


async def test_when_nobody_can_be_reached_every_url_is_named() -> None:
    async with peer(answering(b"")) as (closed, _):
        pass
    with pytest.raises(UnavailableError, match=rf"knowledge/get: no controller .*{closed} .*nowhere.invalid"):
        await call(closed, "http://nowhere.invalid")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answering(b'{"error": "no such key"}', "404 Not Found"), (404, "no such key")),
        (answering(b"<h1>Busy</h1>", "503 Unavailable"), (502, "status 503, but not as a web API")),
        (answering(b'{"other": 1}'), (502, "status 200, but not as a web API")),
        (answering(b'{"error": "moved"}', "302 Found"), (502, "moved")),
    ],
)
async def test_an_answer_that_is_no_result_ends_the_call(answer: Answer, expected: tuple[int, str]) -> None:
    async with peer(answer) as (url, _), peer(answering(b'{"result": 1}')) as (second, requests):
        with pytest.raises(RemoteError, match=expected[1]) as caught:
            await call(url, second)
    assert (caught.value.status, requests) == (expected[0], [])


async def test_a_call_that_may_have_been_carried_out_is_not_repeated() -> None:
    async with peer(hang_up) as (url, first), peer(answering(b'{"result": 1}')) as (second, requests):
        with pytest.raises(UnavailableError, match="may be done or not"):
            await call(url, second)
    assert (len(first), requests) == (1, [])


async def test_a_call_that_takes_too_long_is_given_up() -> None:
    async with peer(silence) as (url, first), peer(answering(b'{"result": 1}')) as (second, requests):
        with pytest.raises(CallTimeoutError, match=r"not answered within 0\.2 s"):
            await call(url, second, limit=0.2)
    assert (len(first), requests) == (1, [])


async def test_what_cannot_be_called_is_named() -> None:
    remote = Remote({"knowledge": ("http://localhost:1",), "empty": ()}, WebClient())
    with pytest.raises(NotFoundError, match=r"'knowlege' has no URL .*did you mean knowledge"):
        await remote.call("knowlege", "get", {}, 1.0)
    with pytest.raises(NotFoundError, match="'empty' has no URL"):
        await remote.call("empty", "get", {}, 1.0)
    with pytest.raises(BadParameterError, match="params cannot be sent as JSON"):
        await remote.call("knowledge", "get", {"key": object()}, 1.0)


@pytest.mark.parametrize("api", ["../manager/unloadmodule", "get?key=b", "get#", "a/b", "%2e%2e", ""])
async def test_only_modules_with_a_url_can_be_reached(api: str) -> None:
    async with peer(answering(b'{"result": 1}')) as (url, requests):
        remote = Remote({"knowledge": (url,)}, WebClient())
        with pytest.raises(BadParameterError, match="is not the name of an API"):
            await remote.call("knowledge", api, {}, 5.0)
        await remote.close()
    assert requests == []


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:8081", "http://", ""])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a web API"):
        Remote({"knowledge": (url,)}, WebClient())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate for `localhost` that signs itself."""
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", file, "-out", f"{file}.crt", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


async def test_https_is_verified(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    trusting = WebClient(cafile=str(certificate))
    async with peer(answering(b'{"result": "safe"}'), tls) as (url, requests):
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await call(url)
        with pytest.raises(UnavailableError, match="mismatch"):
            await call(url.replace("localhost", "127.0.0.1"), client=trusting)
        assert requests == []
        assert await call(url, client=trusting) == "safe"
        lenient = WebClient(cafile=str(certificate), verifyhost=False)
        assert await call(url.replace("localhost", "127.0.0.1"), client=lenient) == "safe"
