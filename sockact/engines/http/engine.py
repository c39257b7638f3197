"""The HTTP engine serves an app on stream listeners."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sockact.config.records import RecordKind, about, in_request
from sockact.config.settings import Settings
from sockact.engines.certificates import Tls
from sockact.engines.http import tls_transport
from sockact.engines.http.answers import ready_paths, reload_page, to_https
from sockact.engines.http.call import AppCall, ClientConnection
from sockact.engines.http.connection import HttpConnection, address
from sockact.engines.http.engine_state import EngineState, Graces, Runner
from sockact.engines.http.head import Request
from sockact.engines.http.lifespan import App, Lifespan
from sockact.engines.http.shedding import Shedding
from sockact.engines.http.sse_shutdown import announce_shutdown
from sockact.engines.http.timeouts import Bounds, Sweep
from sockact.engines.interface import EngineObserver, NoObserver
from sockact.engines.refused_websocket import refuse_websocket
from sockact.errors import SettingsError
from sockact.handover.envelope import Carried, CarriedWebSocket
from sockact.handover.transfer import HandoverSender
from sockact.lifecycle.readiness import Readiness
from sockact.protocols.load_board import OwnRow
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.sockets.acceptor import Acceptor, accept_on
from sockact.sockets.fds import Listener
from sockact.sockets.peer import peer_of
from sockact.system import loop_tasks
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

if TYPE_CHECKING:
    from sockact.engines.http.forwarded import Proxies
    from sockact.engines.http.request_log import RequestLog
    from sockact.engines.http.websocket_carried import MovedWebSocket

HTTP = "http"
"""Name of the listeners that `redirect_http` applies to."""

ANSWER_TIMEOUT = 10.0
"""Seconds within which an app has to let a WebSocket move in a drain, if `websocket_grace` is shorter."""

logger = logging.getLogger(__package__)


class HttpEngine:
    """Serves one app over HTTP/1.1 and WebSocket.

    Args:
        app: the app's callable.
        kind: the kind of app: `asgi`, `asgi2` or `wsgi`.
        listeners: listening stream sockets, which stay open when the engine stops, or connected ones.
        settings: how to serve.
        readiness: the answer for `ready_path` and `live_path`.
        tls: the TLS configuration; None if no listener speaks TLS.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        kind: str,
        listeners: Sequence[Listener],
        settings: Settings,
        readiness: Readiness | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._listeners = listeners
        wsgi = kind == "wsgi"
        called = _as_asgi3(app) if kind == "asgi2" else cast("App", app)
        self._lifespan = Lifespan(called, "off" if wsgi else settings.lifespan)
        self._changed = asyncio.Event()
        bounds = Bounds.from_settings(settings)
        runner = _wsgi_runner(app, settings) if wsgi else _asgi_runner(called)
        self._shared = shared = EngineState(
            runner, settings.linger, _graces(settings), bounds, self._on_change
        )
        shared.websocket = None if wsgi else _websockets(called, settings)
        shared.intercept = ready_paths(readiness or Readiness(), settings)
        shared.proxies = _proxies(settings)
        shared.request_log = _request_log(settings, shared.proxies)
        if settings.proxy_protocol and shared.proxies is None:
            found = " ".join(settings.proxy_protocol)
            raise SettingsError(f"proxy_protocol={found}: expected trusted_proxies to be set too")
        shared.app_state = self._lifespan.state
        shared.root_path = settings.root_path
        if settings.version_header and settings.version:
            shared.constant_fields = [(settings.version_header.lower().encode(), settings.version.encode())]
        self._sweep = Sweep(bounds, shared.connections)
        self._shedding = Shedding(shared)
        self._load: OwnRow | None = None
        self._observer: EngineObserver = NoObserver()
        self._acceptors: list[Acceptor] = []
        self._arriving: set[asyncio.Task[Any]] = set()
        self._made_by: dict[HttpConnection, asyncio.Task[Any]] = {}
        shared.on_made = self._on_made

    def watch(self, observer: EngineObserver) -> None:
        """Report requests and connections to `observer` from now on."""
        self._observer = observer
        self._shared.on_request = observer.on_request

    def count_in(self, statistics: WorkerStatistics) -> None:
        """Count requests and connections in `statistics`."""
        self._shared.statistics = statistics

    def answer_reload_page(self, code: str) -> None:
        """Answer browsers that wait for new code; `code` names the running one."""
        self._shared.intercept = reload_page(code, self._shared.intercept)

    @property
    def requests(self) -> int:
        """Return the number of requests that have begun."""
        return self._shared.requests

    @property
    def in_flight(self) -> int:
        """Return the number of requests, WebSockets and background tasks of requests that are running."""
        return len(self._shared.running)

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._shared.connections) + len(self._arriving)

    @property
    def unfinished(self) -> int:
        """Return the number of requests in flight without WebSockets."""
        return sum(not call.lasting for call in self._shared.running)

    async def start(self) -> None:
        """Start the app; raises AppError if that fails."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.start_timeout
        await self._lifespan.startup(self._settings.start_timeout)
        if self._settings.warmup_path:
            from sockact.engines.http.warmup import warm_up

            await warm_up(self._shared, self._settings, deadline - clock())
        self._protocol = partial(HttpConnection, self._shared)

    def accept(self) -> None:
        """Start accepting connections."""
        for listener in self._listeners:
            entrance = self._entrance(listener)
            self._acceptors += accept_on([listener], entrance, self._has_room, self._load)

    def _entrance(self, listener: Listener) -> Callable[[socket.socket], None]:
        """Return a function that takes over the connections of a listener."""
        proxied = listener.name in self._settings.proxy_protocol
        context = None if self._tls is None else self._tls.for_listener(listener)
        if context is not None:
            return partial(self._arrive, self._protocol, context=context, proxied=proxied)
        if self._settings.redirect_http and listener.name == HTTP:
            # Such a connection must not move: the next process would serve the app on it.
            intercept = to_https(self._settings.redirect_http)
            redirect = partial(self._protocol, stays=True, intercept=intercept)
            return partial(self._arrive, redirect, proxied=proxied)
        return partial(self._arrive, self._protocol, proxied=proxied)

    def _has_room(self) -> bool:
        most = self._settings.max_connections
        return not most or self.connections < most

    def give_to(self, sender: HandoverSender) -> None:
        """Hand connections over to `sender` in a drain, as long as it has room."""
        self._shared.sender = sender
        sender.when_closed(self._drain_connections)

    def share_load(self, load: OwnRow) -> None:
        """Take turns with other workers in accepting, and show them how long responses take."""
        self._load = load
        self._shared.compare(load.answered)

    def shed(self, count: int) -> int:
        """Hand over so many idle connections, to less loaded workers; return how many go at once."""
        return self._shedding.begin(count)

    def receive(self, connection: socket.socket, carried: Carried | None = None) -> None:
        """Continue a connection that another process has handed over; takes ownership of it."""
        if carried is None:
            self._arrive(partial(self._protocol, moved_here=True), connection)
        elif isinstance(carried, CarriedWebSocket):
            self._resume(connection, carried)
        else:
            logger.warning("a connection that was handed over comes from another kind of app: closed")
            hang_up(connection)
            connection.close()

    def _resume(self, connection: socket.socket, carried: CarriedWebSocket) -> None:
        """Resume a WebSocket with the app; close it with 1012 if that takes none."""
        linger = self._settings.linger
        if self._shared.websocket is None:
            refuse_websocket(connection, linger, "a WSGI app is served now")
            return
        from sockact.engines.http.resumed_connection import ResumedConnection
        from sockact.engines.http.websocket_carried import MalformedWebSocket, unpacked

        try:
            moved = unpacked(carried.content, self._shared.bounds.max_header_bytes)
        except MalformedWebSocket as error:
            refuse_websocket(connection, linger, str(error))
        else:
            self._arrive(partial(ResumedConnection, self._shared, moved), connection)

    def _arrive(
        self,
        protocol: Callable[..., HttpConnection],
        connection: socket.socket,
        context: Any = None,
        *,
        proxied: bool = False,
    ) -> None:
        arrival = self._proxied if proxied else self._serve
        task = loop_tasks.begin(arrival(protocol, connection, context))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    async def _serve(
        self, protocol: Callable[..., HttpConnection], connection: socket.socket, context: Any
    ) -> None:
        arrival = asyncio.current_task()
        assert arrival is not None

        def make() -> HttpConnection:
            made = protocol()
            self._made_by[made] = arrival
            return made

        if context is None:
            await asyncio.get_running_loop().connect_accepted_socket(make, connection)
        else:
            limit = self._settings.tls_handshake_timeout
            await tls_transport.accept(make, connection, context, limit)

    def _on_made(self, connection: HttpConnection) -> None:
        """Count a connection no more among those that arrive: from now on it is an open one."""
        if (arrival := self._made_by.pop(connection, None)) is not None:
            self._arriving.discard(arrival)

    async def _proxied(
        self, protocol: Callable[..., HttpConnection], connection: socket.socket, context: Any
    ) -> None:
        """Serve a connection of a trusted proxy, after the header of the PROXY protocol."""
        from sockact.engines.http import proxy_protocol

        proxies = self._shared.proxies
        assert proxies is not None
        try:
            client = None if connection.family == socket.AF_UNIX else address(connection.getpeername())
            if not proxies.believes(client, peer_of(connection)):
                raise proxy_protocol.ProxyProtocolError("its client is no trusted proxy")
            source = await proxy_protocol.read(connection, self._settings.header_timeout)
        except BaseException:
            hang_up(connection)
            ancillary.close_socket(connection)
            raise
        await self._serve(partial(protocol, source=source), connection, context)

    def accept_waiting(self) -> None:
        """Accept all that wait in the queue now, up to the limit: no other process will."""
        for acceptor in self._acceptors:
            acceptor.accept_waiting()

    def hold(self) -> None:
        """Accept no connection, and read no request, until `release`; what is in flight goes on."""
        shared = self._shared
        if shared.draining_since is None:
            shared.held = True
            shared.on_end = self._on_change
            for acceptor in self._acceptors:
                acceptor.hold()
            for connection in list(shared.connections):
                connection.hold()

    def release(self) -> None:
        """Accept connections and read requests again."""
        shared = self._shared
        if shared.held:
            shared.held = False
            shared.on_end = None
            for acceptor in self._acceptors:
                acceptor.release()
            for connection in list(shared.connections):
                connection.release()

    def stop_accepting(self) -> None:
        """Stop accepting, and begin to drain the open connections; a pause is over."""
        self.release()
        for acceptor in self._acceptors:
            acceptor.stop()
        self._shared.draining_since = asyncio.get_running_loop().time()
        self._shared.on_end = self._on_change
        announce_shutdown()
        self._drain_connections()

    async def wait_drained(self) -> None:
        """Wait until no connection is open and no request is in flight."""
        # Counted anew after each change: a request may begin while another one ends.
        while self.connections or self.in_flight:
            self._changed.clear()
            await self._changed.wait()

    async def abort(self) -> None:
        """Abort the connections that are left, with a log line for each."""
        self._shared.aborted = True
        for connection in list(self._shared.connections):
            facts = about(RecordKind.CONNECTION_ABORTED)
            with in_request(connection.request_id):
                logger.warning("aborted: %s", connection.describe(), extra=facts)
            connection.transport.abort()
        for arrival in self._arriving:
            logger.warning("aborted: a connection in its TLS handshake")
            arrival.cancel()
        await asyncio.sleep(0)  # `connection_lost` is called before the app is cancelled
        await self._shared.cancel_running()

    async def close(self) -> None:
        """Shut the app down, after the drain."""
        await self._lifespan.shutdown(self._settings.shutdown_timeout)

    def _drain_connections(self) -> None:
        if self._shared.draining_since is not None:
            # Handed over in this order: the client of the latest request will probably send the next one
            # first, and must not wait behind thousands of others.
            for connection in sorted(
                self._shared.connections, key=lambda each: each.last_activity, reverse=True
            ):
                connection.drain()

    def _arrived(self, task: asyncio.Task[Any]) -> None:
        if task in self._arriving:  # it has failed: no connection was made
            self._arriving.discard(task)
            self._made_by = {made: by for made, by in self._made_by.items() if by is not task}
        if not task.cancelled() and task.exception() is not None:
            logger.debug("a connection was lost as it arrived: %s", task.exception())
        self._on_change()

    def _on_change(self) -> None:
        self._changed.set()
        self._sweep.wake()
        for acceptor in self._acceptors:
            acceptor.resume()
        self._observer.on_change()


def _graces(settings: Settings) -> Graces:
    timeout, grace = settings.drain_timeout, settings.websocket_grace
    # In half of the drain: there has to be time for the close frame of an app that does not answer.
    answer = max(ANSWER_TIMEOUT if timeout is None else min(ANSWER_TIMEOUT, timeout / 2), grace)
    return Graces(settings.stream_grace, grace, answer, settings.drain_jitter)


# A worker imports what it needs, and no more: for its start, and its memory.


def _as_asgi3(app: Callable[..., Any]) -> App:
    """Return an ASGI 2 app as an ASGI 3 app."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return called


