"""A WebSocket that can move to another process, because its app has said so.

In a drain the app is asked, by an event behind all others, and gives a state. Once it has that event,
nothing is read unless it waits for more: neither a message nor the client's end comes between question and
answer. When the app has returned, and all that it has sent has left, the connection moves: with that state,
and with what has come and the app has not received. If no process takes it, the app is called again here.

A ping under way is forgotten: the next process sends its own, and ignores the answer to another's.
"""

from __future__ import annotations

from typing import Any

from sockact.engines.http.call import ClientGone
from sockact.engines.http.resumed_connection import ResumedConnection
from sockact.engines.http.websocket_carried import MovedWebSocket, packed
from sockact.engines.http.websocket_connection import AppSide, WebSocketConnection
from sockact.engines.http.websocket_frames import MovableFrames, WebSocketLimits
from sockact.handover.asgi import HANDOVER
from sockact.handover.envelope import STATE_LIMIT, WEBSOCKET_LIMIT, CarriedWebSocket
from sockact.handover.pending import PendingHandover, sealed
from sockact.handover.transfer import HandoverSender


class MovableWebSocket(WebSocketConnection):
    """A connection with a WebSocket that can move.

    Args:
        app_side: the app's side.
        frames: of the connection.
        limits: the settings.
        subprotocol: the one that the app has accepted.

    Attributes:
        given: the state that the app has given; None before that.
    """

    def __init__(
        self, app_side: AppSide, frames: MovableFrames, limits: WebSocketLimits, subprotocol: str | None
    ) -> None:
        super().__init__(app_side, frames, limits)
        self._movable_frames = frames
        self._subprotocol = subprotocol
        self._asked = False
        self._holds_back = False
        self._ended = False
        self._moving = False
        self.given: bytes | None = None

    # The client.

    def end(self) -> None:
        """Close the connection once all is read: its client has ended its side before the app accepted."""
        self._ended = True

    def on_received(self, event: dict[str, Any]) -> None:
        """Note that the app has received an event."""
        if event["type"] == "websocket.receive":
            self._movable_frames.on_received()
        self._holds_back = event["type"] == HANDOVER
        self.read_on()

    def on_awaited(self) -> None:
        """Read on: the app wants to know what has come, before it answers."""
        if self._holds_back:
            self._holds_back = False
            self.read_on()

    def read_on(self) -> None:
        """Read until a message waits for the app, or the end."""
        super().read_on()
        if self._ended and not self._rest and not self._somebody_is_behind() and not self._lost:
            self.transport.close()

    def _somebody_is_behind(self) -> bool:
        return self._holds_back or self.given is not None or super()._somebody_is_behind()

    def _on_end(self) -> None:
        if not self._moving:  # else another process may have the connection
            super()._on_end()

    # The app.

    async def send(self, kind: str, message: Any) -> None:
        """Send a message of the app's, or take its state."""
        if kind != HANDOVER:
            await self._can_write.wait()  # first: another task of the app may answer meanwhile
        if self.given is not None:
            raise RuntimeError(f"the app has sent {kind!r}: expected nothing after {HANDOVER!r}")
        if kind == HANDOVER:
            self._give(message.get("state", b""))
        else:
            await super().send(kind, message)

    def _give(self, state: Any) -> None:
        if not isinstance(state, bytes | bytearray | memoryview):
            raise TypeError(f"a state of type {type(state).__name__}: expected bytes")
        if len(state) > STATE_LIMIT:
            raise ValueError(f"a state of {len(state)} bytes: expected at most {STATE_LIMIT}")
        if not self._asked:
            raise RuntimeError(f"the app has sent {HANDOVER!r}: expected it after an event of this type")
        if self.closing:
            raise ClientGone("the WebSocket is closed")
        self.given = bytes(state)
        self._hold_or_resume()
        self._shared.hangups.forget(self)  # the next process will notice

    # The drain.

    def drain(self) -> None:
        """Ask the app for its state if a process takes the connection; else schedule the close frame."""
        if self._shared.draining_since is None or self.given is not None:
            return
        if self._taker() is None:
            if self._asked and self._restart is not None:  # no process takes it any more
                self._restart.cancel()
                self._restart = None
        elif not (self._asked or self.closing):
            self._asked = True
            self._app_side.tell({"type": HANDOVER})
        super().drain()

    def _grace(self) -> float:
        graces = self._shared.graces
        return graces.answer if self._asked and self._taker() is not None else graces.websocket

    def _taker(self) -> HandoverSender | None:
        """Return the sender that can hand the connection over; None if it has to stay."""
        sender = self._shared.sender
        movable = sender is not None and sender.room > 0 and self._app_side.connection.movable
        return sender if movable else None

    def _close_for_restart(self) -> None:
        """Send the close frame: the app has not answered, or not returned."""
        self.given = None
        self._holds_back = False
        super()._close_for_restart()

    async def move(self) -> None:
        """Hand the connection over, or let the app go on here; called when the app has returned."""
        assert self.given is not None
        self._pings.stop()
        if self._restart is not None:
            self._restart.cancel()
        if not self._lost:
            self.transport.set_write_buffer_limits(0)
            await self._can_write.wait()
        frames = self._movable_frames
        unread = frames.unread() + self._rest
        request = self._app_side.request
        moved = MovedWebSocket(request, self._subprotocol, frames.window_bits, self.given, unread)
        handed_over = await self._hand_over(moved)
        self.closing = True
        if handed_over:
            self.transport.abort()  # this only closes our descriptor
        elif not self._lost:
            self._resume_here(moved)

    async def _hand_over(self, moved: MovedWebSocket) -> bool:
        """Offer the connection; return whether another process has it."""
        sender = self._taker()
        content = packed(moved)
        if self._lost or sender is None or len(content) >= WEBSOCKET_LIMIT:
            return False
        envelope = await sealed(self.fileno, CarriedWebSocket(content))
        if envelope is None:
            return False
        with envelope:
            pending = PendingHandover(envelope)
            self._moving = True  # and stays True after an abort: another process may have the connection
            sender.offer(pending)
            self._moving = await pending.outcome
            return self._moving

    def _resume_here(self, moved: MovedWebSocket) -> None:
        """Call the app again, as the next process would; the connection does not move any more."""
        self._lost = True  # for this object
        self._shared.connections.discard(self)
        self._shared.statistics.close_websocket()
        self.transport.set_write_buffer_limits()
        resumed = ResumedConnection(self._shared, moved, stays=True)
        self.transport.set_protocol(resumed)
        resumed.connection_made(self.transport)
        self.transport.resume_reading()
