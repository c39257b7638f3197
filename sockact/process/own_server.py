"""The server on listeners on which sockact itself answers: health checks, and HAProxy's agent checks.

A supervisor answers there, or a thread beside the app: neither waits for the app, so that a busy app does
not make the host look dead. Each client has a few seconds, and there are a few of them at a time, so that
none holds up the others, nor the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

from sockact.sockets.acceptor import Acceptor
from sockact.sockets.fds import Listener
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

CLIENT_TIMEOUT = 5.0
"""Seconds for a client to ask and to read the response."""

MAX_CLIENTS = 64
"""Clients at a time; for another one, the oldest is disconnected."""

Respond = Callable[[socket.socket], Awaitable[None]]
"""Answers one client; it may raise OSError or ValueError, and is cancelled when the time is over."""

logger = logging.getLogger(__package__)


class OwnServer:
    """Answers the clients on listeners of one name.

    Args:
        name: their FileDescriptorName=.
        listeners: listening stream sockets.
        respond: answers a client.
    """

    def __init__(self, name: str, listeners: Sequence[Listener], respond: Respond) -> None:
        self._name = name
        self._sockets = [listener.sock for listener in listeners if listener.sock is not None]
        self._respond = respond
        self._tasks: list[asyncio.Task[None]] = []
        self._acceptors: list[Acceptor] = []

    def open(self) -> None:
        """Start to answer, in the running loop."""
        self._acceptors = [Acceptor(sock, self._arrived) for sock in self._sockets]

    def open_thread(self) -> None:
        """Start to answer, in a thread that ends with the process; without listeners, do nothing."""
        if self._sockets:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

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
            async with asyncio.timeout(CLIENT_TIMEOUT):
                await self._respond(connection)
        except (OSError, TimeoutError, ValueError) as error:
            logger.debug("a client of the %s socket has gone: %s", self._name, error)
        finally:
            hang_up(connection)
