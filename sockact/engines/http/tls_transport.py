"""A connection over TLS: how it ends, and what the app is told of it.

    close()     what is left of the response -> close_notify -> the client's, or `patience` -> the end

uvloop puts one limit on all of that, from the call of `close()` on, and then drops what the client has not
read yet: half a response, where the client is slower than the limit. Without TLS there is no limit, since
the kernel goes on sending after the close. So here uvloop's limit is `FOREVER`, and ours begins when the
client's side has everything.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any
from weakref import ref

import uvloop
from uvloop import loop as uvloops

from sockact.sockets.kernel import unacknowledged
from sockact.system.hangup import hang_up

FOREVER = 365 * 86400.0
"""Seconds that uvloop may take to close."""

LOOK = 0.05
"""Seconds until the next look at a connection that closes, at least."""

_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""Names of attributes as they must be written. Source: RFC 4514, section 3."""


async def accept(
    protocol: Callable[[], asyncio.Protocol],
    connection: socket.socket,
    context: ssl.SSLContext,
    handshake_timeout: float,
) -> None:
    """Serve a connection over TLS, from its handshake on; returns after that, raises when it fails.

    As a loop's `connect_accepted_socket` with `ssl`, but the client is told of the end as `hangup` has it:
    by what is below TLS, since our protocols hear of the end after the close.
    """
    loop = asyncio.get_running_loop()
    shaken: asyncio.Future[None] = loop.create_future()
    kinds: Any = uvloops if isinstance(loop, uvloop.Loop) else asyncio.sslproto
    below = _ending(kinds.SSLProtocol)(
        loop,
        protocol(),
        context,
        shaken,
        server_side=True,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=FOREVER,
    )
    below.lost = lambda: hang_up(connection)
    transport, _ = await loop.connect_accepted_socket(lambda: below, connection)
    try:
        await shaken
    except BaseException:
        transport.close()
        raise


@cache
def _ending(kind: Any) -> Any:
    """Return a loop's own protocol below TLS, which calls `lost` before its connection is closed."""

    class Below(kind):  # type: ignore[misc]  # of either loop
        lost: Callable[[], None]

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost()
            super().connection_lost(exc)

    return Below


class Transport:
    """uvloop's transport of a TLS connection, which closes when the client has had all.

    Args:
        transport: that transport; all but `close` is left to it.
        patience: seconds that a client has to answer the close_notify.
    """

    def __init__(self, transport: asyncio.Transport, patience: float) -> None:
        self._transport = transport
        self._patience = max(patience, LOOK)
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close it, without cutting off what is on its way."""
        if self._transport.is_closing():
            return
        arrived = self._arrived()
        self._transport.close()
        self._look_later(arrived)

    def _look_later(self, arrived: bool) -> None:
        # Weakly: most have ended by then, and what is left of them need not wait for that.
        self._loop.call_later(self._patience, _look, ref(self), arrived)

    def look(self, arrived_before: bool) -> None:
        """End it, if everything had arrived before this and the last look."""
        if self._transport.get_extra_info("socket") is None:
            return  # it has ended
        arrived = self._arrived()
        if arrived and arrived_before:
            self._transport.abort()
        else:
            self._look_later(arrived)

    def _arrived(self) -> bool:
        """Tell whether all that was written is on the client's side, as far as its kernel says."""
        return not (self._transport.get_write_buffer_size() or unacknowledged(self._transport))


def _look(transport: ref[Transport], arrived_before: bool) -> None:
    if (open_still := transport()) is not None:
        open_still.look(arrived_before)


def extensions(transport: asyncio.BaseTransport) -> dict[str, dict[str, Any]]:
    """Return what `scope["extensions"]` of a connection says of TLS; nothing, if it is a plain one.

    Source: https://asgi.readthedocs.io/en/latest/specs/tls.html
    """
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return {} if connection is None else {"tls": _told(connection)}


def _told(connection: ssl.SSLObject) -> dict[str, Any]:
    cipher, _, _ = connection.cipher() or ("", "", 0)
    client = connection.getpeercert(binary_form=True)
    return {
        "server_cert": None,  # Python does not show one's own
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(client)] if client else [],
        "client_cert_name": distinguished_name(connection.getpeercert() or {}) if client else None,
        "client_cert_error": None,  # a client with an error is not served
        "tls_version": ssl.TLSVersion[(connection.version() or "").replace(".", "_")].value,
        "cipher_suite": _cipher_suites(connection.context).get(cipher, 0),
    }


def distinguished_name(certificate: Mapping[str, Any]) -> str:
    """Return whom a certificate is for, as RFC 4514 writes it: `CN=web-1,O=Example`."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in parts)
        for parts in reversed(certificate.get("subject", ()))
    )


@lru_cache
def _cipher_suites(context: ssl.SSLContext) -> dict[str, int]:
    """Return the numbers that IANA has given to the cipher suites, by the names of OpenSSL."""
    return {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}


def _escaped(value: str) -> str:
    text = "".join("\\" + char if char in '\\,+"<>;' else char for char in value).replace("\0", "\\00")
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if value.endswith(" ") and len(value) > 1 else text
