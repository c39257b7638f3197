"""The websocket client of the probe: sends numbered messages, and expects an echo of each.

The sans-I/O protocol of `websockets` reads and writes frames, and our own `Connection` carries the bytes.
Rejected: `websockets.connect`, which raises ConnectionClosedError for FIN and RST alike; our own framing,
which would be sixty more lines to verify.

Requests are: the opening handshake, each message, and a session that ends improperly while no message is in
flight (a user was connected, and is not any more). A close frame 1012 is proper: the client connects again
at once, as a browser's script would.

Source: RFC 6455; 1012 "service restart": IANA WebSocket Close Code Number Registry.
"""

import asyncio
import contextlib
from typing import Self

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from .clients import PAUSE_AFTER_LOSS, Client, Shared
from .exchange import document, identity
from .outcome import Outcome, UnservedError
from .pace import Pace
from .record import NOBODY, Course, Identity
from .spec import Spec
from .wire import Connection

MAX_HANDSHAKE_BYTES = 262144
"""Most bytes of the answer to a handshake."""

PARSED_AT_ONCE = 4096
"""Bytes that are parsed at a time, so that they do not hold too many frames: a frame has at least two."""

CLOSE_TIMEOUT = 1.0
"""Seconds that the server has to answer our close frame at the end of the run."""