def _asgi_runner(app: App) -> Runner:
    from sockact.engines.http.asgi import AsgiCall

    return partial(AsgiCall, app)


def _wsgi_runner(app: Callable[..., Any], settings: Settings) -> Runner:
    from sockact.engines.http.wsgi import WsgiRunner

    return WsgiRunner(app, settings.threads, settings.wsgi_buffer)


def _request_log(settings: Settings, proxies: Proxies | None) -> RequestLog | None:
    if not (settings.access_log or settings.request_id):
        return None
    from sockact.engines.http.request_log import RequestLog

    return RequestLog(settings, proxies)


def _proxies(settings: Settings) -> Proxies | None:
    if not settings.trusted_proxies:
        return None
    from sockact.engines.http.forwarded import Proxies

    return Proxies(settings.trusted_proxies)


def _websockets(app: App, settings: Settings) -> Runner:
    """Return a function that makes the calls of WebSockets; it imports what they need at the first."""

    def make(
        connection: ClientConnection, request: Request, moved: MovedWebSocket | None = None
    ) -> AppCall:
        from sockact.engines.http.websocket import WebSocketCall
        from sockact.engines.http.websocket_frames import WebSocketLimits

        limits = WebSocketLimits(
            settings.websocket_max_message or None,
            settings.websocket_ping_interval,
            settings.websocket_ping_timeout,
            settings.websocket_compression,
        )
        if moved is None:
            return WebSocketCall(app, limits, connection, request)
        from sockact.engines.http.websocket_resumed import ResumedCall

        return ResumedCall(app, limits, connection, moved)

    return make
