"""The clients over HTTP: how each kind sends a request and what it takes for a correct response.

A client keeps its schedule, has one request in flight at a time, and repeats nothing. It ends when the
schedule does; a request which has begun is always finished and counted.
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .account import Account, Identity, Ledger
from .exchange import Response, ResponseReader, check, content, request
from .outcome import Outcome, UnservedError
from .pace import Clock, Pace
from .spec import Spec
from .tls import TlsConnection
from .wire import Address, Connection, IdleState

PAUSE_AFTER_LOSS = 0.01
"""Seconds which a saturated client rests after a loss, so that a dead service is not asked 10,000 times."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all clients of a run share.

    `limit` is the seconds a request may take from its beginning; `proven` is called by a client after each
    request which was served.
    """

    address: Address
    clock: Clock
    ledger: Ledger
    limit: float
    proven: Callable[["Client"], None]


class Client(ABC):
    """One client of a kind; a subclass says in `attempt` what a request is."""

    def __init__(self, shared: Shared, spec: Spec, pace: Pace) -> None:
        self.shared = shared
        self.spec = spec
        self.pace = pace
        self.connections: set[Connection] = set()

    @property
    def account(self) -> Account:
        """The books of this client's load."""
        return self.shared.ledger.accounts[self.spec.label]

    async def run(self) -> None:
        """Make requests until the schedule ends."""
        try:
            while (due := await self.pace.next()) is not None:
                if await self.judged(due, self.attempt()):
                    self.shared.proven(self)
                elif self.spec.rate is None:
                    await self.shared.clock.sleep_until(self.shared.clock.now() + PAUSE_AFTER_LOSS)
            self.account.unsent += self.pace.unsent
        finally:
            for connection in self.connections.copy():
                self.close(connection)

    @abstractmethod
    async def attempt(self) -> Identity:
        """Make one request, and return who answered it.

        Raises:
            UnservedError: it was lost.
        """

    async def judged(self, due: float, attempt: Awaitable[Identity]) -> bool:
        """Wait for an attempt within the limit, enter its outcome, and return whether that is `ok`."""
        load, ledger, clock = self.spec.label, self.shared.ledger, self.shared.clock
        ledger.begin(load, due)
        try:
            async with asyncio.timeout(self.shared.limit):
                identity = await attempt
        except UnservedError as error:
            ledger.end(load, due, clock.now(), error.outcome, error.detail)
            return False
        except TimeoutError:
            detail = f"no complete response within {self.shared.limit:g} s"
            ledger.end(load, due, clock.now(), Outcome.TIMEOUT, detail)
            return False
        ledger.end(load, due, clock.now(), Outcome.OK)
        ledger.saw(identity, clock.now())
        return True

    async def connect(self) -> Connection:
        """Open a connection; it is this client's until `close`."""
        kind = TlsConnection if self.shared.address.tls else Connection
        connection = await kind.open(self.shared.address)
        self.account.connections += 1
        self.connections.add(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """Close a connection."""
        connection.close()
        self.connections.discard(connection)


class OneShot(Client):
    """A connection for each request."""

    async def attempt(self) -> Identity:
        """Connect, send, read, close."""
        connection = await self.connect()
        try:
            await self.send(connection)
            return self.check(await ResponseReader(connection).response())
        finally:
            self.close(connection)

    async def send(self, connection: Connection) -> None:
        """Send the request."""
        await connection.send(self.head("GET", self.shared.address.path))

    def check(self, response: Response) -> Identity:
        """Judge a complete response, and return who gave it."""
        return check(response)

    def head(self, method: str, path: str, *fields: str) -> bytes:
        """Return the head of a request which is the only one on its connection."""
        return request(method, self.shared.address, path, "Connection: close", *fields)


class Pause(OneShot):
    """Silent at first, and again in the middle of the head.

    Finds the server which closes a connection it has accepted because nothing has come on it yet.
    """

    async def send(self, connection: Connection) -> None:
        """Wait, send half of the head, wait, send the rest."""
        data = self.head("GET", self.shared.address.path)
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            await asyncio.sleep(self.spec.options["pause"])
            await connection.send(part)


class Slow(OneShot):
    """A request which takes the service a while: in flight whenever something happens."""

    async def send(self, connection: Connection) -> None:
        """Ask for a response which takes `seconds`."""
        await connection.send(self.head("GET", f"/slow?seconds={self.spec.options['seconds']:g}"))


class Upload(OneShot):
    """A body which trickles in, with Content-Length and chunked in turn."""

    def __init__(self, shared: Shared, spec: Spec, pace: Pace) -> None:
        super().__init__(shared, spec, pace)
        self._parts = [b"%08d" % number * 128 for number in range(int(spec.options["chunks"]))]
        self._chunked = False

    async def send(self, connection: Connection) -> None:
        """Send `chunks` parts of 1 KiB over `seconds`."""
        length = sum(map(len, self._parts))
        framing = "Transfer-Encoding: chunked" if self._chunked else f"Content-Length: {length}"
        await connection.send(self.head("POST", "/upload", framing))
        for part in self._parts:
            await asyncio.sleep(self.spec.options["seconds"] / len(self._parts))
            await connection.send(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
        if self._chunked:
            await connection.send(b"0\r\n\r\n")
        self._chunked = not self._chunked

    def check(self, response: Response) -> Identity:
        """Compare length and SHA-256 which the service saw with what was sent."""
        identity = check(response)
        seen, body = content(response), b"".join(self._parts)
        if (seen.get("length"), seen.get("sha256")) != (len(body), hashlib.sha256(body).hexdigest()):
            raise UnservedError(Outcome.WRONG, f"{len(body)} bytes were sent, the service saw {seen}")
        return identity


class Stream(OneShot):
    """A response which trickles out."""

    async def send(self, connection: Connection) -> None:
        """Ask for `chunks` numbered lines, one each `interval`."""
        options = self.spec.options
        path = f"/stream?chunks={options['chunks']:g}&interval={options['interval']:g}"
        await connection.send(self.head("GET", path))

    def check(self, response: Response) -> Identity:
        """Compare the lines: none missing, none twice."""
        identity = check(response)
        expected = b"".join(b"%d\n" % number for number in range(int(self.spec.options["chunks"])))
        if response.body != expected or response.cut:
            found = f"{'more than ' if response.cut else ''}{len(response.body)} bytes"
            raise UnservedError(Outcome.WRONG, f"stream of {found}, expected {len(expected)}")
        return identity


class Persistent(Client):
    """One persistent connection, opened again only after the server ended it in good order.

    Before each request it looks whether the server has closed. A FIN seen then is good order; one which
    crosses the request on the wire is not, for a POST could not be repeated (RFC 9110 s. 9.2.2).
    """

    _reader: ResponseReader | None = None
    _connection: Connection | None = None

    async def attempt(self) -> Identity:
        """Send a request on the open connection, or on a new one where there is none."""
        self._look()
        if self._connection is None:
            self._connection = await self.connect()
            self._reader = ResponseReader(self._connection)
        assert self._reader is not None
        try:
            await self._connection.send(request("GET", self.shared.address, self.shared.address.path))
            response = await self._reader.response()
            identity = check(response)
        except BaseException:
            self._drop()
            raise
        if not response.persistent:
            self.account.reconnects += 1
            self._drop()
        return identity

    def _look(self) -> None:
        """Find out what became of the idle connection; drop it unless it can take a request."""
        if self._connection is None or self._reader is None:
            return
        idle = IdleState.UNSOLICITED if self._reader.surplus else self._connection.look()
        if idle is IdleState.ALIVE:
            return
        self._drop()
        if idle is IdleState.UNSOLICITED:
            raise UnservedError(Outcome.WRONG, "bytes on an idle connection, which no request asked for")
        self.account.reconnects += 1
        self.account.idle_resets += idle is IdleState.RESET

    def _drop(self) -> None:
        if self._connection is not None:
            self.close(self._connection)
        self._connection = self._reader = None
