"""The TLS certificate: each process that serves reads it once, at its start.

So a reload brings a new certificate: the new workers read it, and the old ones keep theirs until they have
drained. A certificate that cannot be used is a SettingsError, which fails the start or the reload like
broken code. One that clients will reject, because it has expired for example, is a warning.

A setting names a file. A name without a slash is a systemd credential (`LoadCredential=`) where
$CREDENTIALS_DIRECTORY is set. Source: systemd.exec(5), "Credentials".
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sockact.apps.assignment import Mount
from sockact.apps.kinds import EngineType
from sockact.config.settings import Settings
from sockact.errors import SettingsError
from sockact.sockets.fds import Kind, Listener
from sockact.untrusted import files

PROTOCOLS = ["http/1.1"]
"""The protocols offered by ALPN."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The cipher suites of TLS 1.2: forward secrecy and AEAD, for RSA and ECDSA keys; TLS 1.3 has no others.

These are Mozilla's "intermediate" ones without DHE, which only clients need that do not know ECDHE.
Source: https://wiki.mozilla.org/Security/Server_Side_TLS
"""

MAX_FILE_BYTES = 16 << 20
"""Most bytes of a PEM file: one with all public authorities has less than 1 MiB."""

logger = logging.getLogger(__package__)


class Tls(NamedTuple):
    """The TLS configuration, and the listeners it applies to.

    Attributes:
        context: the certificate, and the requirements for clients.
        plain: names of the listeners that do not speak TLS.
    """

    context: ssl.SSLContext
    plain: tuple[str, ...]

    def for_listener(self, listener: Listener) -> ssl.SSLContext | None:
        """Return the TLS context for a listener's connections; None for a plain listener."""
        plain = listener.name in self.plain or listener.kind is Kind.DATAGRAM
        return None if plain else self.context

    def check(self, mounts: Sequence[Mount]) -> None:
        """Raise SettingsError if a listener would be less encrypted than the settings suggest."""
        encrypted = [
            (mount, listener)
            for mount in mounts
            for listener in mount.listeners
            if self.for_listener(listener)
        ]
        for mount, listener in encrypted:
            if mount.engine is not EngineType.HTTP:
                where = f"{listener.name}={listener.address}"
                raise SettingsError(
                    f"tls_certificate is set, but {where} is for raw connections, which do not speak TLS: "
                    "expected its name in plain_listeners"
                )
        listeners = [listener for mount in mounts for listener in mount.listeners]
        if listeners and not encrypted:
            found = ", ".join(f"{listener.name}={listener.address}" for listener in listeners)
            raise SettingsError(
                f"tls_certificate is set, but no listener speaks TLS: found {found}; "
                f"expected one with another FileDescriptorName= than {', '.join(self.plain)}"
            )


def configured(settings: Settings, environ: Mapping[str, str]) -> Tls | None:
    """Return the TLS configuration of `settings`; None if they name no certificate.

    Args:
        settings: the certificate, its key, and the authorities that sign clients' certificates.
        environ: has $CREDENTIALS_DIRECTORY.

    Raises:
        SettingsError: a file is missing, unreadable or not PEM, or key and certificate do not match.
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


class _File(NamedTuple):
    """A PEM file, and the setting that names it."""

    setting: str
    path: str

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"

    @classmethod
    def found(cls, setting: str, name: str, marker: str, environ: Mapping[str, str]) -> _File:
        """Find a file and check its content: OpenSSL would not say which file is wrong, nor why."""
        credentials = environ.get("CREDENTIALS_DIRECTORY", "")
        file = cls(setting, name if "/" in name else os.path.join(credentials, name))
        try:
            text = files.read(file.path, MAX_FILE_BYTES).decode("ascii", "replace")
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
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs the client one byte and us much work

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
    """Return the error that a client gets which trusts the certificate's issuer; "" if there is none.

    Python shows the dates of a peer's certificate only, so a client of our own does a handshake with us.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it trusts our own certificate as a root
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
