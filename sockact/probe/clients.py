"""The HTTP clients of the probe: each kind sends requests and checks responses in its own way.

A client keeps its schedule, has one request in flight at a time, and repeats none. It ends with its
schedule; a request that has begun is always finished and counted.
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .account import Account, Ledger
from .exchange import Response, ResponseReader, check, content, request
from .outcome import Outcome, UnservedError
from .pace import Clock, Pace
from .record import Course, Identity
from .spec import Spec
from .tls import TlsConnection
from .wire import Address, Connection, IdleState

PAUSE_AFTER_LOSS = 0.01
"""Seconds that a saturated client pauses after a loss, so that it does not flood a dead service."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The state that all clients of a run share.

    `limit` is the seconds that a request may take from its beginning; `proven` is called by a client after
    each request that was served.
    """

    address: Address
    clock: Clock
    ledger: Ledger
    limit: float
    proven: Callable[["Client"], None]


class Client(ABC):
    """A client; the `attempt` of each subclass makes one request."""

    def __init__(self, shared: Shared, spec: Spec, pace: Pace, name: str) -> None:
        self.shared = shared
        self.spec = spec
        self.pace = pace
        self.name = name
        self.connections: set[Connection] = set()

    @property
    def account(self) -> Account:
        """The account of this client's load."""
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
        """Make one request, and return the identity in its response.

        Raises:
            UnservedError: the request was lost.
        """

    async def judged(self, due: float, attempt: Awaitable[Identity]) -> bool:
        """Wait for an attempt within the limit, record its outcome, and return whether that is `ok`."""
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
        now = clock.now()
        ledger.end(load, due, now, Outcome.OK, identity=identity)
        ledger.saw(identity, now)
        return True

    async def connect(self) -> Connection:
        """Open a connection, which this client owns until `close`."""
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
    """Opens a connection for each request."""

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
        """Check a complete response, and return its identity."""
        return check(response)

    def head(self, method: str, path: str, *fields: str) -> bytes:
        """Return the head of a request that is the only one on its connection."""
        return request(method, self.shared.address, path, "Connection: close", *fields)


class Pause(OneShot):
    """Pauses before the request, and again in the middle of its head.

    Finds servers that close an accepted connection because no data has arrived on it yet.
    """

    async def send(self, connection: Connection) -> None:
        """Wait, send half of the head, wait, send the rest."""
        data = self.head("GET", self.shared.address.path)
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            await asyncio.sleep(self.spec.options["pause"])
            await connection.send(part)


class Slow(OneShot):
    """Requests a response that takes a while, so that it is in flight during a reload."""

    async def send(self, connection: Connection) -> None:
        """Request a response that takes `seconds`."""
        await connection.send(self.head("GET", f"/slow?seconds={self.spec.options['seconds']:g}"))


class Upload(OneShot):
    """Sends a body slowly, with Content-Length and chunked in turn."""

    def __init__(self, shared: Shared, spec: Spec, pace: Pace, name: str) -> None:
        super().__init__(shared, spec, pace, name)
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
        """Compare the length and SHA-256 that the service has received with the body that was sent."""
        identity = check(response)
        seen, body = content(response), b"".join(self._parts)
        if (seen.get("length"), seen.get("sha256")) != (len(body), hashlib.sha256(body).hexdigest()):
            raise UnservedError(Outcome.WRONG, f"{len(body)} bytes were sent, the service saw {seen}")
        return identity


class Stream(OneShot):
    """Requests a response that arrives slowly."""

    async def send(self, connection: Connection) -> None:
        """Request `chunks` numbered lines, one each `interval`."""
        options = self.spec.options
        path = f"/stream?chunks={options['chunks']:g}&interval={options['interval']:g}"
        await connection.send(self.head("GET", path))

    def check(self, response: Response) -> Identity:
        """Check that no line is missing or sent twice."""
        identity = check(response)
        expected = b"".join(b"%d\n" % number for number in range(int(self.spec.options["chunks"])))
        if response.body != expected or response.cut:
            found = f"{'more than ' if response.cut else ''}{len(response.body)} bytes"
            raise UnservedError(Outcome.WRONG, f"stream of {found}, expected {len(expected)}")
        return identity


class Persistent(Client):
    """Uses one persistent connection, and opens another only after the server has closed it properly.

    Before each request it checks whether the server has closed. A FIN seen then is proper; one that crosses
    the request on the wire is not, since a POST could not be repeated (RFC 9110 s. 9.2.2).
    """

    _reader: ResponseReader | None = None
    _connection: Connection | None = None
    _course: Course | None = None

    async def attempt(self) -> Identity:
        """Send a request on the open connection, or on a new one if there is none."""
        self._look()
        clock = self.shared.clock
        if self._connection is None:
            self._connection = await self.connect()
            self._reader = ResponseReader(self._connection)
            self._course = self.shared.ledger.record.opened(self.name, clock.now())
        assert self._reader is not None
        assert self._course is not None
        try:
            await self._connection.send(request("GET", self.shared.address, self.shared.address.path))
            response = await self._reader.response()
            identity = check(response)
        except BaseException:
            self._drop("lost")
            raise
        self._course.answered(clock.now(), identity)
        if not response.persistent:
            self.account.reconnects += 1
            self._drop("closed")
        return identity

    def _look(self) -> None:
        """Check the idle connection, and close it unless it can take a request."""
        if self._connection is None or self._reader is None:
            return
        idle = IdleState.UNSOLICITED if self._reader.surplus else self._connection.look()
        if idle is IdleState.ALIVE:
            return
        self._drop(idle.value)
        if idle is IdleState.UNSOLICITED:
            raise UnservedError(Outcome.WRONG, "bytes on an idle connection, without a request")
        self.account.reconnects += 1
        self.account.idle_resets += idle is IdleState.RESET

    def _drop(self, end: str) -> None:
        if self._connection is not None and self._course is not None:
            self.close(self._connection)
            self._course.close(self.shared.clock.now(), end)
        self._connection = self._reader = self._course = None
