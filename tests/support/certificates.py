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


DATABASE = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
[any]
commonName = supplied
"""


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

    def issue(self, name: str, subject: str = "", *, expired: bool = False) -> Pair:
        """Make a certificate for localhost; `name` is that of its files."""
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        request, more = pair.key.with_suffix(".csr"), pair.key.with_suffix(".ext")
        more.write_text(EXTENSIONS)
        _openssl(
            *("req", "-new", *NEW_KEY, "-noenc", "-subj", subject or f"/CN={name}"),
            *("-keyout", str(pair.key), "-out", str(request)),
        )
        sign = self._sign_expired() if expired else self._sign()
        _openssl(*sign, "-in", str(request), "-extfile", str(more), "-out", str(pair.certificate))
        return pair

    def _sign(self) -> list[str]:
        pair = self.pair
        return ["x509", "-req", "-days", "1", "-CA", str(pair.certificate), "-CAkey", str(pair.key)]

    def _sign_expired(self) -> list[str]:
        """Only `openssl ca` takes two dates in all versions, and it wants a database."""
        folder = self._directory
        configuration = folder / "ca.conf"
        configuration.write_text(DATABASE.format(folder=folder))
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
        keys = ["-cert", str(self.pair.certificate), "-keyfile", str(self.pair.key)]
        return ["ca", "-config", str(configuration), "-batch", "-notext", *dates, *keys]

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
