"""Certificates for tests, made by trustme when they are needed."""

from __future__ import annotations

import datetime
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def der(self) -> bytes:
        """The certificate as a peer gets it."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    def server(self) -> ssl.SSLContext:
        """Return what a server of the tests needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def install(self, certificate: Path, key: Path) -> None:
        """Put it where a service reads it; each file changes at once."""
        for source, target in ((self.certificate, certificate), (self.key, key)):
            new = target.with_suffix(".new")
            shutil.copy(source, new)
            new.rename(target)


class Authority:
    """Signs certificates: for servers on this machine, and for clients.

    Args:
        directory: where its files are.
        name: what its file is called.
    """

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.certificate = directory / f"{name}.crt"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *, organization: str = "", expired: bool = False) -> Pair:
        """Make a certificate for localhost; `name` is its common name and that of its files."""
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        made = self._ca.issue_cert(
            *("localhost", "127.0.0.1"),
            common_name=name,
            organization_name=organization or None,
            organization_unit_name="tests",
            not_before=LONG_AGO if expired else None,
            not_after=LONG_AGO + datetime.timedelta(days=1) if expired else None,
        )
        made.cert_chain_pems[0].write_to_path(str(pair.certificate))
        made.private_key_pem.write_to_path(str(pair.key))
        return pair

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority, may have a certificate, and sees a cut."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


def encrypt(pair: Pair, passphrase: str) -> None:
    """Protect the key by a passphrase."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    protected = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    pair.key.write_bytes(protected)
