"""A connection that carries a WebSocket.

`websockets` knows the frames. Messages are taken from the connection one by one, as the app receives them:
a few bytes can inflate to many.

In a drain a close frame with 1012 is sent after `websocket_grace`, and the client may answer it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Protocol

from websockets.exceptions import InvalidState, PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode

from sockact.engines.http.call import READ_AHEAD, ClientConnection, ClientGone
from sockact.engines.http.engine_state import EngineState, client_name
from sockact.engines.http.head import Request
from sockact.engines.http.timeouts import Bounded
from sockact.engines.http.websocket_frames import Frames, WebSocketLimits
from sockact.engines.http.websocket_pings import Pings
from sockact.protocols.statistics import Reason
from sockact.sockets.kernel import hang_up_below

SERVICE_RESTART = 1012
"""WebSocket close code "Service Restart". Source: IANA, WebSocket Close Code Number Registry."""

INTERNAL_ERROR = 1011
NORMAL = 1000
ABNORMAL = 1006
INVALID_DATA = 1007
"""Close codes. Source: RFC 6455, section 7.4.1."""

CLOSE_TIMEOUT = 10.0
"""Seconds that a client has to answer our close frame."""

AT_ONCE = 4096
"""Bytes that are parsed at a time. Compressed, they may be four million."""

PIECES_PER_TURN = 4
"""Pieces of so many bytes that are parsed in one turn of the loop: thousands of frames, in milliseconds."""

logger = logging.getLogger(__package__)


class AppSide(Protocol):
    """The app's side of a WebSocket."""

    connection: ClientConnection
    request: Request

    @property
    def untold(self) -> int:
        """The number of events that the app has not received yet."""

    def tell(self, event: dict[str, Any]) -> None:
        """Tell the app of an event."""

    def on_gone(self) -> None:
        """Tell the app that its client has gone."""

    def log(self, sent: int, *, aborted: bool) -> None:
        """Log the end, after which so many bytes have been sent."""


