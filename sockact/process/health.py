"""The server on the listeners named `health`: a supervisor, or a thread beside the app, answers there.

Neither waits for the app, so that a busy app does not make the host look dead.

    GET /, /-/ready, `ready_path`   as in `readiness`
    GET /-/live, `live_path`        200
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http
import logging
import socket
import threading
from collections.abc import Callable, Sequence

from sockact.config.settings import Settings
from sockact.lifecycle.readiness import LIVE_PATH, READY_PATH, Answer, answer
from sockact.sockets.acceptor import Acceptor
from sockact.sockets.fds import Listener
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

NAME = "health"
"""FileDescriptorName= of these listeners."""

REQUEST_TIMEOUT = 5.0
"""Seconds for a client to send its request and read the response."""

MAX_CLIENTS = 64
"""Clients at a time; for another one, the oldest is disconnected."""

MAX_HEAD_BYTES = 65536

logger = logging.getLogger(__package__)


class HealthServer:
    """Answers on the listeners named `health`.

    Args:
        listeners: listening stream sockets.
        word: returns the present word, as in `readiness`.
        settings: name more paths.
    """

    def __init__(self, listeners: Sequence[Listener], word: Callable[[], str], settings: Settings) -> None:
        self._sockets = [listener.sock for listener in listeners if listener.sock is not None]
        self._word = word
        self._live = {LIVE_PATH, settings.live_path} - {""}
        self._ready = {"/", READY_PATH, settings.ready_path} - {""}
        self._tasks: list[asyncio.Task[None]] = []
        self._acceptors: list[Acceptor] = []

    def open(self) -> None:
        """Start to answer, in the running loop."""
        self._acceptors = [Acceptor(sock, self._arrived) for sock in self._sockets]

    def open_thread(self) -> None:
        """Start to answer, in a thread that ends with the process."""
        threading.Thread(target=self._run, name=NAME, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        for acceptor in self._acceptors:
            acceptor.stop()
        for task in self._tasks:
            task.cancel()

    def _run(self) -> None:
        # Not asyncio.run, which an app may have replaced: nest_asyncio's works in the main thread only.
        with asyncio.Runner() as runner:
            runner.run(self._forever())

    async def _forever(self) -> None:
        self.open()
        await asyncio.Event().wait()

    def _arrived(self, connection: socket.socket) -> None:
        if len(self._tasks) >= MAX_CLIENTS:
            self._tasks.pop(0).cancel()
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._tasks.append(task)
        task.add_done_callback(functools.partial(self._served, connection))

    def _served(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        """Close a connection when its task has ended, or was cancelled before it began."""
        if task in self._tasks:
            self._tasks.remove(task)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        ancillary.close_socket(connection)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                head = await _read_head(connection)
                await asyncio.get_running_loop().sock_sendall(connection, self._response(head))
        except (OSError, TimeoutError, ValueError) as error:
            logger.debug("a client of the health socket has gone: %s", error)
        finally:
            hang_up(connection)

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
            return answer(self._word())
        return Answer(404, ((b"content-length", b"0"),), b"")


async def _read_head(connection: socket.socket) -> bytes:
    """Read until a head is complete; raises ValueError if none comes."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await ancillary.read_later(connection, MAX_HEAD_BYTES)
        head += data
        if not data or len(head) > MAX_HEAD_BYTES:
            raise ValueError(f"{len(head)} bytes without the end of a request's head")
    return head
