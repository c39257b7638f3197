"""A WebSocket of an ASGI app that has moved here: the app is called as for a new one, and accepts it again.

Its client sees nothing of that. An app that does not want it any more closes it.
"""

from __future__ import annotations

from typing import Any

from sockact.engines.http.asgi import App
from sockact.engines.http.call import ClientConnection
from sockact.engines.http.websocket import WebSocketCall
from sockact.engines.http.websocket_carried import MovedWebSocket
from sockact.engines.http.websocket_connection import INTERNAL_ERROR, NORMAL, SERVICE_RESTART
from sockact.engines.http.websocket_frames import MovableFrames, WebSocketLimits
from sockact.engines.http.websocket_moving import MovableWebSocket
from sockact.handover.asgi import HANDOVER


class ResumedCall(WebSocketCall):
    """A WebSocket that has moved here, or could not move.

    Args:
        app: the app.
        limits: the settings.
        connection: of the client.
        moved: the WebSocket.
    """

    def __init__(
        self, app: App, limits: WebSocketLimits, connection: ClientConnection, moved: MovedWebSocket
    ) -> None:
        super().__init__(app, limits, connection, moved.request)
        self._resumed = moved

    def start(self) -> None:
        """Call the app."""
        self.response.status = 101
        self._call_app()

    def on_ended(self) -> None:
        """Ignore it: there may be messages before the end."""

    def _scope(self) -> dict[str, Any]:
        scope = super()._scope()
        accepted = self._resumed.subprotocol
        scope["subprotocols"] = [] if accepted is None else [accepted]
        scope["extensions"][HANDOVER] = {"state": self._resumed.state}
        return scope

    def _accept(self, message: Any) -> None:
        session = self._open()
        subprotocol = message.get("subprotocol") or None
        if not message.get(HANDOVER) or subprotocol not in (None, self._resumed.subprotocol):
            session.close(SERVICE_RESTART, "", self.connection.shared.linger)

    def _open(self) -> MovableWebSocket:
        """Take the connection from HTTP, and read what has come."""
        moved = self._resumed
        frames = MovableFrames.negotiated(self._limits, moved.window_bits)
        session = MovableWebSocket(self, frames, self._limits, moved.subprotocol)
        self._session = session
        session.begin(b"", self.connection.upgrade(session))
        session.read_on()  # up to its end, if that has come
        return session

    def _refuse(self, message: Any) -> None:
        """Close the WebSocket: there is no HTTP response any more."""
        if message["type"] == "websocket.close":
            self.leave(message.get("code", NORMAL), message.get("reason") or "")
        else:
            self._denial = message["status"], ()
            self.leave(SERVICE_RESTART)  # its client opens another one, and gets the response

    async def _send(self, message: Any) -> None:
        if self._denial is None:
            await super()._send(message)  # else it is the rest of that response

    def leave(self, code: int = INTERNAL_ERROR, reason: str = "") -> None:
        """Close the WebSocket, which the app has not accepted."""
        self._open().close(code, reason, self.connection.shared.linger)
