"""The answers to HAProxy's agent checks, on the listeners named `agent`.

    up ready         it serves: also throughout a reload, a refused one included, and a restart
    down #no worker  nobody serves: it starts, or its workers have died
    drain            a stop has begun, and for `drain_delay` connections are still accepted
    stopped          they are not any more

The space before the sign is needed, whatever the manual says: HAProxy (2.6, 3.0) takes `down#no` for a word
that it does not know, and changes nothing.

One line for each connection, whatever the client sends, if anything. `up` undoes down and stopped, `ready`
undoes drain, so both are needed. `drain` would not do for the rest of a stop: it lets clients through that
a cookie ties to this server.

Source: HAProxy's configuration manual, agent-check; agent-send for what HAProxy may send.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from sockact.lifecycle.readiness import Tellable
from sockact.process.own_server import OwnServer
from sockact.sockets.fds import AGENT, Listener
from sockact.untrusted import ancillary

MAX_SENT = 65536
"""Bytes that are read of a client."""

LINES = {
    "starting": b"down #no worker\n",
    "ready": b"up ready\n",
    "draining": b"drain\n",
    "stopped": b"stopped\n",
}
"""The line for each word of `readiness`, or for the drain that follows it."""


def agent_server(listeners: Sequence[Listener], readiness: Tellable) -> OwnServer:
    """Return the server on the listeners named `agent`."""
    return OwnServer(AGENT, listeners, AgentCheck(readiness).respond)


class AgentCheck:
    """Answers an agent check by the readiness of this service."""

    def __init__(self, readiness: Tellable) -> None:
        self._readiness = readiness

    async def respond(self, connection: socket.socket) -> None:
        """Send the line, and wait for the end: a close with unread data is a reset, and may overtake."""
        word = "stopped" if self._readiness.refusing else self._readiness.word
        await asyncio.get_running_loop().sock_sendall(connection, LINES[word])
        connection.shutdown(socket.SHUT_WR)
        left = MAX_SENT
        while left > 0 and (data := await ancillary.read_later(connection, left)):
            left -= len(data)
