"""What TLS needs of the two sides, from PEM files. Nothing older than TLS 1.2 is spoken."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


class TlsError(ValueError):
    """A file cannot be used. `field` names it (`key`, `certificate` or `ca_certs`); `file` is its path or None."""

    def __init__(self, field: str, file: str | None, what: str) -> None:
        super().__init__(f"{field} = {file!r}: {what}" if file else what)
        self.field = field
        self.file = file
        self.what = what


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files. The key may stand in the file of the certificate.

    `ca_certs`: the authorities that must have signed the peer's certificate. `verify_host`: the certificate of a server
    must be for the name or address that we connect to.
    """

    key: str | None = None
    certificate: str | None = None
    ca_certs: str | None = None
    verify_host: bool = True


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For the side that listens. With `ca_certs` every client must show a certificate. Raises `TlsError`."""
    if not files.certificate:
        raise TlsError("certificate", None, "TLS needs `certificate` (and `key`), PEM files")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, files)
    if files.ca_certs:
        _load_authorities(context, files.ca_certs)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For the side that connects; the server is always verified: by `ca_certs`, else by the authorities of the system.

    Raises `TlsError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = files.verify_host
    if files.certificate:
        _load_own(context, files)
    if files.ca_certs:
        _load_authorities(context, files.ca_certs)
    else:
        context.load_default_certs()
    return context


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    certificate = files.certificate or ""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check("certificate", certificate, _CERTIFICATE, "certificate")
    if files.key:
        _check("key", files.key, _KEY, "private key")
    elif _KEY not in Path(certificate).read_bytes():
        raise TlsError("key", None, f"the `key` is missing, and certificate = {certificate!r} holds none")
    try:
        context.load_cert_chain(certificate, files.key, password=_no_password)
    except OSError as error:  # SSLError is one
        fits = getattr(error, "reason", "") != "KEY_VALUES_MISMATCH"
        what = f"{error.strerror or error}" if fits else f"is not the key of certificate = {certificate!r}"
        raise TlsError("key" if files.key else "certificate", files.key or certificate, what) from None
    except ValueError as error:
        raise TlsError("key", files.key or certificate, str(error)) from None


def _load_authorities(context: ssl.SSLContext, file: str) -> None:
    _check("ca_certs", file, _CERTIFICATE, "certificate")
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise TlsError("ca_certs", file, str(error.strerror or error)) from None


def _check(field: str, file: str, mark: bytes, what: str) -> None:
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise TlsError(field, file, error.strerror or str(error)) from None
    if mark not in text:
        raise TlsError(field, file, f"holds no {what} in PEM form")


def _no_password() -> str:
    """Without this, OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted; a controller needs one without a passphrase")
