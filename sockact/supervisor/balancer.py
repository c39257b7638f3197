"""Keeps the load of a supervisor's workers even: it moves idle connections from crowded ones to others.

    worker          supervisor
                    BEAT        to those below their share: only an event loop that runs counts it
                    SHED n      to a crowded one, when another one can receive so many

It looks at the load board a moment after something has happened: a worker is ready, has ended, or tells new
counters, which a busy one does each second. Nothing is done while a reload or a roll-out is under way, for
the workers that go hand over all connections anyway. As long as the load is uneven it looks again a few
times: then perhaps nothing can move, WebSockets for example.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sockact.handover.exchange import Exchange, WorkerLoad
from sockact.protocols.load_board import BoardRow, LoadBoard
from sockact.protocols.worker_messages import BEAT, SupervisorOrder
from sockact.sockets.fds import Listener
from sockact.supervisor import shares

FIRST_LOOK = 0.1
"""Seconds from an event to the look at the board: the connections that it moves should have arrived."""

CROWD = 32
"""Workers for which a look takes a millisecond; with as many more each look comes `FIRST_LOOK` later."""

NEXT_LOOK = 0.25
"""Seconds until the next look after an order."""

BEAT_LOOK = 0.05
"""Seconds until the next look after a BEAT."""

LOOKS = 16
"""Looks after the last event."""

ALIVE = 2.0
"""Seconds for which a worker that has counted a BEAT is taken to be running."""

SHED_TIME = 0.6
"""Seconds until a worker that was told to hand over connections is told so again."""

MOST_SHED = 1000
"""Connections in one order, at most."""

ADJUSTMENT = 0.5
"""Seconds between two adjustments of the shares."""

FEW = 3
"""New response times without which the latest ones of a worker are not read again."""

RENEWED = 20
"""The same after its share has become smaller: before, most are of its time with more connections."""

QUIET = 5.0
"""Seconds after which a worker that has not answered so many is not known to be slow any more."""

HUNG = 1_000_000
"""Connections that a worker which does not count a BEAT seems to have."""

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class _Known:
    """The supervisor's knowledge of a worker.

    Attributes:
        beats: how many orders BEAT it was sent.
        beaten: when it was sent the last one.
        shed: when it was told to hand over connections.
        answers: from how many response times on they are read again.
        read: when that was.
        slow: how slow it was by these.
    """

    beats: int = 0
    beaten: float = -math.inf
    shed: float = -math.inf
    answers: int = FEW
    read: float = -math.inf
    slow: float = 1.0


class Balancer:
    """Evens the load of workers out.

    Args:
        exchange: distributes connections, by `holding`.
        serving: returns the workers that are to have them.
        is_settled: returns whether these stay, as far as is known.
    """

    def __init__(
        self, exchange: Exchange, serving: Callable[[], Sequence[int]], is_settled: Callable[[], bool]
    ) -> None:
        self._exchange = exchange
        self._serving = serving
        self._is_settled = is_settled
        self._board = _new_board()
        self._known: dict[int, _Known] = {}
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._looks = 0
        self._adjusted = self._loop.time()

    def admit(self, worker: int, generation: int) -> Listener | None:
        """Return the memory that a worker which is about to start needs; None if there is none."""
        listener = None if self._board is None else self._board.assign(worker, generation)
        if listener is not None:
            self._known[worker] = _Known()
        return listener

    def forget(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._known.pop(worker, None)
        if self._board is not None:
            self._board.release(worker)

    def close(self) -> None:
        """Look no more, and admit no more workers."""
        self._looks = 0
        if self._board is not None:
            self._board.close()
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def holding(self, worker: int) -> WorkerLoad | None:
        """Return a worker's load, as the exchange asks for it."""
        if (row := self._row(worker)) is None:
            return None
        load, known = self._load(worker, row), self._known[worker]
        hung = row.beats < known.beats and self._loop.time() - known.beaten > NEXT_LOOK
        return load._replace(connections=load.connections + HUNG) if hung else load

    def look_soon(self) -> None:
        """Look at the board in a moment: something has happened."""
        self._looks = LOOKS
        if self._due is None and self._board is not None:
            self._due = self._loop.call_later(FIRST_LOOK * (1 + len(self._known) // CROWD), self._look)

    def _look_again(self, seconds: float) -> None:
        self._looks -= 1
        if self._looks > 0:
            self._due = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._due = None
        if not self._is_settled():
            return
        rows = {worker: row for worker in self._serving() if (row := self._row(worker)) is not None}
        if self._loop.time() >= self._adjusted + ADJUSTMENT:
            self._adjust(rows)
        loads = {worker: self._load(worker, row) for worker, row in rows.items()}
        if len(loads) < 2 or not shares.surplus(loads, loads):
            if any(known.slow > shares.SLOW for known in self._known.values()):
                self._look_again(ADJUSTMENT)  # then it is known whether that was chance
            return
        able = self._running(shares.short(loads), rows)
        wanted = shares.surplus(loads, able)
        if not wanted:
            self._look_again(BEAT_LOOK)
            return
        for worker, count in wanted.items():
            self._shed(worker, min(count, MOST_SHED))
        self._look_again(NEXT_LOOK)

    def _row(self, worker: int) -> BoardRow | None:
        """Return the row of a worker that writes one."""
        row = None if self._board is None else self._board.read(worker)
        return row if row is not None and row.present else None

    def _answer_time(self, worker: int) -> float | None:
        return None if self._board is None else self._board.answer_time(worker)

    def _load(self, worker: int, row: BoardRow) -> WorkerLoad:
        return WorkerLoad(row.connections + self._exchange.under_way(worker, row.received), row.share)

    def _running(self, workers: Sequence[int], rows: dict[int, BoardRow]) -> list[int]:
        """Return those of the workers whose event loops run; ask the others."""
        now, running = self._loop.time(), []
        for worker in workers:
            known = self._known[worker]
            if rows[worker].beats >= known.beats and now - known.beaten < ALIVE:
                running.append(worker)
            elif rows[worker].beats >= known.beats and self._exchange.order(worker, SupervisorOrder(BEAT)):
                known.beats, known.beaten = rows[worker].beats + 1, now
        return running

    def _shed(self, worker: int, count: int) -> None:
        now, known = self._loop.time(), self._known[worker]
        if now - known.shed >= SHED_TIME and self._exchange.shed(worker, count):
            known.shed = now
            logger.debug("worker=%d hands over %d connections: others have fewer", worker, count)

    def _adjust(self, rows: dict[int, BoardRow]) -> None:
        """Give slow workers a smaller share, and those that are no longer slow a larger one."""
        now = self._adjusted = self._loop.time()
        times = {}
        for worker, row in rows.items():
            known = self._known[worker]
            time = None if row.answers < known.answers else self._answer_time(worker)
            if time is not None:
                times[worker] = time
                known.answers, known.read = row.answers + FEW, now
        found = shares.slowness(times)
        for worker, row in rows.items():
            known = self._known[worker]
            if worker in times or now - known.read > QUIET:
                slow, before, known.slow = found.get(worker, 1.0), known.slow, found.get(worker, 1.0)
                self._give_share(worker, row, shares.adjusted(row.share, slow, before))

    def _give_share(self, worker: int, row: BoardRow, share: float) -> None:
        if share == row.share or self._board is None:
            return
        logger.debug("worker=%d gets %.2f of a usual worker's share of the load", worker, share)
        self._board.give_share(worker, share)
        if share < row.share:
            self._known[worker].answers = row.answers + RENEWED


def _new_board() -> LoadBoard | None:
    try:
        return LoadBoard()
    except OSError as error:
        logger.info("the load of workers is not evened out: no memory for it: %s", error.strerror)
        return None
