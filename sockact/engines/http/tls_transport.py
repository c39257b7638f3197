"""Connections over TLS: the handshake, the orderly close, and the TLS details for the app.

    close()   rest of the response -> our close_notify -> the client's, or `answer_timeout` -> the end

uvloop has one limit for all of this, counted from the call of `close()`. When it expires, uvloop drops what
the client has not read yet: half a response, if the client is slow. Without TLS there is no such limit,
since the kernel goes on sending after the close. So uvloop's limit is set to `UVLOOP_SHUTDOWN_TIMEOUT`, and
ours begins when the client's kernel has acknowledged everything.
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

UVLOOP_SHUTDOWN_TIMEOUT = 365 * 86400.0
"""Seconds that uvloop may take to close: in effect no limit, see above."""

MIN_LOOK_INTERVAL = 0.05
"""Least number of seconds between two looks at a connection that closes."""

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
"""The short names of attributes, which must be used. Source: RFC 4514, section 3."""


async def accept(
    protocol: Callable[[], asyncio.Protocol],
    connection: socket.socket,
    context: ssl.SSLContext,
    handshake_timeout: float,
) -> None:
    """Serve a connection over TLS; returns after the handshake, and raises if that fails.

    This does what a loop's `connect_accepted_socket` does with `ssl`, and hangs up on the client at the
    end (see `hangup`). The protocol below TLS does that, since ours is only called after the close.
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
        ssl_shutdown_timeout=UVLOOP_SHUTDOWN_TIMEOUT,
        on_lost=lambda: hang_up(connection),
    )
    transport, _ = await loop.connect_accepted_socket(lambda: below, connection)
    try:
        await shaken
    except BaseException:
        transport.close()
        raise


@cache
def _ending(kind: Any) -> Any:
    """Return a loop's own protocol below TLS, which calls `on_lost` before its connection is closed."""

    class Below(kind):  # type: ignore[misc]  # of either loop
        def __init__(self, *args: Any, on_lost: Callable[[], None], **options: Any) -> None:
            super().__init__(*args, **options)
            self._on_lost = on_lost

        def connection_lost(self, exc: Exception | None) -> None:
            self._on_lost()
            super().connection_lost(exc)

    return Below


class TlsTransport:
    """Wraps uvloop's transport of a TLS connection, and closes it when the client has received everything.

    Args:
        transport: that transport; it does everything but `close`.
        answer_timeout: seconds that a client has to answer the close_notify.
    """

    def __init__(self, transport: asyncio.Transport, answer_timeout: float) -> None:
        self._transport = transport
        self._answer_timeout = max(answer_timeout, MIN_LOOK_INTERVAL)
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close the connection without cutting off what is still being sent."""
        if self._transport.is_closing():
            return
        arrived = self._arrived()
        self._transport.close()
        self._look_later(arrived)

    def _look_later(self, arrived: bool) -> None:
        # A weak reference: most connections have ended by then, and the timer must not keep them in memory.
        self._loop.call_later(self._answer_timeout, _look, ref(self), arrived)

    def look(self, arrived_before: bool) -> None:
        """End the connection, if everything had arrived at this look and at the one before."""
        if self._transport.get_extra_info("socket") is None:
            return  # it has ended
        arrived = self._arrived()
        if arrived and arrived_before:
            self._transport.abort()
        else:
            self._look_later(arrived)

    def _arrived(self) -> bool:
        """Tell whether the client's kernel has acknowledged all that was written."""
        return not (self._transport.get_write_buffer_size() or unacknowledged(self._transport))


def _look(transport: ref[TlsTransport], arrived_before: bool) -> None:
    if (open_still := transport()) is not None:
        open_still.look(arrived_before)


def extensions(transport: asyncio.BaseTransport) -> dict[str, dict[str, Any]]:
    """Return the TLS entry for `scope["extensions"]`; an empty mapping for a connection without TLS.

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
    """Return the subject of a certificate in the form of RFC 4514: `CN=web-1,O=Example`."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in parts)
        for parts in reversed(certificate.get("subject", ()))
    )


@lru_cache
def _cipher_suites(context: ssl.SSLContext) -> dict[str, int]:
    """Return IANA's numbers of the cipher suites by OpenSSL's names."""
    return {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}


def _escaped(value: str) -> str:
    text = "".join("\\" + char if char in '\\,+"<>;' else char for char in value).replace("\0", "\\00")
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if value.endswith(" ") and len(value) > 1 else text
