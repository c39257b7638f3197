"""Both ends of the load board: memory in which the workers of a supervisor see each other's load.

The supervisor makes it, a memfd, and gives each worker a row. It passes the memory under the name
`sockact.load.N`, where N is the row. A row has 48 words of 8 bytes; row 0 has only the number of the last
row that was ever in use.

    word        written by    meaning
    GENERATION  supervisor    the worker's generation; 0 if the row is free
    SHARE       supervisor    the worker's share of the load, in thousandths of a usual worker's
    STATE       worker        0 before it knows the board, then `PRESENT`, and `ACCEPTING` while it accepts
    CONNECTIONS worker        how many are open
    RECEIVED    worker        how many connections have come over its supply
    TURNS       worker        how often it has looked at the queue of a listener
    BEATS       worker        how many orders BEAT it has obeyed
    ANSWERS     worker        how many response times it has written, into the 32 words that follow in turn,
                              in microseconds

Rule of this file: an attacker who has broken into a worker can write anything into any row. So whatever is
read here only decides who takes the next connection, and each wait for another worker has a limit. The
size is sealed: memory that became shorter would kill those who read it (SIGBUS, mmap(2)).
"""

from __future__ import annotations

import logging
import math
import os
from typing import NamedTuple, Self

from sockact.sockets.fds import Kind, Listener
from sockact.system.sealed_memory import mapped, sealed_memory
from sockact.untrusted.number import decimal

LOAD = "sockact.load"
"""The name of the memory, before the number of a row."""

ROWS = 1024
WORDS = 48
WORD = 8
TIMES = range(16, WORDS)
"""The words of the response times."""

GENERATION, SHARE, STATE, CONNECTIONS, RECEIVED, TURNS, BEATS, ANSWERS = range(8)
PRESENT, ACCEPTING = 1, 2
USUAL_SHARE = 1000
SIZE = (1 + ROWS) * WORDS * WORD

MOST = 1 << 20
"""The largest number of connections that is believed."""

CLOSE = 6 / 5
"""How much more than the least loaded worker another one may have, and still takes the next connection."""

AHEAD = 5 / 4
"""The same within one turn, in which others may be about to wake up."""

PATIENCE = 4
"""The least number of connections that are taken together after a wait that was in vain."""

logger = logging.getLogger(__package__)


class BoardRow(NamedTuple):
    """A worker's row, as its supervisor reads it.

    Attributes:
        present: whether the worker writes it; one of older code does not.
        connections: how many are open.
        received: how many have come over its supply.
        beats: how many orders BEAT it has obeyed.
        answers: how many response times it has written.
        share: its share of the load; 1 for a usual worker's.
    """

    present: bool
    connections: int
    received: int
    beats: int
    answers: int
    share: float


