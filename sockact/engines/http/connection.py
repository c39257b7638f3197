"""An HTTP/1.1 connection: uvicorn's protocol, extended with a drain.

uvicorn's own shutdown closes at once every connection without a response under way. That loses the request
that the client is sending at that moment, and requests that were accepted but not read. Here instead:

    connection         in a drain
    in flight          `Connection: close` goes with its response if that has not begun; else it may go on
                       for `stream_grace`
    idle, fresh        may bring one more request; closed after `linger` seconds without a byte
    half a request     the same, counted from its last byte
    between requests   handed over to the next process, if one takes it (`sockact.handover`)

`timeouts` limits how long a client may take, `lingering_close` ends a connection. Two of uvicorn's methods
are replaced and not extended: `data_received`, which on bad input writes into a response under way, and
`on_response_complete`, which sets a timer each time. These non-public names of uvicorn are used: `cycle`,
`pipeline`, `_start_asgi_task`, `_should_upgrade`, `_unsupported_upgrade_warning`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import is_ssl

from sockact.engines.http import tls_transport
from sockact.engines.http.connection_state import State, client_name
from sockact.engines.http.declined_upgrade import framing_of, parser_of_body
from sockact.engines.http.error_responses import DISCARDING_PARSER, Refused
from sockact.engines.http.limits import BODY, HEADERS, NOTHING, PARSED_AT_ONCE, LimitedConnection
from sockact.engines.http.proxy_headers import PEER
from sockact.sockets.kernel import hang_up_below, unread
from sockact.sockets.peer import peer_of

STREAM_END_RECHECK = 0.5
"""Seconds between looks at a response that is over its grace and has not begun yet."""

FLUSH_RECHECK = 0.02
"""Seconds between looks at a write buffer that must be empty before the connection can move."""


class HttpConnection(LimitedConnection):
    """An HTTP/1.1 connection.

    Args:
        config: the app, and how it is served.
        server_state: the state that all connections of the engine share.
        app_state: the app's lifespan state.
        moved_here: whether another process has accepted the connection.
        stays: whether the connection must not move to another process.
    """

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        *,
        moved_here: bool = False,
        stays: bool = False,
    ) -> None:
        super().__init__(config, server_state, app_state, moved_here=moved_here)
        self._lingering: asyncio.TimerHandle | None = None
        self._closing_cycle: RequestResponseCycle | None = None
        self._stays = stays
        self._ending: asyncio.TimerHandle | None = None
        self._extensions: dict[str, Any] = {}
        self._framing = b""

    def describe(self) -> str:
        """Describe the connection and its request for a log line."""
        who = client_name(self.client)
        if not self.in_flight:
            return f"{who}: a connection without a request"
        scope = self.cycle.scope
        age = self.loop.time() - self._last_start
        stage = "sending its response" if self.cycle.response_started else "before its response"
        return f"{who}: {scope['method']} {scope['path']}, {age:.1f} s old, {stage}"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        if is_ssl(transport):
            self._stays = True  # its keys are here
            self._extensions = tls_transport.extensions(transport)
        super().connection_made(transport)
        if self.client is None and (peer := peer_of(transport.get_extra_info("socket"))):
            self.app_state = {**self.app_state, PEER: peer}
        if self.server_state.draining_since is not None:
            # Not at once: when this returns, uvloop starts reading, and would undo a pause.
            self.loop.call_soon(self.drain)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._moving and self.beneath.get_protocol() is self:
            hang_up_below(self.beneath)
        super().connection_lost(exc)
        self._linger_no_more()

    def handle_websocket_upgrade(self) -> None:
        self._linger_no_more()  # from here on it is the WebSocket that drains
        self._rest = b""
        self.transport = self.beneath
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        size = len(data)
        if size > PARSED_AT_ONCE and self._reading is not BODY:
            self._read_in_pieces(data)
            return
        self.last_activity = self.loop.time()
        self._header_bytes += size
        rest: bytes | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                rest = data[upgrade.args[0] :]
            elif self.in_flight:  # its 101 would precede the response, which would be sent among the frames
                self._refuse(400)
            else:
                self.handle_websocket_upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, Refused) else 400)
        if self._header_bytes > self._max_header_bytes:
            self._refuse(431)
        if rest is not None:
            self._read_on(rest)

    def _read_on(self, rest: bytes) -> None:
        """Continue as if the request had not asked for an upgrade."""
        if self._framing and self.parser is not DISCARDING_PARSER:
            self.parser = parser_of_body(self, self.parser.get_method(), self._framing)
            self._framing = b""
        if rest:
            self.data_received(rest)

    def on_message_begin(self) -> None:
        self._reading = HEADERS
        self._last_start = self.last_activity
        super().on_message_begin()
        if self._extensions:
            self.scope["extensions"] = self._extensions.copy()

    def on_headers_complete(self) -> None:
        if not 0 < self._header_bytes <= self._max_header_bytes:
            self._check_headers()
        if self._max_body_bytes:
            self._check_content_length()
        super().on_headers_complete()
        # Trailers of a chunked body are no headers: a client could forge there what only a proxy may say.
        self.headers = self.headers.copy()
        if self.parser.should_upgrade() and not self._should_upgrade():
            self._framing = framing_of(self.headers)
        self._reading = BODY
        state = self.server_state
        state.requests += 1
        state.on_request()
        if state.draining_since is not None:
            self._end_in_time()
            if not self._may_move():
                self._announce_close()

    def on_body(self, body: bytes) -> None:
        self._header_bytes = 0
        if self._max_body_bytes:
            self._body_bytes += len(body)
            if self._body_bytes > self._max_body_bytes:
                raise Refused(413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._header_bytes = 0
        if self._framing:
            return  # it is complete for the parser only, which does not know that the upgrade is declined
        self._reading = NOTHING
        super().on_message_complete()
        if self.server_state.draining_since is not None and not self.in_flight:
            # The response was complete before the request. Not at once: the parser goes on with what has
            # arrived, and may get to the next request, or to a WebSocket.
            self.loop.call_soon(self.drain)

    def on_response_complete(self) -> None:
        self.last_activity = self.loop.time()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        self.flow.resume_reading()
        if self._rest:
            self._read_rest()
        if self.server_state.draining_since is not None:
            self.drain()  # a response that had begun before the drain promised a persistent connection

    def drain(self) -> None:
        """Hand the connection over to the next process, now or after the response under way.

        If no process takes it, it may linger, and bring one more request.
        """
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        self._end_in_time()
        if not self._may_move():
            self._announce_close()
        elif self._between_requests():
            self._offer()
            return
        self._linger()

    def _end_in_time(self) -> None:
        """Schedule the end of the response under way, after `stream_grace`."""
        state = self.server_state
        grace, since = state.graces.stream, state.draining_since
        if self.in_flight and grace is not None and since is not None and self._ending is None:
            self._ending = self.loop.call_at(since + state.graces.end_of(grace), self._end_stream)

    def _end_stream(self) -> None:
        """Tell the app that its client has gone, and close the connection."""
        self._ending = None
        if not self.in_flight or self.transport.is_closing():
            return
        if self.cycle.response_started:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.close()
        else:
            self._ending = self.loop.call_later(STREAM_END_RECHECK, self._end_stream)

    def _may_move(self) -> bool:
        giver = self.server_state.giver
        keeps_alive = self.cycle is None or self.cycle.keep_alive
        return giver is not None and giver.room > 0 and keeps_alive and not self._stays

    def _between_requests(self) -> bool:
        return not (self.in_flight or self.pipeline or self._reading is not NOTHING)

    def _offer(self) -> None:
        if self._moving:
            return
        giver = self.server_state.giver
        assert giver is not None
        self._moving = True
        self.transport.pause_reading()
        self._offer_when_flushed()

    def _offer_when_flushed(self) -> None:
        if self.transport.is_closing():
            return
        giver = self.server_state.giver
        assert giver is not None
        if self.transport.get_write_buffer_size():
            self.loop.call_later(FLUSH_RECHECK, self._offer_when_flushed)
        else:
            giver.offer(self)

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        number: int = self.transport.get_extra_info("socket").fileno()
        return number

    def on_moved(self) -> None:
        """Called when another process has the connection; closes only our descriptor of it."""
        self.transport.abort()

    def on_refused(self) -> None:
        """Called when no process has taken the connection; serves it further."""
        self._moving = False
        self._stays = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.drain()

    def _announce_close(self) -> None:
        """Make the response to the newest request the last one; those before it are still sent in full."""
        if not self.in_flight or self.cycle.response_started:
            return
        before = self._closing_cycle
        if before is not None and before is not self.cycle and not before.response_started:
            before.keep_alive = True
        if self.cycle.keep_alive:
            self.cycle.keep_alive = False
            self._closing_cycle = self.cycle

    def _linger(self) -> None:
        self._linger_no_more()
        left = self._linger_until() - self.loop.time()
        self._lingering = self.loop.call_later(max(left, 0), self._linger_over)

    def _linger_no_more(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()

    def _linger_until(self) -> float:
        return max(self.last_activity, self.server_state.draining_since or 0) + self.server_state.linger

    def _linger_over(self) -> None:
        self._lingering = None
        if self.transport.is_closing() or self.in_flight or self._moving:
            return  # the end of the response arms it again
        if unread(self.transport) or self.loop.time() < self._linger_until():
            self._linger()
        else:
            self.beneath.close()  # nothing has arrived for `linger` seconds
