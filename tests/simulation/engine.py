"""The engine of a simulated worker: it answers lines, as the real one answers requests.

A request is the line `NUMBER SECONDS`, the response `NUMBER VERSION`, or `NUMBER VERSION close` before the
connection is closed. Between two requests a connection can move. What a worker has read, it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from sockact.engines.interface import EngineObserver, NoObserver
from sockact.handover.transfer import HandoverSender
from sockact.protocols.load_board import OwnRow
from sockact.protocols.statistics_page import WorkerStatistics

ACCEPTED_AT_ONCE = 2


class SimulatedConnection:
    """A client's connection in one worker; see `sockact.handover.transfer.Movable`."""

    def __init__(self, engine: SimulatedEngine, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.client = sock.getpeername() or b""
        self.busy = False
        self.offered = False
        self.last = False
        self._engine = engine
        self._sock = sock
        self._input = b""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._read_on()

    def fileno(self) -> int:
        return self._sock.fileno()

    def hold(self) -> None:
        """Read nothing, unless a request is being answered: its end reads on."""
        if not (self.busy or self.offered):
            self._loop.remove_reader(self.fileno())

    def release(self) -> None:
        if not (self.busy or self.offered):
            self._read_on()

    def _read_on(self) -> None:
        if not self._engine.held:
            self._loop.add_reader(self.fileno(), self._read)

    def drain(self) -> None:
        """Hand the connection over, or let it go after one more request."""
        if self.busy or self.offered or self.fileno() < 0:
            return
        if self._engine.sender is not None and self._engine.sender.room and not self._input:
            self._loop.remove_reader(self.fileno())
            self.offered = True
            self._engine.sender.offer(self)
        else:
            self._stay()

    def on_moved(self) -> None:
        self._engine.forget(self)
        self._sock.close()

    def on_refused(self) -> None:
        if self.fileno() < 0:
            return
        self.offered = False
        self._read_on()
        if self._engine.draining:
            self._stay()

    def _stay(self) -> None:
        """Linger: bring one more request, or be closed."""
        self.last = True
        if self._timer is None:
            self._timer = self._loop.call_later(self._engine.linger, self._let_go)

    def _let_go(self) -> None:
        if not self.busy and not self.offered:
            self._engine.closed(self.client)
            self.close()

    def close(self) -> None:
        if self.fileno() >= 0:
            self._loop.remove_reader(self.fileno())
            self._engine.forget(self)
            self._sock.close()

    def _read(self) -> None:
        if self.busy or self.offered:
            return
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._input += data
        line, newline, rest = self._input.partition(b"\n")
        if newline:
            self._input = rest
            number, seconds = line.split()
            self._begin(number, float(seconds))

    def _begin(self, number: bytes, seconds: float) -> None:
        self.busy = True
        self._loop.remove_reader(self.fileno())
        self._engine.begun(self)
        self._loop.call_later(seconds, self._answer, number)

    def _answer(self, number: bytes) -> None:
        if self.fileno() < 0:
            return
        self.busy = False
        close = self.last
        with contextlib.suppress(OSError):
            self._sock.send(b"%b %b%b\n" % (number, self._engine.version, b" close" if close else b""))
        self._engine.in_flight -= 1
        if close:
            self.close()
            self._engine.ended()
            return
        self._read_on()
        if self._engine.draining:
            self.drain()
        self._engine.ended()


class SimulatedEngine:
    """Serves one listener; it has the interface of `sockact.engines.group.Engines`.

    Args:
        listener: a copy of the listening socket.
        version: the version of the code.
        start: the start of the app.
        close: the end of the app.
        linger: seconds that an idle connection stays open in a drain.
        owns: called with the name of a client whose connection is now served here.
        closed: called with the name of a client whose idle connection is closed.
        aborted: called with the name of a client whose request is aborted.
    """

    def __init__(
        self,
        listener: socket.socket,
        version: bytes,
        start: Callable[[], object],
        close: Callable[[], object],
        linger: float,
        owns: Callable[[bytes], None],
        closed: Callable[[bytes], None],
        aborted: Callable[[bytes], None],
    ) -> None:
        self.closed, self.aborted = closed, aborted
        self.version = version
        self.linger = linger
        self.last = False
        self.draining = self.held = False
        self.sender: HandoverSender | None = None
        self.requests = self.in_flight = 0
        self._started = False
        self._listener = listener
        self._start, self._close = start, close
        self._owns = owns
        self._open: dict[SimulatedConnection, None] = {}
        self._observer: EngineObserver = NoObserver()
        self._empty = asyncio.Event()
        self._empty.set()
        self._loop = asyncio.get_running_loop()

    @property
    def connections(self) -> int:
        return len(self._open)

    @property
    def unfinished(self) -> int:
        return self.in_flight

    def watch(self, observer: EngineObserver) -> None:
        self._observer = observer

    def count_in(self, statistics: WorkerStatistics) -> None:
        """Count nothing."""

    async def start(self) -> None:
        await self._start()  # type: ignore[misc]
        self._started = True
        if not self.held:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        await self._close()  # type: ignore[misc]

    def give_to(self, sender: HandoverSender) -> None:
        self.sender = sender
        sender.when_closed(self._drain_all)

    def share_load(self, load: OwnRow) -> None:
        raise AssertionError("a simulated worker has no row of the load board")

    def shed(self, count: int) -> None:
        raise AssertionError("a simulated worker is not told to hand over connections while it serves")

    def receive(self, connection: socket.socket) -> None:
        self._add(connection)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._add(connection)

    def _add(self, sock: socket.socket) -> None:
        connection = SimulatedConnection(self, sock)
        self._open[connection] = None
        self._owns(connection.client)
        self._observer.on_change()
        if self.draining:
            connection.drain()

    def forget(self, connection: SimulatedConnection) -> None:
        if self._open.pop(connection, 0) is None:
            self._observer.on_change()
        if not self._open:
            self._empty.set()

    def begun(self, connection: SimulatedConnection) -> None:
        self.requests += 1
        self.in_flight += 1
        self._observer.on_request()

    def hold(self) -> None:
        if self.draining:
            return
        self.held = True
        self._loop.remove_reader(self._listener.fileno())
        for connection in self._open:
            connection.hold()

    def release(self) -> None:
        if self.held:
            self.held = False
            if self._started and not self.draining:
                self._loop.add_reader(self._listener.fileno(), self._accept)
            for connection in list(self._open):
                connection.release()

    def ended(self) -> None:
        self._observer.on_change()

    def stop_accepting(self) -> None:
        self.release()
        self._loop.remove_reader(self._listener.fileno())
        self.draining = True
        self._drain_all()

    def _drain_all(self) -> None:
        if self.draining:
            for connection in list(self._open):
                connection.drain()

    async def wait_drained(self) -> None:
        while self._open:
            self._empty.clear()
            await self._empty.wait()

    async def abort(self) -> None:
        for connection in list(self._open):
            if connection.busy or connection.offered:
                self.in_flight -= connection.busy
                self.aborted(connection.client)
            else:
                self.closed(connection.client)
            connection.close()

    def close_all(self) -> None:
        """Close what the kernel closes when the process has ended."""
        self._listener.close()
        for connection in self._open:
            connection._sock.close()
