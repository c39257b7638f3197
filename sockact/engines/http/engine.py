"""The HTTP engine serves an app on stream listeners, by uvicorn's protocols on our own acceptor."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.middleware.asgi2 import ASGI2Middleware

from sockact.config.settings import Settings
from sockact.engines.certificates import Tls
from sockact.engines.http import tls_transport
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.connection_state import Graces, State
from sockact.engines.http.lifespan import App, Lifespan
from sockact.engines.http.lingering_close import LingeringClose
from sockact.engines.http.proxy_headers import believing
from sockact.engines.http.ready_paths import answering
from sockact.engines.http.redirect import to_https
from sockact.engines.http.sse_shutdown import announce_shutdown
from sockact.engines.http.timeouts import Bounds, Sweep
from sockact.engines.http.warmup import warm_up
from sockact.engines.http.websocket import WebSocket
from sockact.engines.http.wsgi import wsgi_as_asgi
from sockact.engines.interface import EngineObserver, NoObserver
from sockact.handover.envelope import Luggage
from sockact.handover.transfer import Giver
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.tasks import cancel
from sockact.sockets.acceptor import Acceptor, accept_on
from sockact.sockets.fds import Listener
from sockact.system.forks import come_back
from sockact.system.hangup import hang_up

HTTP = "http"
"""Name of the listeners that `redirect_http` applies to."""

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
        asgi = believing(_only_here(as_asgi(app, kind, settings.threads)), settings.trusted_proxies)
        self._app = answering(asgi, readiness or Readiness(), settings)
        self._lifespan = Lifespan(self._app, "off" if kind == "wsgi" else settings.lifespan)
        self._config = _config(self._app, settings)
        self._changed = asyncio.Event()
        bounds = Bounds.from_settings(settings)
        self._state = State(settings.linger, _graces(settings), bounds, self._on_change, self._on_request)
        self._sweep = Sweep(bounds, self._state.connections)
        if settings.version_header and settings.version:
            field = settings.version_header.lower().encode(), settings.version.encode()
            self._state.constant_headers = [field]
        self._observer: EngineObserver = NoObserver()
        self._acceptors: list[Acceptor] = []
        self._arriving: set[asyncio.Task[Any]] = set()

    def watch(self, observer: EngineObserver) -> None:
        """Report requests and connections to `observer` from now on."""
        self._observer = observer

    @property
    def requests(self) -> int:
        """Return the number of requests that have begun."""
        return self._state.requests

    @property
    def in_flight(self) -> int:
        """Return the number of requests, WebSockets and background tasks of requests that are running."""
        return len(self._state.tasks)

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._state.connections) + len(self._arriving)

    async def start(self) -> None:
        """Start the app; raises AppError if that fails."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.start_timeout
        await self._lifespan.startup(self._settings.start_timeout)
        if self._settings.warmup_path:
            await warm_up(self._config, self._settings, self._lifespan.state, deadline - clock())
        self._protocol = self._speaking(self._config)

    def accept(self) -> None:
        """Start accepting connections."""
        for listener in self._listeners:
            self._acceptors += accept_on([listener], self._entrance(listener), self._has_room)

    def _speaking(self, config: Config, **more: Any) -> Callable[..., HttpConnection]:
        """Return a function that makes the protocol of a connection."""
        return partial(HttpConnection, config, self._state, self._lifespan.state, **more)

    def _entrance(self, listener: Listener) -> Callable[[socket.socket], None]:
        """Return a function that takes over the connections of a listener."""
        context = None if self._tls is None else self._tls.for_listener(listener)
        if context is not None:
            return partial(self._arrive, self._protocol, context=context)
        if self._settings.redirect_http and listener.name == HTTP:
            # Such a connection must not move: the next process would serve the app on it.
            config = _config(to_https(self._settings.redirect_http), self._settings)
            redirect = self._speaking(config, stays=True)
            return partial(self._arrive, redirect)
        return partial(self._arrive, self._protocol)

    def _has_room(self) -> bool:
        most = self._settings.max_connections
        return not most or self.connections < most

    def give_to(self, giver: Giver) -> None:
        """Hand connections over to `giver` in a drain, as long as it has room."""
        self._state.giver = giver
        giver.when_closed(self._drain_connections)

    def receive(self, connection: socket.socket, luggage: Luggage | None = None) -> None:
        """Continue a connection that another process has handed over; takes ownership of it."""
        if luggage is None:
            self._arrive(partial(self._protocol, moved_here=True), connection)
        else:
            logger.warning("a connection that was handed over comes from another kind of app: closed")
            hang_up(connection)
            connection.close()

    def _arrive(
        self,
        protocol: Callable[[], HttpConnection],
        connection: socket.socket,
        context: Any = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        arrival: Coroutine[Any, Any, Any]
        if context is None:
            arrival = loop.connect_accepted_socket(protocol, connection)
        else:
            limit = self._settings.tls_handshake_timeout
            arrival = tls_transport.accept(protocol, connection, context, limit)
        task = loop.create_task(arrival)
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    def accept_waiting(self) -> None:
        """Accept all that wait in the queue now, up to the limit: no other process will."""
        for acceptor in self._acceptors:
            acceptor.accept_waiting()

    def stop_accepting(self) -> None:
        """Stop accepting, and begin to drain the open connections."""
        for acceptor in self._acceptors:
            acceptor.stop()
        self._state.draining_since = asyncio.get_running_loop().time()
        announce_shutdown(self._config)
        self._drain_connections()

    async def wait_drained(self) -> None:
        """Wait until no connection is open and no request is in flight."""
        # Counted anew after each change: the upgrade to a WebSocket takes the connection out of the set
        # and puts it back, and a request may begin while another one ends.
        while self.connections or self.in_flight:
            if self.connections:
                self._changed.clear()
                await self._changed.wait()
            else:
                await asyncio.wait(self._state.tasks)

    async def abort(self) -> None:
        """Abort the connections that are left, with a log line for each."""
        for connection in self._open():
            logger.warning("aborted: %s", connection.describe())
            connection.transport.abort()
        for arrival in self._arriving:
            logger.warning("aborted: a connection in its TLS handshake")
            arrival.cancel()
        await asyncio.sleep(0)  # `connection_lost` is called before the app is cancelled
        await cancel(self._state.tasks)

    async def close(self) -> None:
        """Shut the app down, after the drain."""
        await self._lifespan.shutdown(self._settings.shutdown_timeout)

    def _drain_connections(self) -> None:
        if self._state.draining_since is not None:
            # Handed over in this order: the client of the latest request will probably send the next one
            # first, and must not wait behind thousands of others.
            for connection in sorted(self._open(), key=lambda each: each.last_activity, reverse=True):
                connection.drain()

    def _open(self) -> list[HttpConnection | WebSocket | LingeringClose]:
        return cast("list[HttpConnection | WebSocket | LingeringClose]", list(self._state.connections))

    def _arrived(self, task: asyncio.Task[Any]) -> None:
        self._arriving.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("a connection was lost as it arrived: %s", task.exception())
        self._on_change()

    def _on_request(self) -> None:
        self._observer.on_request()

    def _on_change(self) -> None:
        self._changed.set()
        self._sweep.wake()
        for acceptor in self._acceptors:
            acceptor.resume()
        self._observer.on_change()


def _graces(settings: Settings) -> Graces:
    return Graces(settings.stream_grace, settings.websocket_grace, settings.drain_jitter)


def as_asgi(app: Callable[..., Any], kind: str, threads: int) -> App:
    """Wrap an app of any HTTP kind as an ASGI 3 app."""
    if kind == "wsgi":
        return wsgi_as_asgi(app, threads)
    if kind == "asgi2":
        return cast("App", ASGI2Middleware(cast("Any", app)))
    return app


def _only_here(app: App) -> App:
    """End a child that the app has forked before it answers, or handles an error, in its parent's place."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except BaseException as error:
            come_back(error)
            raise

    return called


def _config(app: App, settings: Settings) -> Config:
    """Return uvicorn's Config, with a value for everything that it would read from the environment."""
    config = Config(
        app=_no_app,  # replaced below
        interface="asgi3",
        http=HttpConnection,
        ws=WebSocket,
        lifespan="off",
        log_config=None,
        access_log=settings.access_log,
        proxy_headers=False,
        forwarded_allow_ips="",
        server_header=False,
        workers=1,
    )
    config.load()
    # Set afterwards: load() calls an app without arguments to find out whether it is a factory.
    config.loaded_app = app
    return config


def _no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError


class CancelledQuietly(logging.Filter):
    """Drops uvicorn's traceback of a request that `abort` cancelled, which has a log line already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for the record of a cancellation."""
        return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)
