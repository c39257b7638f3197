"""An HTTP/1.1 connection: carries out the table of `stages` on an asyncio transport.

The reader finds requests, a call is one request with its response, and the table says what follows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, cast

from sockact.config.records import in_request
from sockact.engines.http import tls_transport
from sockact.engines.http.answers import Answered, error_answer
from sockact.engines.http.call import READ_AHEAD, AppCall, quoted
from sockact.engines.http.engine_state import EngineState, Intercept, client_name
from sockact.engines.http.head import Request
from sockact.engines.http.reader import RequestReader
from sockact.engines.http.stages import (
    BETWEEN,
    IN_FLIGHT,
    READS_BODY,
    WAITS,
    Cell,
    HttpEvent,
    HttpStage,
    rows,
)
from sockact.engines.http.timeouts import Bounded, Wait, reset
from sockact.protocols.statistics import Reason
from sockact.sockets.kernel import hang_up_below, unread
from sockact.sockets.peer import peer_of, unmapped

if TYPE_CHECKING:
    from sockact.engines.http.proxy_protocol import Source

STREAM_END_RECHECK = 0.5
"""Seconds between looks at a response that is over its grace and has not begun yet."""

FLUSH_RECHECK = 0.02
"""Seconds between looks at a write buffer that must be empty before the connection can move."""

MAX_SILENCE = 2.0
"""Seconds without a byte from the client, after which a connection that lingers is closed in any case."""

MAX_LINGER = 30.0
"""Seconds until then if the client goes on sending. Both values are Apache's (server/connection.c)."""

_TOO_SLOW = 408
_FAILED = 500

logger = logging.getLogger(__package__)


