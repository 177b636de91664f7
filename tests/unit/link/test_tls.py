"""TLS: who is verified, by what, and what is said of files that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from certificates import Authority
from vlcp.link.address import AddressError, Listener, connect, listen, parse
from vlcp.link.tls import TlsError, TlsFiles, client_context, server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Caller(asyncio.Protocol):
    """Sends one word and keeps the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"word")

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionError("closed"))


async def call(listener: Listener, host: str, files: TlsFiles | None) -> bytes:
    """What comes back over one connection."""
    address = parse(f"ssl://{host}:{listener.address.port}")
    context = client_context(files) if files is not None else None
    transport, caller = await connect(address, Caller, context, timeout=5)
    try:
        return await caller.answer
    finally:
        transport.abort()
        await asyncio.sleep(0)


async def serve(files: TlsFiles) -> Listener:
    return await listen(parse("ssl://localhost:0"), Echo, server_context(files))


async def test_the_server_is_verified_by_ca_certs_and_its_name(authority: Authority) -> None:
    certificate, key = authority.sign("server")
    context = server_context(TlsFiles(key, certificate))
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    listener = await listen(parse("ssl://localhost:0"), Echo, context)
    ours = TlsFiles(ca_certs=authority.certificate)
    assert await call(listener, "localhost", ours) == b"word"
    assert await call(listener, "127.0.0.1", ours) == b"word"
    assert names == ["localhost", None]  # an address is no server name, RFC 6066 section 3
    listener.close()


async def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    certificate, key = authority.sign("other", "DNS:other.example")
    listener = await serve(TlsFiles(key, certificate))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await call(listener, "localhost", TlsFiles(ca_certs=authority.certificate))
    trusting = TlsFiles(ca_certs=authority.certificate, verify_host=False)
    assert await call(listener, "localhost", trusting) == b"word"
    listener.close()


@pytest.mark.parametrize("files", [TlsFiles(), None])
async def test_without_ca_certs_the_system_must_know_the_authority(
    authority: Authority, files: TlsFiles | None
) -> None:
    certificate, key = authority.sign("unknown")
    listener = await serve(TlsFiles(key, certificate))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed"):
        await call(listener, "localhost", files)
    listener.close()


async def test_a_listener_with_ca_certs_wants_a_certificate_of_theirs(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.sign("both")
    listener = await serve(TlsFiles(key, certificate, authority.certificate))
    mine, my_key = authority.sign("client", "DNS:client")
    theirs, their_key = Authority(tmp_path, "stranger").sign("client", "DNS:client")
    known = TlsFiles(my_key, mine, authority.certificate)
    assert await call(listener, "localhost", known) == b"word"
    for files in (
        TlsFiles(ca_certs=authority.certificate),
        TlsFiles(their_key, theirs, authority.certificate),
    ):
        with pytest.raises(OSError, match=r"alert|closed|reset"):
            await call(listener, "localhost", files)
    listener.close()


async def test_nothing_older_than_tls_1_2(authority: Authority) -> None:
    certificate, key = authority.sign("modern")
    listener = await serve(TlsFiles(key, certificate))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await connect(listener.address, Caller, old, timeout=5)
    listener.close()


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("good")
    _, other_key = authority.sign("second")
    text, missing = tmp_path / "text", str(tmp_path / "missing")
    text.write_text("no PEM")
    secret = authority.encrypted(key)
    cases = [
        (TlsFiles(), "certificate", "TLS needs `certificate`"),
        (TlsFiles(key, missing), "certificate", f"certificate = '{missing}': No such file"),
        (TlsFiles(key, str(text)), "certificate", "holds no certificate in PEM form"),
        (TlsFiles(missing, certificate), "key", f"key = '{missing}': No such file"),
        (TlsFiles(str(tmp_path), certificate), "key", "Is a directory"),
        (TlsFiles(str(text), certificate), "key", "holds no private key in PEM form"),
        (TlsFiles(None, certificate), "key", "the `key` is missing"),
        (TlsFiles(other_key, certificate), "key", f"is not the key of certificate = '{certificate}'"),
        (TlsFiles(secret, certificate), "key", "the key is encrypted"),
        (TlsFiles(key, certificate, missing), "ca_certs", f"ca_certs = '{missing}': No such file"),
        (TlsFiles(key, certificate, key), "ca_certs", "holds no certificate"),
    ]
    for files, field, told in cases:
        with pytest.raises(TlsError) as caught:
            server_context(files)
        assert (caught.value.field, told in str(caught.value)) == (field, True), (files, str(caught.value))


async def test_listening_without_settings_for_tls() -> None:
    with pytest.raises(AddressError, match="TLS needs `certificate`"):
        await listen(parse("pssl://127.0.0.1:0"), Echo)
