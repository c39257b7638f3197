"""The supervisor's end of the socket over which a worker gets connections and orders (see `transfer`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence

from sockact.handover.transfer import ARRIVING, RETIRE
from sockact.protocols.worker_messages import INTRODUCE, KEEP, LISTENING, SupervisorOrder
from sockact.untrusted import ancillary


class Supply:
    """The supervisor's end of the socket over which a worker receives connections; closed with it.

    Args:
        arrived: called when the worker has confirmed a batch, with those that it could not receive.
        lost: called with each batch that the worker will not confirm any more.
        ours: the supervisor's end of the supply of a left-over worker; None for a new supply.

    Attributes:
        theirs: the worker's end; None of a left-over worker's supply.
        passed: how many connections were sent over it.
        expected: the same without those that the worker could not receive.
        owed: how many it was ordered to hand over and has not yet.
        taken: how many connections were taken from its worker.
        suspect: whether the worker has offered something else, too.
    """

    def __init__(
        self,
        arrived: Callable[[list[int]], None],
        lost: Callable[[list[int]], None],
        ours: socket.socket | None = None,
    ) -> None:
        self._arrived = arrived
        self._lost = lost
        self.passed = self.expected = self.owed = 0
        self._takes_orders = False
        self._kept = False
        self.taken = 0
        self.suspect = False
        self._sent: deque[list[int]] = deque()
        self.theirs: socket.socket | None = None
        self._introduced = ours is None  # else it may still confirm batches of the supervisor before
        if ours is None:
            ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours = ours
        self._ours.setblocking(False)
        ancillary.refuse_descriptors(self._ours)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours.fileno(), self._read_confirmation)

    def fileno(self) -> int:
        """Return the descriptor of the supervisor's end."""
        return self._ours.fileno()

    def ask_to_introduce(self) -> None:
        """Ask a left-over worker to introduce itself; an older one ignores it."""
        self._send(bytes([RETIRE]) + bytes(SupervisorOrder(INTRODUCE)))

    def pass_on(self, descriptors: Sequence[int]) -> bool:
        """Send connections; return whether that succeeded: they belong to the supply then."""
        if self._kept or not self._introduced:
            return False
        try:
            socket.send_fds(self._ours, [bytes([ARRIVING])], list(descriptors))
        except OSError:
            return False
        self._sent.append(list(descriptors))
        self.passed += len(descriptors)
        self.expected += len(descriptors)
        return True

    def retire(self) -> None:
        """Tell the worker that it is replaced."""
        self._send(bytes([RETIRE]))

    def take_orders(self) -> bool:
        """Note that the worker takes orders, and tell it that they come; return whether that is new."""
        new, self._takes_orders = not self._takes_orders, True
        if not self._introduced:
            self._ignore_confirmations()
            self._introduced = True
        return new and self.order(SupervisorOrder(LISTENING))

    def order(self, order: SupervisorOrder) -> bool:
        """Send an order; return False if it cannot arrive: the worker is of older code, or at its end."""
        return self._takes_orders and self._send(bytes([RETIRE]) + bytes(order))

    def answer(self, taken: int) -> bool:
        """Tell the worker how many of its connections were taken; return False if it keeps them all."""
        if self._kept:
            return False
        if self._send(bytes([taken])):
            return True
        self.end()
        return False

    def end(self) -> None:
        """Tell the worker that nobody takes its connections any more."""
        self._kept = True
        if self.order(SupervisorOrder(KEEP)):
            return  # there may be more orders
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both ends, and take back what has not arrived.

        A worker that was killed may have confirmed more than one batch: nobody else can answer what it has
        read from those connections, and their clients are to learn that it is gone.
        """
        while self._sent and self._read_confirmation():
            pass
        self._stop_reading()
        self.end()  # now, for a worker that lives on; closing may take time
        ancillary.close_socket(self._ours)
        if self.theirs is not None:
            self.theirs.close()

    def let_go(self) -> None:
        """Read and send no more; the next supervisor does. What was sent arrives."""
        self._loop.remove_reader(self._ours.fileno())
        while self._sent:
            ancillary.close(self._sent.popleft())

    def _send(self, message: bytes) -> bool:
        """Send a message; return False if the worker cannot get it."""
        try:
            self._ours.send(message)
        except OSError:
            return False
        return True

    def _ignore_confirmations(self) -> None:
        """Read the confirmations of batches that the supervisor before has sent; all of them have come."""
        with contextlib.suppress(OSError):
            while ancillary.read(self._ours, 1):
                pass

    def _read_confirmation(self) -> bool:
        """Read how many connections of the oldest batch have arrived; return whether the worker told."""
        try:
            data = ancillary.read(self._ours, 1)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data and not self._introduced:
            return True  # of a batch that the supervisor before has sent
        if not data or not self._sent:
            self._stop_reading()
            return False
        batch = self._sent.popleft()
        ancillary.close(batch[: data[0]])
        self.expected -= len(batch[data[0] :])
        self._arrived(batch[data[0] :])
        return True

    def _stop_reading(self) -> None:
        self._loop.remove_reader(self._ours.fileno())
        while self._sent:
            self._lost(self._sent.popleft())
