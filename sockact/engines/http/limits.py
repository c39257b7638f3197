"""An HTTP/1.1 connection that keeps bounds: what it waits for, what it refuses, and how it ends."""

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
from sockact.engines.http.error_responses import DEAF, Refused, answer, scope_of
from sockact.engines.http.lingering_close import Closing, Transport
from sockact.engines.http.timeouts import Bounded, Wait
from sockact.sockets.kernel import unread

logger = logging.getLogger(__package__)


PIECE = 4096
"""Bytes of requests read at a time. The 256,000 that uvloop reads may be 9,000 requests, which take 20 MB
where all of them wait."""


class Reading(Enum):
    """Which part of a request is being read."""

    NOTHING = auto()
    HEADERS = auto()
    BODY = auto()


NOTHING, HEADERS, BODY = Reading


class Flow(FlowControl):
    """Reads nothing as long as requests wait for their turn.

    uvicorn's reads on with each response, and whenever an app asks for a body: a client that pipelines
    faster than it is served fills the memory.
    """

    def __init__(self, transport: asyncio.Transport, pipeline: Collection[object]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if self.read_paused and not self._pipeline:
            super().resume_reading()


class Guarded(Bounded, HttpToolsProtocol):
    """A connection whose client may be slow, or send too much.

    Args:
        moved_here: whether another process has begun it.

    Attributes:
        beneath: the transport, whose `close` does not linger.
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
        """Whether a request was read whose response is not complete; the newest of a pipeline ends last."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self.beneath = transport
        if is_ssl(transport):
            ends = tls_transport.Transport(transport, self.server_state.linger)
            self.beneath = cast("asyncio.Transport", ends)
        super().connection_made(self.beneath)
        if self.beneath is transport:
            self.transport = cast("asyncio.Transport", Transport(transport, self._client_sends, self._end))
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
        """Read what may be many requests, a few at a time."""
        self._rest = data
        self._read_rest()

    def _read_rest(self) -> None:
        """Read on, until a request has to wait for its turn; nothing new comes before the rest is read."""
        while self._rest and not self.pipeline:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            self.data_received(piece)

    def _waits(self) -> tuple[Wait, object] | None:
        if self._moving or self.pipeline or self.parser is DEAF:
            return None
        if self._reading is BODY:
            # While reading is paused it is the app that takes its time, and before "100 Continue" too.
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
            return  # it has come in time, and the loop was too busy to read it
        if wait in (Wait.HEADERS, Wait.BODY):
            self._refuse(408)
        else:
            self.transport.close()

    def _client_sends(self) -> bool:
        """Tell whether input may be there, or on its way, that is not read before the connection ends."""
        reading = self._reading is not NOTHING or self.pipeline or self.flow.read_paused
        return bool(reading or unread(self.transport))

    def _end(self) -> None:
        """Leave to another the end of a connection on which nothing more is served."""
        Closing(self.beneath, self.server_state, client_name(self.client))
        self.loop.call_soon(self.connection_lost, None)  # as the transport would do it

    def _check_headers(self) -> None:
        """Count exactly, where more was read than the headers of one request may have."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        if line + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._max_header_bytes:
            raise Refused(431)

    def _check_content_length(self) -> None:
        self._body_bytes = 0
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self._max_body_bytes:
                raise Refused(413)

    def _refuse(self, status: int) -> None:
        """Answer the request that is being read in the app's place, as the last one, and read no more."""
        if self.parser is DEAF or self.transport.is_closing():
            return
        scope = scope_of(self.scope, self.parser.get_method() if self.url else b"-", self.url or b"-")
        self.parser = DEAF
        before, waits = self.cycle, self.in_flight
        if self._reading is BODY and before is not None and before.scope is self.scope:
            if before.response_started:
                self.transport.close()
                return
            before.disconnected = True  # for the app the client has gone: its response would come too late
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