class WebSocketConnection(asyncio.Protocol, Bounded):
    """A connection that carries a WebSocket.

    Args:
        app_side: the app's side.
        frames: of the connection.
        limits: the settings.

    Attributes:
        can_move_now: whether another process can have it; never.
        closing: whether no more messages can be sent.
        last_activity: when the client has last sent something, by the loop's clock.
    """

    can_move_now = False
    _moving = False  # to another process

    def __init__(self, app_side: AppSide, frames: Frames, limits: WebSocketLimits) -> None:
        super().__init__()
        self._app_side = app_side
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        connection = app_side.connection
        self._shared: EngineState = connection.shared
        self._client = connection.client
        self.transport = connection.transport
        self.last_activity = connection.last_activity
        self.closing = False
        self._held = False
        self._rest = bytearray()
        self._message: bytes | bytearray = b""
        self._is_text = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._pings = Pings(limits.ping_interval, limits.ping_timeout, self._ping, self._unanswered)
        self._end: asyncio.TimerHandle | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._lost = False
        self._sent = 0
        self._reason = Reason.CLIENT
        self._shared.statistics.open_websocket()
        self._shared.connections.add(self)

    def begin(self, head: bytes, data: bytes) -> None:
        """Send the handshake, and read on from what has come."""
        if head:
            self.transport.write(head)
        self._pings.begin()
        if data:
            self.data_received(data)
        if self._shared.draining_since is not None:
            self.drain()

    def describe(self) -> str:
        """Describe the connection for a log line."""
        return f"{client_name(self._client)}: WebSocket"

    @property
    def request_id(self) -> str:
        """Return the id of the handshake."""
        return self._app_side.request.id

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        self.last_activity = self._loop.time()
        if self._frames.parser_exc is None:  # else it is discarded until the connection ends
            self._rest += data
            self.read_on()

    def eof_received(self) -> None:
        """Allow the transport to close."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's interface
        """Note that the connection is closed."""
        self._shared.hangups.forget(self)
        self._on_end()
        self._count_end()
        self._lost = self.closing = True
        self._can_write.set()
        self._pings.stop()
        for timer in (self._end, self._restart):
            if timer is not None:
                timer.cancel()
        self._app_side.on_gone()
        self._shared.connections.discard(self)

    def _on_end(self) -> None:
        hang_up_below(self.transport)
        self._app_side.log(self._sent, aborted=not self.closing)

    def _count_end(self) -> None:
        statistics = self._shared.statistics
        statistics.close_websocket()
        if self._moving:
            statistics.move()
        else:
            statistics.close(Reason.ABORTED if self._shared.aborted else self._reason)

    def pause_writing(self) -> None:
        """Make the app wait."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Wake the app, and read on."""
        self._can_write.set()
        self.read_on()

    # Frames.

    def on_awaited(self) -> None:
        """Called when the app waits for an event."""

    def on_received(self, event: dict[str, Any]) -> None:  # noqa: ARG002 - some need to know which
        """Read on, now that the app has received an event."""
        self.read_on()

    def read_on(self) -> None:
        """Read until a message waits for the app, or an answer for the client; others have their turn."""
        for _ in range(PIECES_PER_TURN):
            if not self._rest or self._somebody_is_behind():
                break
            piece = bytes(memoryview(self._rest)[:AT_ONCE])
            del self._rest[:AT_ONCE]
            self._frames.receive_data(piece)
            for event in self._frames.events_received():
                assert isinstance(event, Frame)
                self._take(event)
            self._flush()
            if self._frames.parser_exc is not None and not self._lost:
                self._failed()
                return
        else:
            self._loop.call_soon(self.read_on)
        self._hold_or_resume()

    def _somebody_is_behind(self) -> bool:
        if not self._can_write.is_set():
            return True  # a client that sends pings, and reads no pongs
        return bool(self._app_side.untold) and not self.closing

    def _hold_or_resume(self) -> None:
        if self._lost or self.transport.is_closing():
            return
        hold = self._somebody_is_behind() or len(self._rest) > READ_AHEAD
        if hold and not self._held:
            self.transport.pause_reading()
            self._shared.hangups.watch(self)
        elif self._held and not hold:
            self.transport.resume_reading()
            self._shared.hangups.forget(self)
        self._held = hold

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def on_hung_up(self, *, entirely: bool) -> None:
        """Called when the client closes its side, or all, behind what is not read yet."""
        if entirely:
            self.transport.abort()
        else:  # the app may still take what has come before
            self._loop.call_later(CLOSE_TIMEOUT, self._end_if_held)

    def _end_if_held(self) -> None:
        if self._held and not self._lost:
            self.transport.abort()

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if opcode is not Opcode.CONT:
                self._is_text = opcode is Opcode.TEXT
                self._message = bytes(frame.data)
            else:  # joined at once: as objects, parts of a byte cost 50 times as much
                if isinstance(self._message, bytes):
                    self._message = bytearray(self._message)
                self._message += frame.data
            if frame.fin:
                self._complete()
        elif opcode is Opcode.PONG:
            self._pings.on_pong(bytes(frame.data))
        elif opcode is Opcode.CLOSE:
            self._closed()

    def _complete(self) -> None:
        data, self._message = bytes(self._message), b""
        if self.closing:
            return  # sent before the peer saw our close frame; the app has its disconnect
        if not self._is_text:
            self._app_side.tell({"type": "websocket.receive", "bytes": data})
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(INVALID_DATA, "", self._shared.linger)
        else:
            self._app_side.tell({"type": "websocket.receive", "text": text})

    def _closed(self) -> None:
        """Note that the client's close frame has come; `websockets` has answered it."""
        if not self.closing:
            received = self._frames.close_rcvd
            assert received is not None
            self.closing = True
            self._disconnect(received.code, received.reason)
        self._flush()
        self._close_transport()

    def _failed(self) -> None:
        """Note that what has come is no WebSocket, or too long; a close frame was sent."""
        sent = self._frames.close_sent
        self._reason = Reason.ERROR
        self._flush()
        if not self.closing:
            self.closing = True
            self._disconnect(ABNORMAL if sent is None else sent.code, "" if sent is None else sent.reason)
        self._rest.clear()
        if not isinstance(self._frames.parser_exc, (PayloadTooBig, ProtocolError)):
            logger.debug("%s: %s", self.describe(), self._frames.parser_exc)
        self._end_after(self._shared.linger)
        self._hold_or_resume()

    def _disconnect(self, code: int, reason: str) -> None:
        self._pings.stop()
        self._app_side.tell({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data and not self.transport.is_closing():
            self._sent += len(data)
            self.transport.write(data)

    # What the app sends.

    async def send(self, kind: str, message: Any) -> None:
        """Send a message of the app's."""
        await self._can_write.wait()
        if kind == "websocket.close":
            if not self.closing:
                self.close(message.get("code", NORMAL), message.get("reason") or "")
            return
        if kind != "websocket.send":
            raise RuntimeError(f"the app has sent {kind!r}: expected websocket.send or websocket.close")
        if self.closing:
            raise ClientGone("the WebSocket is closed")
        try:
            if (data := message.get("bytes")) is not None:
                self._frames.send_binary(data)
            elif (text := message.get("text")) is not None:
                self._frames.send_text(text.encode())
        except InvalidState:
            raise ClientGone("the WebSocket is closed") from None
        self._flush()

    def close(self, code: int, reason: str, within: float = CLOSE_TIMEOUT) -> None:
        """Send a close frame, and wait for the client's; raises an error for what cannot be sent."""
        if self.closing or self._lost:
            return
        self._reason = Reason.COMPLETE if self._shared.draining_since is None else Reason.DRAIN
        # Nothing is sent if what has come in the same piece, behind it, has made `websockets` send one.
        with contextlib.suppress(InvalidState):
            self._frames.send_close(code, reason)
        self.closing = True
        self._disconnect(code, reason)
        self._flush()
        self._end_after(within if self._shared.draining_since is None else self._shared.linger)
        self.read_on()

    def _end_after(self, limit: float) -> None:
        """Close the connection after this time, if the client does not."""
        if self._end is not None:
            self._end.cancel()
        if not self._lost:
            self._end = self._loop.call_later(limit, self._close_transport)

    def _close_transport(self) -> None:
        if not self._lost:
            self.transport.close()

    # A pause, through which it goes on.

    def hold(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""

    # The drain.

    def drain(self) -> None:
        """Schedule the close frame, after `websocket_grace`."""
        since = self._shared.draining_since
        if since is not None and self._restart is None:
            end = since + self._shared.graces.end_of(self._grace())
            self._restart = self._loop.call_at(end, self._close_for_restart)

    def _grace(self) -> float:
        return self._shared.graces.websocket

    def _close_for_restart(self) -> None:
        """Send the close frame, and wait `linger` seconds for the client's.

        If the connection were closed at once, data that the client sends meanwhile would make the kernel
        reset it, and the frame may be lost (RFC 9112, section 9.6).
        """
        if self.closing:
            self._end_after(self._shared.linger)
        else:
            self.close(SERVICE_RESTART, "")

    # Pings.

    def _ping(self, data: bytes) -> None:
        self._frames.send_ping(data)
        self._flush()

    def _unanswered(self) -> None:
        if self._held:  # the answer may have come, and waits behind messages that the app does not take
            self._pings.begin()
        else:
            logger.debug("%s: its client does not answer pings", self.describe())
            self.close(INTERNAL_ERROR, "no answer to a ping")
            self._reason = Reason.TIMEOUT
