"""Certificates for tests, made by openssl(1): an authority, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """Signs certificates; all files are in one directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory = directory
        self.name = name
        self.certificate, self._key = self._paths(name)
        self._make(name, "-x509", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _paths(self, name: str) -> tuple[str, str]:
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")

    def _make(self, name: str, *options: str) -> tuple[str, str]:
        certificate, key = self._paths(name)
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        _openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *options)
        return certificate, key

    def sign(self, name: str, hosts: str = "DNS:localhost,IP:127.0.0.1") -> tuple[str, str]:
        """The paths of a certificate for some hosts and of its key."""
        return self._make(
            name, "-x509", "-CA", self.certificate, "-CAkey", self._key, "-addext", f"subjectAltName={hosts}",
            "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip

    def encrypted(self, key: str) -> str:
        """The path of a copy of a key that needs a passphrase."""
        _openssl("ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", f"{key}.encrypted")
        return f"{key}.encrypted"
