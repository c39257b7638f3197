"""The stream engine serves handlers of raw connections; `sockact.apps.kinds` says how each kind is called.

A connection ends when its handler returns. In a drain, a reader on which nothing arrives for `linger`
seconds gets the end of the stream, as if its client had closed: a handler that waits for the next message
ends as it always does, and one that is working goes on. A handler `(reader, writer, *, state=b"")` can
continue in another process: it gets `Moving` instead, and returns a `Handover`. Between two messages it
gets that at once, if another process can take the connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sockact.apps import kinds
from sockact.config.settings import Settings
from sockact.engines.handlers.base import HandlerEngine
from sockact.engines.handlers.conversations import Asynchronous, Awaited, Threaded
from sockact.engines.handlers.socketserver_adapter import Server
from sockact.engines.refused_websocket import refuse_websocket
from sockact.handover.envelope import Carried, CarriedState, CarriedWebSocket
from sockact.handover.transfer import HandoverSender
from sockact.lifecycle.tasks import cancel
from sockact.protocols.load_board import OwnRow
from sockact.sockets.acceptor import Acceptor, accept_on
from sockact.sockets.fds import Listener
from sockact.system import loop_tasks
from sockact.system.hangup import hang_up

logger = logging.getLogger(__package__)


class Conversation(Protocol):
    """One connection with its handler.

    Attributes:
        moved: whether another process has it.
    """

    moved: bool

    async def hold(self) -> None:
        """Serve the connection until its handler ends, then close it or hand it over."""

    def drain(self) -> None:
        """Called when the drain begins."""

    def abort(self) -> None:
        """Abort the connection."""


class StreamEngine(HandlerEngine):
    """Serves a handler of raw connections on stream or sequential-packet sockets.

    Args:
        handler: the user's callable, called once for each connection.
        kind: the kind of app: `stream`, `socket` or `requests`.
        listeners: listening sockets, which stay open, or connected ones, each served once.
        settings: how to serve.
    """

    def __init__(
        self, handler: Callable[..., Any], kind: str, listeners: Sequence[Listener], settings: Settings
    ) -> None:
        super().__init__(handler, kind, settings)
        self._listeners = listeners
        self._settings = settings
        self._acceptors: list[Acceptor] = []
        self._conversations: dict[asyncio.Task[None], Conversation] = {}
        self._sender: HandoverSender | None = None
        self._load: OwnRow | None = None
        # Read from the handler's signature once: that takes longer than many connections do.
        self._takes_state = kind == "stream" and kinds.takes_state(handler)
        self._is_async = kinds.is_async(handler)

    @property
    def in_flight(self) -> int:
        """Return the number of handlers that are running."""
        return len(self._conversations)

    connections = in_flight

    @property
    def unfinished(self) -> int:
        """Return 0: conversations go on through a pause."""
        return 0

    def give_to(self, sender: HandoverSender) -> None:
        """Hand over to `sender`, as long as it has room, connections whose handlers return a `Handover`."""
        self._sender = sender

    def share_load(self, load: OwnRow) -> None:
        """Take turns with other workers in accepting."""
        self._load = load

    def shed(self, count: int) -> int:  # noqa: ARG002 - as `Connected` has it
        """Hand nothing over: a conversation moves in a drain only."""
        return 0

    def accept(self) -> None:
        """Start accepting connections."""
        # A handler that is given the socket can receive descriptors; one that reads a stream cannot.
        descriptors = self._kind != "stream"
        self._acceptors = accept_on(
            self._listeners, self.receive, self._has_room, self._load, descriptors=descriptors
        )

    def _has_room(self) -> bool:
        most = self._settings.max_connections
        return not most or self.connections < most

    def receive(self, connection: socket.socket, carried: Carried | None = None) -> None:
        """Serve a connection; takes ownership of it.

        Args:
            connection: non-blocking.
            carried: the state that it has brought from another process.
        """
        if isinstance(carried, CarriedWebSocket):
            refuse_websocket(connection, self._settings.linger, "no app with WebSockets is served any more")
            return
        if carried is not None and not self._continues(carried):
            logger.warning("a connection that was handed over has state for another handler: closed")
            hang_up(connection)
            connection.close()
            return
        if carried is None:
            self._statistics.open()
        else:
            self._statistics.receive()
        conversation = self._conversation(connection, carried)
        task = loop_tasks.begin_app(conversation.hold(), asyncio.get_running_loop())
        self._conversations[task] = conversation
        task.add_done_callback(self._ended)
        self._called()
        if self._draining:
            conversation.drain()

    def _continues(self, carried: CarriedState) -> bool:
        """Tell whether the handler can continue where another process's has ended."""
        return self._takes_state or (self._kind == "stream" and carried.state is None)

    def accept_waiting(self) -> None:
        """Accept all that wait in the queue now, up to the limit: no other process will."""
        for acceptor in self._acceptors:
            acceptor.accept_waiting()

    def hold(self) -> None:
        """Accept no connection until `release`."""
        for acceptor in self._acceptors:
            acceptor.hold()

    def release(self) -> None:
        """Accept connections again."""
        for acceptor in self._acceptors:
            acceptor.release()

    def stop_accepting(self) -> None:
        """Stop accepting, and begin to drain the open connections."""
        self._draining = True
        for acceptor in self._acceptors:
            acceptor.stop()
        for conversation in list(self._conversations.values()):
            conversation.drain()

    async def wait_drained(self) -> None:
        """Wait until all handlers have ended."""
        while self._conversations:
            await asyncio.wait(self._conversations)

    async def abort(self) -> None:
        """Abort the connections that are left, with a log line for each."""
        for conversation in self._conversations.values():
            logger.warning("aborted: %s", conversation)
            conversation.abort()
        await cancel(self._conversations)

    def _conversation(self, connection: socket.socket, carried: CarriedState | None) -> Conversation:
        linger = self._settings.linger
        if self._kind == "stream":
            return Asynchronous(
                self._handler,
                connection,
                carried,
                linger,
                self._open_sender,
                takes_state=self._takes_state,
            )
        if self._is_async:
            return Awaited(self._handler, connection)
        call = Server(self._handler, connection).serve if self._kind == "requests" else self._handler
        return Threaded(call, connection, self._threads, linger)

    def _open_sender(self) -> HandoverSender | None:
        return self._sender if self._sender is not None and self._sender.room > 0 else None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._closed(task, moved=self._conversations.pop(task).moved)
        for acceptor in self._acceptors:
            acceptor.resume()
        self._returned(task)
