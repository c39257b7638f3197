"""An HTTP/1.1 connection with limits on the time and the bytes that its client may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from enum import Enum, auto
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import is_ssl

from sockact.engines.http import tls_transport
from sockact.engines.http.connection_state import State, client_name
from sockact.engines.http.error_responses import DISCARDING_PARSER, Refused, answer, scope_of
from sockact.engines.http.lingering_close import LingeringClose, LingeringTransport
from sockact.engines.http.timeouts import Bounded, Wait
from sockact.sockets.kernel import unread

logger = logging.getLogger(__package__)


PARSED_AT_ONCE = 4096
"""Bytes of requests that are parsed at a time. uvloop reads 256,000, which may be 9,000 pipelined requests;
all of them waiting take 20 MB."""


class Reading(Enum):
    """The part of a request that is being read."""

    NOTHING = auto()
    HEADERS = auto()
    BODY = auto()


NOTHING, HEADERS, BODY = Reading


class Flow(FlowControl):
    """Flow control that reads nothing while pipelined requests wait.

    uvicorn's own resumes reading with each response, and whenever an app asks for a body: a client that
    pipelines faster than it is served would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, pipeline: Collection[object]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if self.read_paused and not self._pipeline:
            super().resume_reading()


class LimitedConnection(Bounded, HttpToolsProtocol):
    """A connection whose client may be slow, or send too much.

    Args:
        moved_here: whether another process has accepted it.

    Attributes:
        beneath: the transport whose `close` does not linger.
    """

    server_state: State

    def __init__(
        self, config: Config, server_state: State, app_state: dict[str, Any], *, moved_here: bool
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.last_activity = 0.0
        self.url = b""
        self._moved_here = moved_here
        self._moving = False
        self._running: RequestResponseCycle | None = None
        self._last_start = 0.0
        self._rest = b""
        self._reading = NOTHING
        self._header_bytes = 0
        self._body_bytes = 0
        self._max_header_bytes = server_state.bounds.max_header_bytes
        self._max_body_bytes = server_state.bounds.max_body_bytes

    @property
    def in_flight(self) -> bool:
        """Return whether a request's response is incomplete; that of the newest in a pipeline ends last."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self.beneath = transport
        if is_ssl(transport):
            ends = tls_transport.TlsTransport(transport, self.server_state.linger)
            self.beneath = cast("asyncio.Transport", ends)
        super().connection_made(self.beneath)
        if self.beneath is transport:
            lingering = LingeringTransport(transport, self._client_sends, self._end)
            self.transport = cast("asyncio.Transport", lingering)
        self.flow = Flow(self.beneath, self.pipeline)
        self.last_activity = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._running is not None and self._running is not self.cycle:  # that one is uvicorn's to tell
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _read_in_pieces(self, data: bytes) -> None:
        """Parse data that may hold many requests, a few at a time."""
        self._rest = data
        self._read_rest()

    def _read_rest(self) -> None:
        """Parse on until a request has to wait; no new data is read before the rest is parsed."""
        while self._rest and not self.pipeline:
            piece, self._rest = self._rest[:PARSED_AT_ONCE], self._rest[PARSED_AT_ONCE:]
            self.data_received(piece)

    def _waits(self) -> tuple[Wait, object] | None:
        if self._moving or self.pipeline or self.parser is DISCARDING_PARSER:
            return None
        if self._reading is BODY:
            # While reading is paused, and before "100 Continue", the app is slow and not the client.
            unasked = self.cycle is not None and self.cycle.waiting_for_100_continue
            paused = self.flow.read_paused or unasked
            return None if paused else (Wait.BODY, self.last_activity)
        if self.in_flight:
            return None
        if self._reading is HEADERS:
            return Wait.HEADERS, self._last_start
        fresh = self.cycle is None and not self._moved_here
        return Wait.BEGIN if fresh else Wait.GO_ON, self._last_start

    def _overdue(self, wait: Wait) -> None:
        if unread(self.transport):
            return  # it arrived in time, and the loop was too busy to read it
        if wait in (Wait.HEADERS, Wait.BODY):
            self._refuse(408)
        else:
            self.transport.close()

    def _client_sends(self) -> bool:
        """Tell whether the client may have sent, or be sending, more than will be read."""
        reading = self._reading is not NOTHING or self.pipeline or self.flow.read_paused
        return bool(reading or unread(self.transport))

    def _end(self) -> None:
        """Pass the transport to a `LingeringClose`, which ends the connection."""
        LingeringClose(self.beneath, self.server_state, client_name(self.client))
        self.loop.call_soon(self.connection_lost, None)  # as the transport would do it

    def _check_headers(self) -> None:
        """Count exactly, if more bytes were read than the headers of one request may have."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        if line + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._max_header_bytes:
            raise Refused(431)

    def _check_content_length(self) -> None:
        self._body_bytes = 0
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self._max_body_bytes:
                raise Refused(413)

    def _refuse(self, status: int) -> None:
        """Answer the request being read in the app's place, as the last of its connection; read no more."""
        if self.parser is DISCARDING_PARSER or self.transport.is_closing():
            return
        scope = scope_of(self.scope, self.parser.get_method() if self.url else b"-", self.url or b"-")
        self.parser = DISCARDING_PARSER
        before, waits = self.cycle, self.in_flight
        if self._reading is BODY and before is not None and before.scope is self.scope:
            if before.response_started:
                self.transport.close()
                return
            before.disconnected = True  # the app is told that the client has gone: its response is too late
            before.message_event.set()
            waits = bool(self.pipeline)
            if waits:
                self.pipeline.popleft()
        logger.debug("%s: refused with %d", client_name(self.client), status)
        self.cycle = self._last_cycle(scope)
        if waits:
            self.pipeline.appendleft((self.cycle, answer(status)))
        else:
            self._start_asgi_task(self.cycle, answer(status))

    def _last_cycle(self, scope: Any) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