class HttpConnection(asyncio.Protocol, Bounded):
    """An HTTP/1.1 connection.

    Args:
        shared: what all connections of the engine share.
        moved_here: whether another process has accepted the connection.
        stays: whether the connection must not move to another process.
        source: what a proxy has told by the PROXY protocol, which the next process would not know.
        intercept: answers requests that are not for the app, in place of the engine's.

    Attributes:
        client: address and port of the client; None on a Unix socket.
        server: our address and port; path and None on a Unix socket.
        loop: the event loop.
        scheme: `http` or `https`.
        stage: the stage of its life.
        ending: whether its response is the last one, unless another request waits.
        file_bytes: the bytes of a file that are still to be sent.
        paused: whether the client has to read before more is sent.
        last_activity: when the client has last sent something, by the loop's clock.
    """

    __slots__ = (
        "_began",
        "_count",
        "_current",
        "_eof",
        "_eof_behind",
        "_grace",
        "_held",
        "_intercept",
        "_moved",
        "_reader",
        "_reason",
        "_refusal",
        "_source",
        "_stays",
        "_timer",
        "_writers",
        "client",
        "ending",
        "file_bytes",
        "last_activity",
        "loop",
        "paused",
        "peer",
        "scheme",
        "server",
        "shared",
        "stage",
        "tls",
        "transport",
    )

    def __init__(
        self,
        shared: EngineState,
        *,
        moved_here: bool = False,
        stays: bool = False,
        source: Source | None = None,
        intercept: Intercept | None = None,
    ) -> None:
        super().__init__()
        self.shared = shared
        self.stage = HttpStage.IDLE if moved_here else HttpStage.FRESH
        self.ending = False
        self.file_bytes = 0
        self.last_activity = 0.0
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.peer: Any = None
        self.tls: dict[str, Any] | None = None
        self.loop = asyncio.get_running_loop()
        self._reader = RequestReader(self, shared.bounds.max_header_bytes, shared.bounds.max_body_bytes)
        self._current: AppCall | None = None
        self._refusal: tuple[int, Request | None] = (400, None)
        self._stays = stays or source is not None
        self._source = source
        self._intercept = intercept or shared.intercept
        self._held = False
        self._moved = False
        self.paused = False
        self._eof = False
        self._eof_behind = False  # the client has ended its side, behind what is not read yet
        self._writers: list[asyncio.Future[None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._count = 0
        self._began = 0.0  # when the request in flight has begun, by the monotonic clock; 0: there is none
        self._reason = Reason.CLIENT  # for its end; until something else is known

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: Any = transport
        shared = self.shared
        if transport.get_extra_info("sslcontext") is not None:
            self.transport = tls_transport.TlsTransport(cast("asyncio.Transport", transport), shared.linger)
            self.scheme = "https"
            self.tls = tls_transport.extensions(transport)
            self._stays = True  # its keys are here
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            self.server = os.fsdecode(transport.get_extra_info("sockname") or ""), None
            self.peer = peer_of(sock)
        else:
            self.client = address(transport.get_extra_info("peername"))
            self.server = address(transport.get_extra_info("sockname"))
        if (source := self._source) is not None and source.client is not None:
            self.client, self.server = source.client, source.server
            self.scheme = "https" if source.encrypted else self.scheme
        self.last_activity = self.loop.time()
        if self.stage is HttpStage.FRESH:
            shared.statistics.open()
        elif not self._stays:  # else it could not move, and goes on here
            shared.statistics.receive()
        shared.on_made(self)
        shared.connections.add(self)
        if shared.draining_since is not None:
            # Not at once: when this returns, uvloop starts reading, and would undo a pause.
            self.loop.call_soon(self.drain)
        elif shared.held:
            self.loop.call_soon(self.hold)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self.last_activity = self.loop.time()
        if self.stage in _DISCARDS:
            return
        reader = self._reader
        reader.receive(data)
        if reader.rest or self.stage is not HttpStage.DUE:
            self._settle()

    def eof_received(self) -> bool:
        """Note that the client sends no more; it may still read."""
        self._eof = True
        self._step(HttpEvent.EOF)
        return self.tls is None  # TLS has no half-closed connection here

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's interface
        """Note that the connection is closed."""
        self._step(HttpEvent.LOST)
        self._cancel_timers()
        self.shared.hangups.forget(self)
        statistics = self.shared.statistics
        if self._moved:
            statistics.move()
        else:
            hang_up_below(self.transport)
            statistics.close(Reason.ABORTED if self.shared.aborted else self._reason)
        self.wake_writers()
        self.shared.connections.discard(self)

    def pause_writing(self) -> None:
        """Make the app wait."""
        self.paused = True

    def resume_writing(self) -> None:
        """Wake the app."""
        self.paused = False
        self.wake_writers()
        if self._current is not None:
            self._current.on_writable()

    # What the reader finds.

    def on_part(self) -> None:
        """Note that a head has begun."""
        self._step(HttpEvent.PART)

    def on_request(self, request: Request) -> None:
        """Begin the call of a request."""
        shared = self.shared
        self._count += 1
        shared.requests += 1
        shared.on_request()
        if shared.request_log is not None:
            shared.request_log.begin(request, self)
        self._began = shared.statistics.begin()
        if request.upgrade and shared.websocket is not None and is_websocket(request):
            make = shared.websocket
        else:
            make = shared.runner
        self._current = make(self, request)
        self._step(HttpEvent.REQUEST if request.length == 0 else HttpEvent.HEAD)
        if shared.draining_since is not None and self.stage in IN_FLIGHT:
            self.drain()

    def on_body(self, part: bytes) -> None:
        """Pass a part of the body on."""
        call = self._current
        if call is not None and self.stage is not HttpStage.REST:
            call.on_body(part)

    def on_body_end(self) -> None:
        """Note that the request is complete."""
        call, answered = self._current, self.stage is HttpStage.REST
        self._step(HttpEvent.BODY_END)
        if call is not None and not answered:
            call.on_body_end()
        if self.shared.draining_since is not None and self.stage in IN_FLIGHT:
            self.drain()

    def on_bad(self, status: int, request: Request | None) -> None:
        """Note that the input is refused."""
        self._reason = Reason.ERROR
        call = self._current  # of which the body is refused
        self._refusal = status, call.request if request is None and call is not None else request
        self._step(HttpEvent.BAD)

    # What calls do.

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has read enough, or has gone."""
        if self._writers is None:
            self._writers = []
        waiter = self.loop.create_future()
        self._writers.append(waiter)
        await waiter

    @property
    def is_last(self) -> bool:
        """Return whether the response that begins now is the last one."""
        return not self._reader.has_another

    def body_taken(self) -> None:
        """Read on, unless the app has to take its body first."""
        if self._held and self.stage in READS_BODY and not self._is_full:
            self._resume()

    def on_begun(self) -> None:
        """Note that the response has begun."""
        self._step(HttpEvent.BEGUN)

    def on_complete(self, call: AppCall) -> None:
        """Note that the response is complete."""
        if (log := self.shared.request_log) is not None:
            log.end(call)
        if self._began:
            self.shared.statistics.complete(call.response.status, self._began)
            self._began = 0.0
        if not call.response.last:
            self._step(HttpEvent.COMPLETE)
            return
        if self._reason is Reason.CLIENT:
            self._reason = Reason.COMPLETE
        if self._may_be_sending():
            self._step(HttpEvent.COMPLETE_AMID)
        else:
            self._step(HttpEvent.COMPLETE_LAST)

    def on_failed(self, call: AppCall, *, returned: bool) -> None:
        """Note that the app has failed, or returned, before its response was complete."""
        if call is self._current:
            if call.response.begun:
                self._reason = Reason.ERROR
            self._refusal = _FAILED, call.request
            visible = returned and call.response.has_end
            self._step(HttpEvent.RETURNED if visible else HttpEvent.FAILED)

    def upgrade(self, protocol: asyncio.Protocol) -> bytes:
        """Give the transport to a WebSocket; return what has been read for it."""
        self._step(HttpEvent.UPGRADE)
        if self._began:  # else it was accepted where it has come from
            self.shared.statistics.complete(101, self._began)
            self._began = 0.0
        self._cancel_timers()
        self._current = None
        self.shared.connections.discard(self)
        self.transport.set_protocol(protocol)
        if self._held:
            self._held = False
            self.shared.hangups.forget(self)
            self.transport.resume_reading()
        return bytes(self._reader.rest)

    # The pause of a service.

    def hold(self) -> None:
        """Read no further request until `release`; its client waits."""
        if self.shared.held and self.stage in BETWEEN:
            self._hold()

    def release(self) -> None:
        """Read the next request, if none is in flight."""
        if self.stage in BETWEEN and not self.transport.is_closing() and self._reader.proceed():
            self._settle()

    # The drain.

    @property
    def movable(self) -> bool:
        """Return whether the connection can move to another process, if one takes it."""
        return self.shared.sender is not None and not self._stays

    def drain(self) -> None:
        """Hand the connection over to the next process, now or after the response under way.

        If no process takes it, it may linger, and bring one more request.
        """
        self._end_in_time()
        if not self._may_move():
            self._step(HttpEvent.DRAIN_HERE)
        elif self._current is None and self._reader.rest:
            self._step(HttpEvent.DRAIN_AMID)
        else:
            self._step(HttpEvent.DRAIN)

    @property
    def can_move_now(self) -> bool:
        """Return whether the connection is idle, and can go to another process."""
        if self.stage not in _RESTS or self._reader.rest or not self._may_move():
            return False
        return not self.transport.is_closing()

    def shed(self) -> None:
        """Hand the connection, which can move now, over to a process that has fewer."""
        self._step(HttpEvent.SHED)

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        sock = self.transport.get_extra_info("socket")  # None when a TLS connection has been closed
        return -1 if sock is None else int(sock.fileno())

    def on_moved(self) -> None:
        """Called when another process has the connection; closes only our descriptor of it."""
        self._step(HttpEvent.TAKEN)

    def on_refused(self) -> None:
        """Called when no process has taken the connection; serves it further."""
        draining = self.shared.draining_since is not None
        self._stays = self._stays or draining
        self._step(HttpEvent.KEPT)
        if self.transport.is_closing():
            return
        if draining:
            self.drain()
        else:
            self._resume()
            self.hold()

    def on_hung_up(self, *, entirely: bool) -> None:
        """Called when the client closes its side, or all, behind what is not read yet."""
        if entirely:
            self.transport.abort()
        else:
            self._eof_behind = True
            self._step(HttpEvent.EOF_BEHIND)

    # Limits.

    def describe(self) -> str:
        """Describe the connection and its request for a log line."""
        who = client_name(self.client)
        if self.stage is HttpStage.LINGERING:
            return f"{who}: a connection after its last response"
        call = self._current
        if call is None or self.stage not in IN_FLIGHT:
            return f"{who}: a connection without a request"
        age = self.loop.time() - call.since
        begun = "sending its response" if call.response.begun else "before its response"
        request = call.request
        return f"{who}: {request.method} {quoted(request.target)}, {age:.1f} s old, {begun}"

    @property
    def request_id(self) -> str:
        """Return the id of the request in flight; empty for none."""
        return "" if self._current is None else self._current.request.id

    def _waits(self) -> tuple[Wait, object] | None:
        if self._held or self._reader.refused:
            return None
        wait = WAITS.get(self.stage)
        if wait is Wait.BODY:
            call = self._current
            patient = call is not None and call.patient
            return None if patient else (wait, self.last_activity)
        return None if wait is None else (wait, self._count)

    def _overdue(self, wait: Wait) -> None:  # noqa: ARG002 - the stage tells it
        if not unread(self.transport):  # else it arrived in time, and the loop was too busy to read it
            self._reason = Reason.TIMEOUT
            self._refusal = _TOO_SLOW, None if self._current is None else self._current.request
            self._step(HttpEvent.OVERDUE)

    def unsent(self) -> int:
        """Return how many bytes the client has to take."""
        size: int = self.transport.get_write_buffer_size()
        return size + self.file_bytes

    def on_stalled(self) -> None:
        """Called when the client has not read for too long."""
        self._reason = Reason.TIMEOUT
        self._step(HttpEvent.UNREAD)

    # Steps of the table.

    def _step(self, event: HttpEvent) -> None:
        self.stage, actions = _CELLS[self.stage][event]
        for action in actions:
            action(self)

    def _call(self) -> None:
        call = self._current
        assert call is not None
        if self._intercept is not None and (answer := self._intercept(call.request)) is not None:
            call = self._current = Answered(self, call.request, answer)
        call.start()

    def _answer(self) -> None:
        status, request = self._refusal
        request = request or Request("-", b"-", "1.1", [])
        if (log := self.shared.request_log) is not None:
            log.begin(request, self)
        self._began = self._began or self.shared.statistics.begin()
        with in_request(request.id):
            logger.debug("%s: refused with %d", client_name(self.client), status)
        self._current = error_answer(self, request, status, last=self._reader.refused)
        self._current.start()

    def _discard(self) -> None:
        self._reader.discard()

    def _ended(self) -> None:
        if self._current is not None:
            self._current.on_ended()

    def _gone(self) -> None:
        call, self._current = self._current, None
        if self.stage is not HttpStage.DUE:  # else it is answered in the app's place
            self._give_up_request(call)
        self.wake_writers()
        if call is not None:
            call.on_gone()

    def _last(self) -> None:
        self.ending = True

    def _next(self) -> None:
        self._current = None
        if self._grace is not None:
            self._cancel_grace()
        if self.shared.held:
            self._hold()
        elif self._reader.proceed():
            self._settle()

    def _settle(self) -> None:
        """Do what has to wait until all that was read is parsed."""
        if self._eof:
            self._step(HttpEvent.EOF)  # which came behind what was parsed only now
        elif self.stage in READS_BODY:
            self._settle_body()
        elif self.stage in IN_FLIGHT:
            if len(self._reader.rest) > READ_AHEAD:
                self._hold()
            if self._eof_behind:
                self._step(HttpEvent.EOF_BEHIND)
        elif self.stage in BETWEEN:
            self._settle_between()

    def _settle_between(self) -> None:
        if self.shared.draining_since is not None:
            self.drain()  # a response that had begun before the drain promised a persistent connection
        elif self.shared.held:
            self._hold()
        elif self.shared.owed and self.can_move_now:
            self.shared.owed -= 1
            self.shed()
        elif self._held:
            self._resume()

    def _settle_body(self) -> None:
        if self._is_full:
            self._hold()
        else:
            self.body_taken()

    @property
    def _is_full(self) -> bool:
        """Return whether the app has to take some of its body first; after its response it never does."""
        return self.stage is not HttpStage.REST and self._current is not None and self._current.full

    def _hold(self) -> None:
        """Read no more; the kernel tells if the client goes."""
        if not self._held and not self._eof:
            self._held = True
            self.transport.pause_reading()
            self.shared.hangups.watch(self)

    def _resume(self) -> None:
        if self._held and not self.transport.is_closing():
            self._held = False
            self.shared.hangups.forget(self)
            self.transport.resume_reading()

    def _offer(self) -> None:
        self._cancel_timers()
        if not self._held:
            self._held = True
            self.transport.pause_reading()
        self.shared.hangups.forget(self)
        if self.transport.get_write_buffer_size():
            # uvloop writes at the end of a turn: the response before is probably gone in the next one.
            self.loop.call_soon(self._offer_when_flushed)
        else:
            self._offer_when_flushed()

    def _offer_when_flushed(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self._timer = self.loop.call_later(FLUSH_RECHECK, self._offer_when_flushed)
        else:
            assert self.shared.sender is not None
            self.shared.sender.offer(self)

    def _linger(self) -> None:
        self._resume()
        self._cancel_timer()
        left = self._linger_until() - self.loop.time()
        self._timer = self.loop.call_later(max(left, 0), self._linger_over)

    def _linger_until(self) -> float:
        return max(self.last_activity, self.shared.draining_since or 0) + self.shared.linger

    def _linger_over(self) -> None:
        self._timer = None
        if self.stage in IN_FLIGHT or self.transport.is_closing():
            return  # the end of the response arms it again
        if unread(self.transport) or self.loop.time() < self._linger_until():
            self._linger()
        else:
            self._reason = Reason.DRAIN
            self._step(HttpEvent.SILENT)  # nothing has arrived for `linger` seconds

    def _close(self) -> None:
        self._quit()
        self.transport.close()

    def _hang_up(self) -> None:
        """Shut our side down when everything is sent, and read until the client closes too.

        If a server closes at once while the client sends, the kernel resets the connection, and the last
        response may be lost. Source: RFC 9112, section 9.6.
        """
        self._quit()
        if self.tls is not None:
            self.transport.close()  # the loop reads until the client's end
            return
        if self._eof:
            self._step(HttpEvent.EOF)  # the client has nothing to say any more
            return
        self.transport.write_eof()
        self._resume()
        now = self.loop.time()
        self.last_activity = now
        self._timer = self.loop.call_later(MAX_SILENCE, self._look_at_lingering, now + MAX_LINGER)

    def _look_at_lingering(self, end: float) -> None:
        now = self.loop.time()
        if self.transport.get_write_buffer_size():  # `write_timeout` limits this
            self.last_activity, end = now, now + MAX_LINGER
        left = min(self.last_activity + MAX_SILENCE, end) - now
        if left > 0:
            self._timer = self.loop.call_later(left, self._look_at_lingering, end)
        else:
            self._step(HttpEvent.OVERDUE)

    def _reset(self) -> None:
        self._quit()
        reset(self.transport)

    def _let_go(self) -> None:
        self._moved = True
        self.transport.abort()

    # Details.

    def _may_move(self) -> bool:
        sender = self.shared.sender
        if sender is None or sender.room <= 0 or self._stays or self._eof:
            return False
        return self._current is None or not self._current.response.last

    def _may_be_sending(self) -> bool:
        """Tell whether the client may have sent, or be sending, more than will be read."""
        if self._eof:
            return False
        reader = self._reader
        return bool(reader.refused or self._held or reader.rest or unread(self.transport))

    def _end_in_time(self) -> None:
        """Schedule the end of the response under way, after `stream_grace`."""
        shared = self.shared
        grace, since = shared.graces.stream, shared.draining_since
        if self.stage in IN_FLIGHT and grace is not None and since is not None and self._grace is None:
            self._grace = self.loop.call_at(since + shared.graces.end_of(grace), self._grace_over)

    def _grace_over(self) -> None:
        self._grace = None
        self._reason = Reason.DRAIN
        self._step(HttpEvent.GRACE_OVER)
        if self.stage in IN_FLIGHT:
            self._grace = self.loop.call_later(STREAM_END_RECHECK, self._grace_over)

    def wake_writers(self) -> None:
        """Wake those that wait for the client to read."""
        if self._writers:
            writers, self._writers = self._writers, None
            for waiter in writers:
                if not waiter.done():
                    waiter.set_result(None)

    def _quit(self) -> None:
        """Forget the request; what was sent of its response is still sent."""
        call, self._current = self._current, None
        self._give_up_request(call)
        self._cancel_timers()
        if self._held:
            self.shared.hangups.forget(self)

    def _give_up_request(self, call: AppCall | None) -> None:
        """Note that the request in flight, if there is one, gets no complete response."""
        if self._began:
            self._began = 0.0
            self.shared.statistics.abort()
        log = self.shared.request_log
        if log is not None and call is not None and not call.response.complete:
            log.end(call, aborted=True)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _cancel_timers(self) -> None:
        self._cancel_timer()
        self._cancel_grace()


def is_websocket(request: Request) -> bool:
    """Return whether a request that wants an upgrade is the handshake of a WebSocket."""
    return request.method == "GET" and b"websocket" in [
        each.strip() for each in request.upgrade.split(b",")
    ]


def address(found: Any) -> tuple[str, int] | None:
    """Return host and port; an IPv4 address is written as one, also where IPv6 carries it."""
    if not isinstance(found, tuple) or len(found) < 2:
        return None
    return unmapped(found[0]), int(found[1])


_RESTS = frozenset({HttpStage.FRESH, HttpStage.IDLE})

_DISCARDS = frozenset({HttpStage.LINGERING, HttpStage.CLOSED, HttpStage.OFFERED})


def _methods(cell: Cell) -> tuple[Any, ...]:
    """Return the methods for the actions of a cell: each has the name of its action."""
    return tuple(getattr(HttpConnection, f"_{action.name.lower()}") for action in cell.actions)


_CELLS = [[(cell.stage, _methods(cell)) for cell in row] for row in rows()]
"""The table, with methods for the actions."""
