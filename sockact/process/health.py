"""The HTTP responses on the listeners named `health`.

GET /, /-/ready, `ready_path`   as in `readiness`
GET /-/live, `live_path`        200
"""

from __future__ import annotations

import asyncio
import http
import socket
from collections.abc import Sequence

from sockact.config.settings import Settings
from sockact.lifecycle.readiness import LIVE_PATH, READY_PATH, Answer, Tellable, answer
from sockact.process.own_server import OwnServer
from sockact.sockets.fds import HEALTH, Listener
from sockact.untrusted import ancillary

MAX_HEAD_BYTES = 65536


def health_server(listeners: Sequence[Listener], readiness: Tellable, settings: Settings) -> OwnServer:
    """Return the server on the listeners named `health`; the settings name more paths."""
    return OwnServer(HEALTH, listeners, HealthCheck(readiness, settings).respond)


class HealthCheck:
    """Answers a request for the readiness or the life of this service.

    Args:
        readiness: its readiness.
        settings: name more paths.
    """

    def __init__(self, readiness: Tellable, settings: Settings) -> None:
        self._readiness = readiness
        self._live = {LIVE_PATH, settings.live_path} - {""}
        self._ready = {"/", READY_PATH, settings.ready_path} - {""}

    async def respond(self, connection: socket.socket) -> None:
        """Read one request, and answer it; raises ValueError if none comes."""
        head = await read_head(connection)
        await asyncio.get_running_loop().sock_sendall(connection, self._response(head))

    def _response(self, head: bytes) -> bytes:
        method, target = ([*head.split(b"\r\n", 1)[0].split(b" "), b"", b""])[:2]
        reply = self._answer(target.partition(b"?")[0].decode("latin-1"))
        reason = http.HTTPStatus(reply.status).phrase
        headers = dict(reply.headers) | {b"connection": b"close"}
        lines = [f"HTTP/1.1 {reply.status} {reason}".encode()]
        lines += [b"%s: %s" % header for header in headers.items()]
        return b"\r\n".join([*lines, b"", b"" if method == b"HEAD" else reply.body])

    def _answer(self, path: str) -> Answer:
        if path in self._live:
            return answer("live")
        if path in self._ready:
            return answer(self._readiness.word)
        return Answer(404, ((b"content-length", b"0"),), b"")


async def read_head(connection: socket.socket) -> bytes:
    """Read until a head is complete; raises ValueError if none comes."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await ancillary.read_later(connection, MAX_HEAD_BYTES)
        head += data
        if not data or len(head) > MAX_HEAD_BYTES:
            raise ValueError(f"{len(head)} bytes without the end of a request's head")
    return head
