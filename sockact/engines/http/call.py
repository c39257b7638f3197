"""One request and its response: what ASGI, WSGI and WebSocket runners have in common."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any, Protocol

from sockact.config.records import RecordKind, about, in_request
from sockact.engines.http.engine_state import EngineState
from sockact.engines.http.head import Request
from sockact.engines.http.response import Fields, HttpResponse
from sockact.system.forks import come_back

READ_AHEAD = 64 * 1024
"""Bytes of further requests, or of a body, that are read before an app has asked for them."""

logger = logging.getLogger(__package__)


class ClientGone(OSError):  # noqa: N818 - no fault of anybody's
    """Raised in an app that sends to a client which has gone."""


class ClientConnection(Protocol):
    """The connection of a client, as calls see it; `HttpConnection` has the meanings."""

    shared: EngineState
    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    peer: Any
    tls: dict[str, Any] | None
    transport: Any
    ending: bool
    last_activity: float
    file_bytes: int
    paused: bool

    @property
    def movable(self) -> bool:
        """Return whether the connection can move to another process, if one takes it."""

    @property
    def is_last(self) -> bool:
        """Return whether no other request waits."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""

    async def writable(self) -> None:
        """Wait until the client has read enough, or has gone."""

    def wake_writers(self) -> None:
        """Wake those that wait for the client to read."""

    def body_taken(self) -> None:
        """Read on, unless the app has to take its body first."""

    def on_begun(self) -> None:
        """Note that the response has begun."""

    def on_complete(self, call: Any) -> None:
        """Note that the response is complete."""

    def on_failed(self, call: Any, *, returned: bool) -> None:
        """Note that the app has failed, or returned, before its response was complete."""

    def upgrade(self, protocol: asyncio.Protocol) -> bytes:
        """Give the transport to a WebSocket; return what has been read for it."""


class AppCall(ABC):
    """One request and its response.

    Args:
        connection: of the client.
        request: its head.

    Attributes:
        response: the response so far.
        gone: whether the client has gone: nothing can be sent.
        lasting: whether a pause of the service does not wait for its end: it is a WebSocket, or a stream
            of events.
        since: when it has begun, by the loop's clock.
        client: the client's address and port, as far as is known.
        scheme: `http` or `https`.
    """

    gone = False
    lasting = False

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.response = HttpResponse(request.method, request.version, persistent=request.persistent)
        self.since = connection.last_activity
        proxies = connection.shared.proxies
        if proxies is None:
            self.client, self.scheme = connection.client, connection.scheme
        else:
            self.client, self.scheme = proxies.told(request.headers, connection)

    @abstractmethod
    def start(self) -> None:
        """Call the app."""

    @property
    def full(self) -> bool:
        """Return whether no more of the body is read until the app has taken some."""
        return False

    @property
    def patient(self) -> bool:
        """Return whether the client waits for 100 Continue, and may not send its body."""
        return False

    @abstractmethod
    def on_body(self, part: bytes) -> None:
        """Called with a part of the body."""

    @abstractmethod
    def on_body_end(self) -> None:
        """Called when the body is complete."""

    @abstractmethod
    def on_ended(self) -> None:
        """Called when the client sends no more; it may still read."""

    def on_gone(self) -> None:
        """Called when the client has gone."""
        self.gone = True

    def on_writable(self) -> None:  # noqa: B027 - not all wait
        """Called when the client has read enough for more to be sent."""

    def send_whole(self, status: int, fields: Fields, body: bytes) -> None:
        """Send a response whose body is known; raises WrongResponse."""
        connection, response = self.connection, self.response
        if connection.ending or self.patient:
            response.last = response.last or connection.is_last
        shared = connection.shared
        always = shared.always()
        if shared.request_log is not None:
            fields, always = shared.request_log.fields_of(self, fields, always)
        data = response.whole(status, fields, body, always)
        if shared.requests >= shared.measured_from:
            shared.measure(self.since)
        if shared.request_log is not None and not response.bodyless:
            response.size = len(body)
        connection.send(data)
        connection.on_complete(self)

    def send_head(self, status: int, fields: Fields, part: bytes = b"") -> bytes:
        """Return the head of a response, and the first part of its body; raises WrongResponse."""
        connection, response = self.connection, self.response
        if connection.ending or self.patient:
            response.last = response.last or connection.is_last
        shared = connection.shared
        always = shared.always()
        if shared.request_log is not None:
            fields, always = shared.request_log.fields_of(self, fields, always)
        data = response.begin(status, fields, always, part)
        if shared.requests >= shared.measured_from:
            shared.measure(self.since)
        connection.on_begun()
        if is_event_stream(fields):
            self.lasting = True
            if shared.on_end is not None:
                shared.on_end()
        return data

    def fail(self, error: BaseException | None, what: str) -> None:
        """Log that the app has failed, or without an error that it has returned; let the client know."""
        come_back(error)
        request = self.request
        draining = self.connection.shared.draining_since is not None
        level = logging.INFO if error is None and draining and self.response.begun else logging.ERROR
        facts, target = about(RecordKind.REQUEST_FAILED), quoted(request.target)
        with in_request(request.id):
            logger.log(level, "%s %s: %s", request.method, target, what, exc_info=error, extra=facts)
        if level == logging.ERROR:
            self.connection.shared.statistics.fail()
        if not self.gone and not self.response.complete:
            self.connection.on_failed(self, returned=error is None)
            self.on_gone()  # a task that the app has left behind could send to whoever comes next


def is_event_stream(fields: Fields) -> bool:
    """Return whether a response has no end of its own: server-sent events."""
    return any(
        value.startswith(b"text/event-stream") and name.lower() == b"content-type" for name, value in fields
    )


def quoted(target: bytes) -> str:
    """Return a target for a log line, which it cannot break."""
    return target.decode("ascii", "backslashreplace")


def is_about_client(error: BaseException | None) -> bool:
    """Return whether an error comes from the client that has gone."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ClientGone):
            return True
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup) and error.exceptions:
            return all(is_about_client(each) for each in error.exceptions)
        error = error.__cause__ or error.__context__
    return False
