"""The clients of a simulated service, and their books: what was sent, answered, and lost."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from itertools import count

PATIENCE = 200.0
"""Seconds in which each request is answered: longer than everything that an event may hold up."""


@dataclass
class Loss:
    """A request that was not answered.

    Attributes:
        client: the name of the connection.
        sent: when it was sent.
        at: when the connection was closed, or patience ended.
        how: what the client saw.
    """

    client: bytes
    sent: float
    at: float
    how: str


@dataclass
class Books:
    """The books of all clients."""

    answered: int = 0
    connections: int = 0
    losses: list[Loss] = field(default_factory=list)


class Clients:
    """Clients of several kinds, until they are told to end.

    Args:
        address: the address of the listening socket.
        chance: decides when they ask, and what for.

    Attributes:
        books: their books.
        pace: the factor of the pauses between their requests.
    """

    def __init__(self, address: bytes, chance: random.Random) -> None:
        self.books = Books()
        self.pace = 1.0
        self._address = address
        self._chance = chance
        self._numbers = count(1)
        self._names = count(1)
        self._ending = False
        self._loop = asyncio.get_running_loop()

    def begin(self, kept: int, single: int) -> list[asyncio.Task[None]]:
        """Start so many clients that keep their connections, and that do not."""
        work = [self._stay() for _ in range(kept)] + [self._come_and_go() for _ in range(single)]
        return [self._loop.create_task(each) for each in work]

    def end(self) -> None:
        """Let each client end after its present request."""
        self._ending = True

    async def ask_once(self, seconds: float = 0.0) -> int | None:
        """Ask on a new connection; return the version that answered, or None."""
        sock = await self._connect()
        try:
            reply = await self._ask(sock, seconds)
        finally:
            sock.close()
        return None if reply is None else int(reply.split()[1])

    async def _stay(self) -> None:
        while not self._ending:
            sock = await self._connect()
            while not self._ending:
                reply = await self._ask(sock, self._seconds())
                if reply is None or b"close" in reply:
                    break
                await asyncio.sleep(self.pace * self._chance.choice((0.0, 0.05, 0.5, 3.0)))
            sock.close()

    async def _come_and_go(self) -> None:
        while not self._ending:
            await self.ask_once(self._seconds())
            await asyncio.sleep(self.pace * self._chance.choice((0.05, 0.3, 2.0)))

    def _seconds(self) -> float:
        return self._chance.choice((0.0, 0.0, 0.01, 0.2, 1.5))

    async def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.bind(b"%b.%d" % (self._address, next(self._names)))
        self.books.connections += 1
        sock.connect(self._address)  # to a Unix socket whose queue has room: at once
        return sock

    async def _ask(self, sock: socket.socket, seconds: float) -> bytes | None:
        """Send a request and return the response; None if it was lost."""
        number, sent = next(self._numbers), self._loop.time()
        client = sock.getsockname()
        try:
            sock.send(b"%d %f\n" % (number, seconds))
            async with asyncio.timeout(PATIENCE):
                reply = await self._loop.sock_recv(sock, 100)
        except TimeoutError:
            return self._lose(client, sent, f"no response within {PATIENCE:g} s")
        except OSError as error:
            return self._lose(client, sent, str(error))
        if not reply:
            return self._lose(client, sent, "closed without a response")
        assert int(reply.split()[0]) == number, (reply, number)
        self.books.answered += 1
        return reply

    def _lose(self, client: bytes, sent: float, how: str) -> None:
        self.books.losses.append(Loss(client, sent, self._loop.time(), how))