class Session:
    """One websocket from its handshake to its end; `ended` gets the reason of the end."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._protocol = ClientProtocol(parse_uri(f"ws://{host}/ws"))
        self._echo: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pump: asyncio.Task[None] | None = None
        self.identity = NOBODY
        self.ended: asyncio.Future[UnservedError] = asyncio.get_running_loop().create_future()

    async def open(self) -> Self:
        """Do the handshake, and start reading.

        Raises:
            UnservedError: the handshake fails, or the server closes.
        """
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        heard = 0
        while (
            heard <= MAX_HANDSHAKE_BYTES
            and self._protocol.state is State.CONNECTING
            and self._protocol.handshake_exc is None
        ):
            data = await self._connection.receive()
            if not data:
                outcome = Outcome.WRONG if heard else Outcome.EMPTY
                raise UnservedError(outcome, f"end of stream after {heard} bytes of the handshake")
            heard += len(data)
            self._protocol.receive_data(data)
        if self._protocol.handshake_exc is not None:
            raise UnservedError(Outcome.WRONG, f"handshake: {self._protocol.handshake_exc}")
        if self._protocol.state is State.CONNECTING:
            raise UnservedError(Outcome.WRONG, f"a handshake of more than {MAX_HANDSHAKE_BYTES} bytes")
        self._take()
        self._pump = asyncio.create_task(self._read())
        return self

    async def ask(self, text: str) -> str:
        """Send a message, and return the answer.

        Raises:
            UnservedError: the session ended first; `closed` if it ended properly.
        """
        if self._protocol.state is not State.OPEN:
            # The peer's close frame has been read; `ended` will be set soon.
            await asyncio.wait((self.ended,))
        if self.ended.done():
            raise self.ended.result()
        self._echo = asyncio.get_running_loop().create_future()
        self._protocol.send_text(text.encode())
        broken: UnservedError | None = None
        try:
            await self._flush()
        except UnservedError as error:
            # The kernel may still hold a close frame that came before the reset: the reader finds out.
            broken = error
        await asyncio.wait((self._echo, self.ended), return_when=asyncio.FIRST_COMPLETED)
        if self._echo.done():
            return self._echo.result()
        ended = self.ended.result()
        raise broken if broken is not None and ended.outcome is Outcome.EMPTY else ended

    async def close(self) -> None:
        """Send a close frame if the session is still open, and wait shortly for the answer."""
        if self._pump is None:
            return
        if not self.ended.done() and self._protocol.state is State.OPEN:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._send_close()
        self._pump.cancel()
        await asyncio.wait((self._pump,))

    async def _send_close(self) -> None:
        self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        try:
            await self._flush()
        except UnservedError as error:
            self._end(error)
        await asyncio.wait((self.ended,))

    async def _read(self) -> None:
        """Read frames until the session ends, and answer pings and close frames at once."""
        try:
            while self._protocol.close_rcvd is None and self._protocol.parser_exc is None:
                await self._flush()
                data = await self._connection.receive()
                if not data:
                    raise UnservedError(Outcome.EMPTY, "end of stream without a close frame")
                await self._understand(data)
            self._end(self._verdict())
            await self._flush()
        except UnservedError as error:
            self._end(error)

    async def _understand(self, data: bytes) -> None:
        """Parse frames in parts, so that other tasks run in between: there may be many frames."""
        for start in range(0, len(data), PARSED_AT_ONCE):
            if start:
                await self._flush()
                await asyncio.sleep(0)
            self._protocol.receive_data(data[start : start + PARSED_AT_ONCE])
            self._take()

    def _take(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.identity = identity(event.headers.get("x-version"), event.headers.get("x-pid"))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT and not self._echo.done():
                self._echo.set_result(bytes(event.data).decode(errors="replace"))

    def _verdict(self) -> UnservedError:
        received = self._protocol.close_rcvd
        if received is None:
            return UnservedError(Outcome.WRONG, f"frames: {self._protocol.parser_exc}")
        orderly = received.code == CloseCode.SERVICE_RESTART
        return UnservedError(Outcome.CLOSED if orderly else Outcome.WRONG, f"close frame {received.code}")

    def _end(self, reason: UnservedError) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                await self._connection.send(data)


class Websocket(Client):
    """Holds one session, and sends numbered messages on it."""

    def __init__(self, shared: Shared, spec: Spec, pace: Pace, name: str) -> None:
        super().__init__(shared, spec, pace, name)
        self._session: Session | None = None
        self._course: Course | None = None
        self._number = 0

    async def run(self) -> None:
        """Send messages until the schedule ends, then close the session."""
        try:
            while (due := await self._next()) is not None:
                if await self._message(due):
                    self.shared.proven(self)
                elif self.spec.rate is None:
                    await self.shared.clock.sleep_until(self.shared.clock.now() + PAUSE_AFTER_LOSS)
            self.account.unsent += self.pace.unsent
        finally:
            await self._leave("")

    async def attempt(self) -> Identity:
        """Send one message, and check the echo."""
        assert self._session is not None
        self._number += 1
        echo = document(await self._session.ask(str(self._number)))
        if echo.get("echo") != str(self._number):
            raise UnservedError(Outcome.WRONG, f"message {self._number} was answered with {echo}")
        found = identity(echo.get("version"), echo.get("pid"))
        assert self._course is not None
        self._course.answered(self.shared.clock.now(), found)
        return found

    async def _next(self) -> float | None:
        """Wait until the next message is due; handle the end of the session meanwhile."""
        waiting = asyncio.create_task(self.pace.next())
        try:
            while True:
                session = self._session
                events = (waiting,) if session is None else (waiting, session.ended)
                await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
                if session is not None and session.ended.done():
                    await self._ended(session.ended.result())
                if waiting.done():
                    return waiting.result()
        finally:
            waiting.cancel()

    async def _ended(self, reason: UnservedError) -> None:
        """Record the end of a session without a message in flight."""
        await self._leave(reason.outcome.value)
        now = self.shared.clock.now()
        if reason.outcome is not Outcome.CLOSED:
            ledger, detail = self.shared.ledger, f"idle session: {reason.detail}"
            ledger.begin(self.spec.label, now)
            ledger.end(self.spec.label, now, now, reason.outcome, detail)
            return
        self.account.restarts += 1
        if not self.shared.clock.ended.done():
            await self.judged(now, self._open())

    async def _message(self, due: float) -> bool:
        """Send a message, after a handshake if there is no session; return whether it was served."""
        if self._session is None:
            await self.judged(due, self._open())
        if self._session is None:
            return False
        served = await self.judged(due, self.attempt())
        ended = self._session.ended
        if not served and not (ended.done() and ended.result().outcome is Outcome.CLOSED):
            # The loss is recorded; a late echo must not answer the next message.
            await self._leave("lost")
        return served

    async def _open(self) -> Identity:
        connection = await self.connect()
        try:
            self._session = await Session(connection, self.shared.address.host).open()
        except BaseException:
            self.close(connection)
            raise
        now = self.shared.clock.now()
        self._course = self.shared.ledger.record.opened(self.name, now)
        self._course.answered(now, self._session.identity)
        return self._session.identity

    async def _leave(self, end: str) -> None:
        session, self._session = self._session, None
        if self._course is not None and not self.shared.clock.ended.done():
            self._course.close(self.shared.clock.now(), end)
        if session is not None:
            await session.close()
        for connection in self.connections.copy():
            self.close(connection)
