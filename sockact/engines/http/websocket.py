"""A WebSocket connection: uvicorn's protocol, extended with a drain.

In a drain a close frame with 1012 is sent after `websocket_grace`, and the client may answer it. These
non-public names of uvicorn are used: `conn`, `queue`, `close_timer`, `stop_keepalive`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sockact.engines.http import tls_transport
from sockact.engines.http.connection_state import State, client_name
from sockact.engines.http.timeouts import Bounded
from sockact.sockets.kernel import hang_up_below

SERVICE_RESTART = 1012
"""WebSocket close code "Service Restart". Source: IANA, WebSocket Close Code Number Registry."""


class WebSocket(Bounded, WebSocketsSansIOProtocol):
    """A WebSocket connection."""

    def __init__(self, config: Config, server_state: State, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._state = server_state
        self.last_activity = 0.0
        self._restarting = False
        self._ending: asyncio.TimerHandle | None = None

    def describe(self) -> str:
        """Describe the connection for a log line."""
        return f"{client_name(self.client)}: WebSocket"

    def drain(self) -> None:
        """Schedule the close frame, after `websocket_grace`."""
        since = self._state.draining_since
        if since is None or self._ending is not None or not self.handshake_complete:
            return
        end = since + self._state.graces.end_of(self._state.graces.websocket)
        self._ending = self.loop.call_at(end, self._restart)

    def _restart(self) -> None:
        """Send the close frame, and wait `linger` seconds for the peer's.

        uvicorn closes the connection right after its frame; data that the client sends meanwhile then makes
        the kernel reset it, and the frame may be lost (RFC 9112, section 9.6).
        """
        if self.close_sent or self.transport.is_closing():
            return
        self._restarting = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART})
        self.conn.send_close(SERVICE_RESTART)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_timer = self.loop.call_later(self._state.linger, self.transport.close)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        hang_up_below(self.transport)
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        self.scope["extensions"].update(tls_transport.extensions(self.transport))  # type: ignore[arg-type]  # no TypedDict
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self._state.draining_since is not None:
            self.drain()  # the handshake was under way when the drain began

    def send_receive_event_to_app(self) -> None:
        if self._restarting:
            self.frames = []  # sent before the peer saw our close frame; the app has its disconnect
        else:
            super().send_receive_event_to_app()