class LoadBoard:
    """The supervisor's end.

    Raises:
        OSError: there is no such memory to be had.
    """

    def __init__(self) -> None:
        self._fd = sealed_memory(LOAD, SIZE)
        try:
            self._words = mapped(self._fd, SIZE)
        except BaseException:
            os.close(self._fd)
            raise
        self._rows: dict[int, int] = {}

    def assign(self, worker: int, generation: int) -> Listener | None:
        """Give a worker a row; return the memory as it is passed to it, or None if no row is free."""
        used = set(self._rows.values())
        row = next((row for row in range(1, ROWS + 1) if row not in used), 0)
        if not row:
            return None
        passed = Listener(f"{LOAD}.{row}", os.dup(self._fd), Kind.OTHER)
        self._clear(row)
        self._rows[worker] = row
        self._words[row * WORDS + SHARE] = USUAL_SHARE
        self._words[row * WORDS + GENERATION] = generation
        self._words[0] = max(*used, row) if used else row
        return passed

    def release(self, worker: int) -> None:
        """Free the row of a worker that has ended."""
        if (row := self._rows.pop(worker, 0)) > 0:
            self._clear(row)

    def read(self, worker: int) -> BoardRow | None:
        """Return a worker's row; None if it has none."""
        if not (row := self._rows.get(worker, 0)):
            return None
        words = self._words[row * WORDS : row * WORDS + ANSWERS + 1].tolist()
        return BoardRow(
            present=words[STATE] > 0,
            connections=min(words[CONNECTIONS], MOST),
            received=words[RECEIVED],
            beats=words[BEATS],
            answers=words[ANSWERS],
            share=_share(words[SHARE]),
        )

    def answer_time(self, worker: int) -> float | None:
        """Return the median of a worker's latest response times, in seconds; None if there are none."""
        if not (row := self._rows.get(worker, 0)):
            return None
        first, count = row * WORDS + TIMES.start, min(self._words[row * WORDS + ANSWERS], len(TIMES))
        # Not by `statistics`, whose import takes longer than that of this whole protocol.
        times = sorted(self._words[first : first + count])
        return times[count // 2] / 1_000_000 if times else None

    def give_share(self, worker: int, share: float) -> None:
        """Set a worker's share of the load, above 0 and at most 1."""
        if row := self._rows.get(worker, 0):
            self._words[row * WORDS + SHARE] = max(round(share * USUAL_SHARE), 1)

    def close(self) -> None:
        """Close the descriptor: no row is assigned any more, and the others can still be read."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _clear(self, row: int) -> None:
        for word in range(row * WORDS, (row + 1) * WORDS):
            self._words[word] = 0


class OwnRow:
    """A worker's end: it writes its own row, and compares it with those of its generation.

    Args:
        fd: the memory, which can be closed afterwards.
        row: the number of its row.

    Raises:
        OSError: this is not the memory of a supervisor.
    """

    def __init__(self, fd: int, row: int) -> None:
        words = mapped(fd, SIZE)
        if not 1 <= row <= ROWS:
            raise OSError(f"row {row} of the load board: expected 1 to {ROWS}")
        self._words = words
        self._own = row
        self._base = row * WORDS
        # Not read from the row: there they may be somebody else's.
        self._acceptors = self._connections = self._received = self._turns = self._beats = self._answers = 0
        self._generation = self._words[row * WORDS + GENERATION]
        self._least = math.inf
        self._rivals: list[tuple[int, int]] = []
        self._deaf: dict[int, int] = {}  # places of rows, with what they had done
        self._words[self._base + STATE] = PRESENT

    @classmethod
    def passed(cls, listener: Listener) -> Self | None:
        """Return the row that was passed; None if it cannot be used. The descriptor is closed."""
        try:
            return cls(listener.fd, decimal(listener.name.removeprefix(f"{LOAD}."), digits=4) or 0)
        except OSError as error:
            logger.warning("the load is not shared with other workers: %s", error)
            return None
        finally:
            listener.close()

    # The worker's activity.

    def note(self, connections: int) -> None:
        """Note how many connections are open."""
        self._connections = self._words[self._base + CONNECTIONS] = connections

    def receive(self, connections: int) -> None:
        """Note that one has come over the supply, and how many are open with it."""
        self._received += 1
        self.note(connections)
        self._words[self._base + RECEIVED] = self._received

    def beat(self) -> None:
        """Tell the supervisor that the event loop runs."""
        self._beats += 1
        self._words[self._base + BEATS] = self._beats

    def answered(self, seconds: float) -> None:
        """Note how long a client has waited for its response."""
        answers = self._answers
        self._words[self._base + TIMES[answers % len(TIMES)]] = int(max(seconds, 0) * 1_000_000)
        self._answers = self._words[self._base + ANSWERS] = answers + 1

    # The accepting of connections; see `sockets.acceptor.Turns`.

    def begin(self) -> None:
        """Note that one more listener is accepted on."""
        self._acceptors += 1
        self._words[self._base + STATE] = ACCEPTING

    def end(self) -> None:
        """Note that one listener less is accepted on."""
        self._acceptors -= 1
        self._words[self._base + STATE] = ACCEPTING if self._acceptors > 0 else PRESENT

    def took(self) -> None:
        """Note that one connection was accepted; `note` tells the exact number later."""
        self.note(self._connections + 1)

    def yields(self) -> bool:
        """Return whether another worker, which has less, is to take the connection that waits."""
        self._turns += 1
        self._words[self._base + TURNS] = self._turns
        self._least = min((cost for _, cost in self._others()), default=math.inf)
        return self._cost > self._least * CLOSE

    def allowance(self) -> float:
        """Return how many connections may be taken now, before others have had the time to wake up."""
        if self._least == math.inf:
            return math.inf
        return max(int(self._share * (self._least * AHEAD + 1)) - self._connections, 1)

    def wait(self) -> None:
        """Note which workers are to take the connection, and what they have done so far."""
        most = self._cost / CLOSE
        self._rivals = [(place, self._done(place)) for place, cost in self._others() if cost < most]

    def waited_in_vain(self) -> int:
        """Note that nobody has taken the connection that waits; return how many may be taken now.

        Those of the others that have done nothing meanwhile are not waited for again until they have.
        """
        self._deaf |= {place: done for place, done in self._rivals if self._done(place) == done}
        return max(PATIENCE, self._connections // 4)

    @property
    def _share(self) -> float:
        return _share(self._words[self._base + SHARE])

    @property
    def _cost(self) -> float:
        return (self._connections + 1) / self._share

    def _others(self) -> list[tuple[int, float]]:
        """Return place and cost of the other rows of this generation whose workers accept.

        The cost is the load with one connection more. Each look at a queue comes here, in all workers.
        """
        words, generation, deaf, found = self._words, self._generation, self._deaf, []
        for place in range(WORDS, (min(words[0], ROWS) + 1) * WORDS, WORDS):
            if words[place] != generation or words[place + STATE] != ACCEPTING or place == self._base:
                continue
            if place not in deaf or deaf[place] != self._done(place):
                cost, share = words[place + CONNECTIONS] + 1, words[place + SHARE]
                found.append((place, cost if share == USUAL_SHARE else cost / _share(share)))
        return found

    def _done(self, place: int) -> int:
        """Return a number that changes when the worker of a row looks at a queue, or answers a request."""
        return self._words[place + TURNS] + self._words[place + ANSWERS]


def _share(thousandths: int) -> float:
    return thousandths / USUAL_SHARE if 0 < thousandths <= USUAL_SHARE else 1.0
