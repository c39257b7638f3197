"""The certificate: read at the start of each process that serves, and never again.

So a reload brings the new one: the new workers read it, and the old ones keep theirs until they have
drained. What cannot serve is a SettingsError, and refuses the start or the reload like broken code; what
clients will complain of, like a certificate that has expired, is a warning.

A setting names a file, or, without a slash and where $CREDENTIALS_DIRECTORY is set, a credential of systemd
(`LoadCredential=`). Source: systemd.exec(5), "Credentials".
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sockact.apps.assignment import Mount
from sockact.config.settings import Settings
from sockact.errors import SettingsError
from sockact.sockets.fds import Kind, Listener
from sockact.untrusted import files

PROTOCOLS = ["http/1.1"]
"""What is offered by ALPN."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What TLS 1.2 may use: forward secrecy and AEAD, for keys of RSA and ECDSA; TLS 1.3 has nothing else.

Those of Mozilla's "intermediate" without DHE, which only clients want that are older than TLS 1.2's ECDHE.
Source: https://wiki.mozilla.org/Security/Server_Side_TLS
"""

MOST = 16 << 20
"""Bytes of a file: one with all authorities of the world has less than 1 MiB."""

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class Tls:
    """Which listeners speak TLS, and with what.

    Attributes:
        context: the certificate, and what is asked of a client.
        plain: names of listeners that do not.
    """

    context: ssl.SSLContext
    plain: tuple[str, ...]

    def of(self, listener: Listener) -> ssl.SSLContext | None:
        """Return what the connections of a listener are encrypted with; None for nothing."""
        plain = listener.name in self.plain or listener.kind is Kind.DATAGRAM
        return None if plain else self.context

    def check(self, mounts: Sequence[Mount]) -> None:
        """Raise SettingsError if a listener would not be as encrypted as the settings make believe."""
        encrypted = [
            (mount, listener) for mount in mounts for listener in mount.listeners if self.of(listener)
        ]
        for mount, listener in encrypted:
            if not mount.is_http:
                where = f"{listener.name}={listener.address}"
                raise SettingsError(
                    f"tls_certificate is set, but {where} is for raw connections, which do not speak TLS: "
                    "expected its name among plain_listeners"
                )
        listeners = [listener for mount in mounts for listener in mount.listeners]
        if listeners and not encrypted:
            found = ", ".join(f"{listener.name}={listener.address}" for listener in listeners)
            raise SettingsError(
                f"tls_certificate is set, but no listener speaks TLS: found {found}; "
                f"expected one with another FileDescriptorName= than {', '.join(self.plain)}"
            )


def configured(settings: Settings, environ: Mapping[str, str]) -> Tls | None:
    """Return what `settings` say of TLS; None if they name no certificate.

    Args:
        settings: the certificate, its key, and those who sign the clients' certificates.
        environ: where $CREDENTIALS_DIRECTORY is.

    Raises:
        SettingsError: a file is missing, unreadable or no PEM, or the key is not that of the certificate.
    """
    if not settings.tls_certificate:
        _refuse_half(settings)
        return None
    certificate = _File.found("tls_certificate", settings.tls_certificate, "CERTIFICATE-----", environ)
    setting = "tls_key" if settings.tls_key else "tls_certificate"  # one file may hold both
    key = _File.found(setting, getattr(settings, setting), "PRIVATE KEY-----", environ)
    context = _context(certificate, key)
    if settings.tls_client_ca:
        authorities = _File.found("tls_client_ca", settings.tls_client_ca, "CERTIFICATE-----", environ)
        _ask_clients(context, authorities)
    if complaint := _complaint(context, certificate):
        logger.warning("%s: %s", certificate, complaint)
    return Tls(context, settings.plain_listeners)


def _refuse_half(settings: Settings) -> None:
    for name in ("tls_key", "tls_client_ca", "redirect_http"):
        if value := getattr(settings, name):
            raise SettingsError(f"{name}={value}: expected tls_certificate to be set too")


@dataclass(frozen=True, slots=True)
class _File:
    """A PEM file, and the setting that names it."""

    setting: str
    path: str

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"

    @classmethod
    def found(cls, setting: str, name: str, marker: str, environ: Mapping[str, str]) -> _File:
        """Find a file and look into it: OpenSSL would not say which of two it means, nor what it misses."""
        credentials = environ.get("CREDENTIALS_DIRECTORY", "")
        file = cls(setting, name if "/" in name else os.path.join(credentials, name))
        try:
            text = files.read(file.path, MOST).decode("ascii", "replace")
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from error
        if marker not in text:
            raise SettingsError(f"{file}: expected a PEM file with a line that ends in {marker!r}")
        return file


def _context(certificate: _File, key: _File) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python's default is OpenSSL's, as distributions build it: with RSA key exchange, and CBC with SHA-1.
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION  # work for us at the price of a byte for the client

    def passphrase() -> str:
        # Without a callback OpenSSL asks on the terminal, and waits.
        raise SettingsError(f"{key}: encrypted with a passphrase; expected a key without one")

    try:
        context.load_cert_chain(certificate.path, key.path, password=passphrase)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise SettingsError(f"{key}: this key does not belong to {certificate}") from error
        raise SettingsError(f"{certificate}, {key}: {error.reason or error}") from error
    context.set_alpn_protocols(PROTOCOLS)
    return context


def _ask_clients(context: ssl.SSLContext, authorities: _File) -> None:
    """Serve only clients with a certificate that one of the authorities has signed."""
    try:
        context.load_verify_locations(authorities.path)
    except ssl.SSLError as error:
        raise SettingsError(f"{authorities}: {error.reason or error}") from error
    context.verify_mode = ssl.CERT_REQUIRED


def _complaint(context: ssl.SSLContext, certificate: _File) -> str:
    """Return what a client says of the certificate which trusts whoever has signed it; "" for nothing.

    Python tells the dates of a peer's certificate only; so a client of our own shakes hands with us.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # our own certificate is the root of its trust
    client.load_verify_locations(certificate.path)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = context.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there)
    for side in (theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return f"no client can use it: {error.reason or error}"
    return ""
