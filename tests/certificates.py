"""Certificates for tests, made by openssl when they are needed."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


EXTENSIONS = """\
subjectAltName=DNS:localhost,IP:127.0.0.1
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


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
    """Who signs certificates: for servers on this machine, and for clients.

    Args:
        directory: where its files are.
        name: what it is called.
    """

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self.pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
        _openssl(
            *("req", "-x509", *NEW_KEY, "-noenc", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign"),  # Python 3.13 insists on it
            *("-keyout", str(self.pair.key), "-out", str(self.pair.certificate)),
        )

    def issue(self, name: str, days: int = 1, subject: str = "") -> Pair:
        """Make a certificate for localhost; `name` is that of its files, -1 days mean it has expired."""
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        request, more = pair.key.with_suffix(".csr"), pair.key.with_suffix(".ext")
        more.write_text(EXTENSIONS)
        _openssl(
            *("req", "-new", *NEW_KEY, "-noenc", "-subj", subject or f"/CN={name}"),
            *("-keyout", str(pair.key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", str(days), "-extfile", str(more)),
            *("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key)),
            *("-out", str(pair.certificate)),
        )
        return pair

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority, may have a certificate, and sees a cut."""
        context = ssl.create_default_context(cafile=str(self.pair.certificate))
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


def encrypt(pair: Pair, passphrase: str) -> None:
    """Protect the key by a passphrase."""
    key = str(pair.key)
    _openssl("pkcs8", "-topk8", "-in", key, "-out", f"{key}.new", "-passout", f"pass:{passphrase}")
    Path(f"{key}.new").rename(key)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
