"""Closes a connection on which the client may still be sending.

If a server closes such a connection at once, the kernel resets it. Data that the kernel had not sent yet is
then dropped, a client that is still writing fails before it reads anything, and other systems than Linux
may discard what the client has received: the last response is lost. So our side is shut down first, and
input is discarded until the client closes too. Source: RFC 9112, section 9.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from sockact.engines.http.connection_state import State
from sockact.engines.http.timeouts import Bounded
from sockact.sockets.kernel import hang_up_below

MAX_SILENCE = 2.0
"""Seconds without a byte from the client, after which the connection is closed in any case."""

MAX_LINGER = 30.0
"""Seconds until then if the client goes on sending. Both values are Apache's (server/connection.c)."""


class LingeringTransport:
    """Wraps a transport for uvicorn's protocol; its `close` lingers if the client may still be sending.

    Not for TLS, where the loop reads until the peer's end; see `tls_transport`.

    Args:
        raw: the transport.
        sends: returns whether the client may still be sending.
        linger: called to take the transport over and close it later.
    """

    __slots__ = ("_linger", "_sends", "get_write_buffer_size", "is_closing", "raw", "write")

    def __init__(
        self, raw: asyncio.Transport, sends: Callable[[], bool], linger: Callable[[], None]
    ) -> None:
        self.raw = raw
        self._sends = sends
        self._linger = linger
        # Used for each response, so without the detour of __getattr__.
        self.write: Callable[[bytes], None] = raw.write
        self.is_closing: Callable[[], bool] = raw.is_closing
        self.get_write_buffer_size: Callable[[], int] = raw.get_write_buffer_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def close(self) -> None:
        """Close the connection when everything was sent and the client has had time to read it."""
        if self.is_closing():
            return
        if self._sends():
            self.write = lambda _data: None
            self.is_closing = lambda: True
            self._linger()
        else:
            self.raw.close()


class LingeringClose(Bounded, asyncio.Protocol):
    """Takes over the transport of a connection after its last response, and closes it in time.

    Args:
        transport: the connection; data that was written is still sent.
        state: has the set in which the connection is counted.
        who: the client, for log lines.
    """

    def __init__(self, transport: asyncio.Transport, state: State, who: str) -> None:
        self.transport = transport
        self._state = state
        self._who = who
        self._loop = asyncio.get_running_loop()
        self.last_activity = self._loop.time()
        self._end = self.last_activity + MAX_LINGER
        cast("set[Any]", state.connections).add(self)
        transport.set_protocol(self)
        transport.write_eof()
        transport.resume_reading()
        self._due = self._loop.call_later(MAX_SILENCE, self._check)

    def describe(self) -> str:
        return f"{self._who}: a connection after its last response"

    def drain(self) -> None:
        """Do nothing: the connection ends by itself."""

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self.last_activity = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        hang_up_below(self.transport)
        self._due.cancel()
        cast("set[Any]", self._state.connections).discard(self)

    def _check(self) -> None:
        now = self._loop.time()
        if self.transport.get_write_buffer_size():  # `write_timeout` limits this
            self.last_activity, self._end = now, now + MAX_LINGER
        left = min(self.last_activity + MAX_SILENCE, self._end) - now
        if left > 0:
            self._due = self._loop.call_later(left, self._check)
        else:
            self.transport.close()
