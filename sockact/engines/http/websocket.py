"""A WebSocket of an ASGI app: the handshake, and what the app receives and sends."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Request as WebSocketRequest

from sockact.config.records import REQUEST_ID
from sockact.engines.http.asgi import App, scope_of
from sockact.engines.http.call import AppCall, ClientConnection, ClientGone, is_about_client
from sockact.engines.http.head import Request
from sockact.engines.http.response import switching
from sockact.engines.http.websocket_connection import (
    ABNORMAL,
    INTERNAL_ERROR,
    NORMAL,
    WebSocketConnection,
)
from sockact.engines.http.websocket_frames import Frames, MovableFrames, WebSocketLimits
from sockact.engines.http.websocket_moving import MovableWebSocket
from sockact.handover.asgi import HANDOVER
from sockact.system import loop_tasks
from sockact.system.forks import come_back

_OUR_VERSION = ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"))
_PLAIN = ((b"content-type", b"text/plain; charset=utf-8"),)

_ANSWERS = frozenset(("websocket.accept", "websocket.close", "websocket.http.response.start"))
"""The messages with which an app may answer a handshake."""


class WebSocketCall(AppCall):
    """A WebSocket of an ASGI app, from its handshake on."""

    lasting = True

    def __init__(
        self, app: App, limits: WebSocketLimits, connection: ClientConnection, request: Request
    ) -> None:
        super().__init__(connection, request)
        self._app = app
        self._limits = limits
        self._events: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._waiters: list[asyncio.Future[None]] = []
        self._session: WebSocketConnection | None = None
        self._denial: tuple[int, Any] | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call the app, or refuse the handshake."""
        self._frames = Frames(self._limits)
        self._handshake = answer = self._frames.accept(self._asked())
        if self.request.length != 0:
            self.send_whole(400, _PLAIN, b"A WebSocket handshake has no body.\n")
        elif answer.status_code != 101 and not self._has_our_version():
            self.send_whole(426, _OUR_VERSION, b"")  # RFC 6455, section 4.4
        elif answer.status_code != 101:
            fields = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in answer.headers.raw_items()
                if name.lower() not in ("date", "content-length")
            ]
            self.send_whole(answer.status_code, fields, bytes(answer.body or b""))
        else:
            self._call_app()

    def _asked(self) -> WebSocketRequest:
        """Return the handshake as `websockets` knows it."""
        request = self.request
        target = request.raw_path + (b"?" + request.query if request.query else b"")
        headers = Headers()
        for name, value in request.headers:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        return WebSocketRequest(target.decode("latin-1"), headers)

    def _call_app(self) -> None:
        self.connection.shared.running.add(self)
        self.task = loop_tasks.begin_app(self._run(), self.connection.loop)

    def _has_our_version(self) -> bool:
        asked = [value.strip() for name, value in self.request.headers if name == b"sec-websocket-version"]
        return not asked or asked == [b"13"]

    def on_body(self, part: bytes) -> None:
        """Ignore it: the handshake was refused."""

    def on_body_end(self) -> None:
        """Ignore it: the handshake was refused."""

    def on_ended(self) -> None:
        """Tell the app that its client has gone: it cannot open the WebSocket any more."""
        self.tell({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})

    def on_gone(self) -> None:
        """Tell the app that its client has gone."""
        if not self.gone:
            self.gone = True
            self.tell({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})

    def tell(self, event: dict[str, Any]) -> None:
        """Tell the app of an event."""
        self._events.append(event)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def log(self, sent: int, *, aborted: bool) -> None:
        """Log the end of the WebSocket, after which so many bytes have been sent."""
        self.response.size = sent
        if (log := self.connection.shared.request_log) is not None:
            log.end(self, aborted=aborted)

    @property
    def untold(self) -> int:
        """Return the number of events that the app has not received yet."""
        return len(self._events)

    async def _run(self) -> None:
        error: BaseException | None = None
        if self.request.id:
            REQUEST_ID.set(self.request.id)
        try:
            await self._app(self._scope(), self._receive, self._send)
            if isinstance(session := self._session, MovableWebSocket) and session.given is not None:
                await session.move()
        except GeneratorExit:  # the loop has ended
            raise
        except BaseException as caught:  # noqa: BLE001 - SystemExit would end the loop
            come_back(caught)
            error = caught
        finally:
            self.connection.shared.ended(self)
        self._returned(error)

    def _returned(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError) and self.connection.shared.aborted:
            return
        gone = self.gone or (self._session is not None and self._session.closing)
        if error is not None and not (gone and is_about_client(error)):
            self.fail(error, "the app has failed")
        elif self._session is None and not self.response.complete and not self.gone:
            self.fail(error, "the app has returned: expected websocket.accept or websocket.close")
        if self._session is not None:
            self._session.close(NORMAL if error is None else INTERNAL_ERROR, "")

    def _scope(self) -> dict[str, Any]:
        subprotocols = [
            each.strip()
            for name, value in self.request.headers
            if name == b"sec-websocket-protocol"
            for each in value.decode("latin-1").split(",")
        ]
        extensions: dict[str, Any] = {"websocket.http.response": {}}
        if self.connection.movable:
            extensions[HANDOVER] = {}
        scope = scope_of(self, "websocket", extensions)
        del scope["method"]
        scope["scheme"] = "wss" if self.scheme == "https" else "ws"
        scope["subprotocols"] = subprotocols
        return scope

    # What the app calls.

    async def _receive(self) -> dict[str, Any]:
        while not self._events:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)  # several tasks of the app may wait
            if self._session is not None:
                self._session.on_awaited()
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        event = self._events.popleft()
        if self._session is not None:
            self._session.on_received(event)
        return event

    async def _send(self, message: Any) -> None:
        kind = message["type"]
        if self._session is not None:
            await self._session.send(kind, message)
        elif self.gone:
            raise ClientGone("the client has gone")
        elif self.response.complete:
            raise RuntimeError(f"the app has sent {kind!r} after it has refused the WebSocket")
        elif self._denial is not None and kind == "websocket.http.response.body":
            if self.connection.paused:
                await self.connection.writable()
            self._deny_in_parts(message.get("body", b""), more=message.get("more_body", False))
        elif self._denial is not None or kind not in _ANSWERS:
            raise RuntimeError(f"the app has sent {kind!r}: expected {self._expected()}")
        elif kind == "websocket.accept":
            self._accept(message)
        else:
            self._refuse(message)

    def _expected(self) -> str:
        return "websocket.accept" if self._denial is None else "websocket.http.response.body"

    def _accept(self, message: Any) -> None:
        connection = self.connection
        subprotocol = message.get("subprotocol")
        if message.get(HANDOVER) and connection.movable:
            self._frames = MovableFrames(self._limits)
            self._handshake = self._frames.accept(self._asked())
        fields = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self._handshake.headers.raw_items()
            if name != "Date"
        ]
        if subprotocol:
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        fields += message.get("headers", ())
        always = connection.shared.always()
        if (log := connection.shared.request_log) is not None:
            told, always = log.fields_of(self, fields, always)
            fields = list(told)
        head = switching(fields, always)
        self.response.status = 101
        frames, limits = self._frames, self._limits
        if isinstance(frames, MovableFrames):
            session: WebSocketConnection = MovableWebSocket(self, frames, limits, subprotocol)
        else:
            session = WebSocketConnection(self, frames, limits)
        self._session = session
        rest = connection.upgrade(session)
        session.begin(head, rest)

    def _refuse(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self._deny(403, (), b"")
        else:
            self._denial = message["status"], message.get("headers", ())

    def _deny(self, status: int, fields: Any, body: bytes) -> None:
        self.response.last = True
        self.send_whole(status, fields, body)
        self.tell({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})

    def _deny_in_parts(self, body: bytes, *, more: bool) -> None:
        assert self._denial is not None
        begun = self.response.begun
        if not (begun or more):
            self._deny(*self._denial, body)
            return
        self.response.last = True
        data = self.response.part(body) if begun else self.send_head(*self._denial, body)
        if more:
            self.connection.send(data)
            return
        self.connection.send(data + self.response.end())
        self.connection.on_complete(self)
        self.tell({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
