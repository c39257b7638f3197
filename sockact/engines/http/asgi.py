"""Calls ASGI 3 apps.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from sockact.config.records import REQUEST_ID
from sockact.engines.http.call import (
    READ_AHEAD,
    AppCall,
    ClientConnection,
    ClientGone,
    is_about_client,
)
from sockact.engines.http.files import AT_ONCE, send_file
from sockact.engines.http.head import Request, is_below
from sockact.engines.http.response import CONTINUE, early_hints
from sockact.system import loop_tasks
from sockact.system.forks import come_back

App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

SPEC_VERSION = "2.5"
"""The version of the HTTP and WebSocket specification: `send` raises OSError when the client has gone."""

PEER = "sockact.peer"
"""Key of a Unix connection's `Peer` in `scope["state"]`."""

REQUEST = "sockact.request_id"
"""Key of a request's id in `scope["state"]`, and in the environ of WSGI."""

_EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.trailers": {},
    "http.response.pathsend": {},
    "http.response.early_hint": {},
}


class AsgiCall(AppCall):
    """A request to an ASGI app."""

    task: asyncio.Task[None] | None = None
    _body: bytes | bytearray = b""
    _told = False  # that the body is complete
    _head: tuple[int, Any] | None = None
    _trailers: list[Any] | None = None
    _body_sent = False
    _ended = False  # the client sends no more
    _in_turn = 0  # bytes that were sent since the loop has turned
    _disconnected = False  # the app was told
    _waiters: list[asyncio.Future[None]] | None = None

    def __init__(self, app: App, connection: ClientConnection, request: Request) -> None:
        super().__init__(connection, request)
        self._app = app
        self._more = request.length != 0  # of the body is to come
        self._patient = request.expects

    def start(self) -> None:
        """Call the app."""
        shared = self.connection.shared
        shared.running.add(self)
        self.task = loop_tasks.begin_app(self._run(), self.connection.loop)

    @property
    def full(self) -> bool:
        """Return whether no more of the body is read until the app has taken some."""
        return len(self._body) > READ_AHEAD

    @property
    def patient(self) -> bool:
        """Return whether the client waits for 100 Continue, and may not send its body."""
        return self._patient

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body for the app."""
        self._patient = False
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            self._body = bytearray(self._body) + part
        self._wake()

    def on_body_end(self) -> None:
        """Note that the body is complete."""
        self._more = self._patient = False
        self._wake()

    def on_ended(self) -> None:
        """Tell the app, if it asks, that its client may have gone; what it sends is still sent."""
        self._ended = True
        self._wake()

    def on_gone(self) -> None:
        """Tell the app that its client has gone."""
        self.gone = True
        self._ended = True
        self._wake()

    async def _run(self) -> None:
        if self.request.id:
            REQUEST_ID.set(self.request.id)  # in the task's own context
        try:
            await self._app(scope_of(self, "http", _EXTENSIONS.copy()), self._receive, self._send)
        except GeneratorExit:  # the loop has ended
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            self._raised(error)
        else:
            if not (self.response.complete or self.gone):
                self.fail(None, f"the app has returned: expected {self._expected()}")
        finally:
            self.connection.shared.ended(self)

    def _raised(self, error: BaseException) -> None:
        come_back(error)
        if isinstance(error, asyncio.CancelledError) and self.connection.shared.aborted:
            return  # which has a log line
        if not (self.gone and is_about_client(error)):
            self.fail(error, "the app has failed")

    # What the app calls.

    async def _receive(self) -> dict[str, Any]:
        if self._patient and not self.response.begun:
            self._patient = False
            self.connection.send(CONTINUE)
        while True:
            if not self.gone:
                if self._body:
                    return self._take_body()
                if not (self._more or self._told):
                    self._told = True
                    return {"type": "http.request", "body": b"", "more_body": False}
            if self.gone or self.response.complete or (self._ended and not self._more):
                if self._disconnected:
                    await asyncio.sleep(0)  # an app that asks for ever must not stop the loop
                self._disconnected = True
                return {"type": "http.disconnect"}
            await self._event()

    def _take_body(self) -> dict[str, Any]:
        body, self._body = bytes(self._body), b""
        self._told = not self._more
        self.connection.body_taken()
        return {"type": "http.request", "body": body, "more_body": self._more}

    async def _event(self) -> None:
        """Wait for something to receive; several tasks of the app may."""
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def _send(self, message: Any) -> None:
        if (self.connection.paused or self._in_turn > AT_ONCE) and not self.gone:
            await self._turn()
        if self.gone:
            raise ClientGone("the client has gone")
        kind = message["type"]
        if kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and self._head is None and not self.response.begun:
            self._head = message["status"], message.get("headers", ())
            self._trailers = [] if message.get("trailers", False) else None
        elif kind == "http.response.early_hint" and not self.response.begun:
            if self.request.version == "1.1":
                self.connection.send(early_hints(message["links"]))
        elif kind == "http.response.trailers" and self._trailers is not None and self._body_sent:
            self._trailers += message.get("headers", ())
            if not message.get("more_trailers", False):
                self._end(b"", self._trailers if self.request.trailers else ())
        elif kind == "http.response.pathsend" and self._head is not None:
            await self._send_path(message["path"])
        else:
            raise RuntimeError(f"the app has sent {kind!r}: expected {self._expected()}")

    async def _turn(self) -> None:
        """Wait for the client, or for a turn of the loop: a client may take everything as it comes."""
        self._in_turn = 0
        if self.connection.paused:
            await self.connection.writable()
        else:
            await asyncio.sleep(0)

    def _expected(self) -> str:
        if self.response.complete:
            return "nothing after the end of its response"
        return "http.response.body" if self.response.begun or self._head else "http.response.start"

    def _send_body(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, None
        response = self.response
        if head is not None and not more and self._trailers is None:
            self.send_whole(*head, body)
            self._wake()
            return
        if head is None and (not response.begun or response.complete or self._body_sent):
            raise RuntimeError(f"the app has sent 'http.response.body': expected {self._expected()}")
        data = response.part(body) if head is None else self.send_head(*head, body)
        if more:
            self._in_turn += len(data) or AT_ONCE + 1  # nothing would ever make the app wait
            self.connection.send(data)
        elif self._trailers is None:
            self._end(data, ())
        else:
            self._body_sent = True
            self.connection.send(data)

    def _end(self, data: bytes, trailers: Any) -> None:
        self.connection.send(data + self.response.end(trailers))
        self.connection.on_complete(self)
        self._wake()

    async def _send_path(self, path: str) -> None:
        """Send the file at an absolute path as the body."""
        head, self._head = self._head, None
        assert head is not None
        with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230 - as sendfile(2) waits for the disk
            size = os.fstat(file.fileno()).st_size
            status, fields = head
            if all(name.lower() != b"content-length" for name, _ in fields):
                fields = [*fields, (b"content-length", b"%d" % size)]
            self.connection.send(self.send_head(status, fields))
            await send_file(self, file, size)
        self._end(b"", ())


def scope_of(call: AppCall, kind: str, extensions: dict[str, Any]) -> dict[str, Any]:
    """Return the scope of a request or a WebSocket."""
    connection, request = call.connection, call.request
    shared = connection.shared
    raw, root = request.raw_path, shared.root_path
    path = raw.decode("latin-1")
    if "%" in path or not raw.isascii():
        from urllib.parse import unquote  # imports ipaddress

        path = unquote(raw)
    if root and not is_below(path, root):
        path = root + path
        raw = root.encode() + raw
    state = shared.app_state.copy()
    if connection.peer is not None:
        state[PEER] = connection.peer
    if request.id:
        state[REQUEST] = request.id
    if connection.tls is not None:
        extensions |= connection.tls
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": request.version,
        "method": request.method,
        "server": connection.server,
        "client": call.client,
        "scheme": call.scheme,
        "root_path": root,
        "path": path,
        "raw_path": raw,
        "query_string": request.query,
        "headers": request.headers,
        "state": state,
        "extensions": extensions,
    }
