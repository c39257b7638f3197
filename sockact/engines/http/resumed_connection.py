"""A connection whose WebSocket goes on, after another call of an app has had it.

Until the app has accepted it again, it is a connection whose request waits for its response.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.engine_state import EngineState
from sockact.engines.http.stages import HttpStage
from sockact.engines.http.websocket_carried import MovedWebSocket


class ResumedConnection(HttpConnection):
    """A connection whose WebSocket goes on.

    Args:
        shared: what all connections of the engine share.
        moved: the WebSocket.
        stays: whether the connection must not move to another process.
    """

    __slots__ = ("_resumed",)

    def __init__(self, shared: EngineState, moved: MovedWebSocket, *, stays: bool = False) -> None:
        super().__init__(shared, moved_here=True, stays=stays)
        self._resumed = moved

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Call the app."""
        super().connection_made(transport)
        self.shared.on_request()  # the process is busy; the request was counted where it came
        request = self._resumed.request
        if (log := self.shared.request_log) is not None:
            log.begin(request, self)
        else:
            request.id = ""
        make = self.shared.websocket
        assert make is not None
        self.stage = HttpStage.DUE
        self._current = call = make(self, request, self._resumed)
        self._reader.wait(self._resumed.unread)
        call.start()

    def eof_received(self) -> bool:
        """Note that the client sends no more; messages of its may be unread."""
        self._eof = True
        return True

    def on_failed(self, call: Any, *, returned: bool) -> None:  # noqa: ARG002 - the base's interface
        """Close the WebSocket if the app has failed, or returned, before it has accepted that."""
        if self.stage is HttpStage.DUE:
            call.leave()

    def upgrade(self, protocol: Any) -> bytes:
        """Give the transport to a WebSocket; return what has been read for it."""
        if self._eof:
            protocol.end()
        return super().upgrade(protocol)
