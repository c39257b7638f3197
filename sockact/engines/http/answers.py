"""Responses in the app's place: errors, health checks, refusals in a drain, redirects, the reload page."""

from __future__ import annotations

import re
from http import HTTPStatus

from sockact.config.settings import Settings
from sockact.engines.http.call import AppCall, ClientConnection
from sockact.engines.http.engine_state import Intercept
from sockact.engines.http.head import Request
from sockact.lifecycle.readiness import Answer, Readiness, answer

HTTPS = 443

RELOAD_PATH = b"/__sockact/reload"

RETRY = 500
"""Milliseconds after which a browser asks again whether the code is new."""


class Answered(AppCall):
    """A request that is answered at once.

    Args:
        connection: of the client.
        request: its head.
        reply: the response.
    """

    def __init__(self, connection: ClientConnection, request: Request, reply: Answer) -> None:
        super().__init__(connection, request)
        self._reply = reply

    @property
    def patient(self) -> bool:
        """Return whether the client waits for 100 Continue, and may not send its body."""
        return self.request.expects

    def start(self) -> None:
        """Answer, unless the client has to read earlier responses first: it may never do."""
        if not (self.connection.paused or self.response.begun):
            self.send_whole(self._reply.status, self._reply.headers, self._reply.body)

    def on_writable(self) -> None:
        """Answer now."""
        self.start()

    def on_body(self, part: bytes) -> None:
        """Ignore it."""

    def on_body_end(self) -> None:
        """Ignore it."""

    def on_ended(self) -> None:
        """Ignore it."""


def error_answer(connection: ClientConnection, request: Request, status: int, *, last: bool) -> AppCall:
    """Return a call that answers with a status and its phrase."""
    body = HTTPStatus(status).phrase.encode()
    call = Answered(connection, request, Answer(status, _PLAIN, body))
    call.response.last = call.response.last or last
    return call


_PLAIN = ((b"content-type", b"text/plain; charset=utf-8"),)


def ready_paths(readiness: Readiness, settings: Settings) -> Intercept | None:
    """Return a function that answers `ready_path`, `live_path`, and in a drain that refuses all others."""
    refuses = settings.drain_mode == "refuse"
    ready, live = (path.encode() or None for path in (settings.ready_path, settings.live_path))
    if not (ready or live or refuses):
        return None

    def intercept(request: Request) -> Answer | None:
        path = request.raw_path
        if path == ready:
            return answer(readiness.word)
        if path == live:
            return answer("live")
        return answer("draining") if refuses and readiness.refusing else None

    return intercept


def to_https(port: int) -> Intercept:
    """Return a function that redirects every request to the same URL on https.

    308 keeps method and body (RFC 9110, section 15.4.9). A WebSocket is refused: its clients follow no
    redirect.
    """
    suffix = b"" if port == HTTPS else b":%d" % port

    def redirect(request: Request) -> Answer:
        if b"websocket" in request.upgrade:
            return Answer(403, (), b"")
        host = re.sub(rb":\d*$", b"", dict(request.headers).get(b"host", b""))
        if not host:  # HTTP/1.0 allows it: the URL is unknown
            return Answer(400, (), b"")
        query = b"?" + request.query if request.query else b""
        return Answer(308, ((b"location", b"https://" + host + suffix + request.raw_path + query),), b"")

    return redirect


def reload_page(code: str, others: Intercept | None) -> Intercept:
    """Return a function that answers `RELOAD_PATH` by server-sent events, and the rest as `others` does.

    The only event has a name of the running code. The response then ends, and the browser asks again: an
    endless one would hold up each drain. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

    Args:
        code: the name.
        others: answers other requests.
    """
    body = f"retry: {RETRY}\ndata: {code}\n\n".encode()
    headers = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
    reply = Answer(200, (*headers, (b"content-length", b"%d" % len(body))), body)

    def intercept(request: Request) -> Answer | None:
        if request.raw_path == RELOAD_PATH:
            return reply
        return None if others is None else others(request)

    return intercept
