"""Accepts connections from a listening socket, a few at a time; can pause and stop without losing one.

asyncio's `create_server` is not used on a socket that the service manager owns: it calls listen(2) again,
which overrides `Backlog=` for good; it accepts up to 2,048 connections at once, all of which a drain then
has to serve; and it drops connections that were accepted in the turn of the loop in which it closes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from sockact.sockets.fds import Listener
from sockact.sockets.listen import BACKLOG
from sockact.system import forks, standard_streams
from sockact.untrusted import ancillary

ACCEPTS_PER_TURN = 16
"""Connections accepted in one turn of the loop; the next process can serve those left in the queue."""

EXHAUSTED_PAUSE = 1.0
"""Seconds without accepting after descriptors or memory have run out; asyncio waits as long."""

STEP_BACK = 0.001
"""Seconds in which a less loaded process may take a connection, before this one does."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

logger = logging.getLogger(__package__)


class Turns(Protocol):
    """Takes turns with other processes that accept on the same sockets."""

    def begin(self) -> None:
        """Note that one more listener is accepted on."""

    def end(self) -> None:
        """Note that one listener less is accepted on."""

    def took(self) -> None:
        """Note that a connection was accepted."""

    def yields(self) -> bool:
        """Return whether another process is to take the connection that waits."""

    def allowance(self) -> float:
        """Return how many connections may be taken now."""

    def wait(self) -> None:
        """Note that others have the time to take it now."""

    def waited_in_vain(self) -> int:
        """Note that no other process has taken the connection; return how many may be taken now."""


def accept_on(
    listeners: Sequence[Listener],
    arrived: Callable[[socket.socket], None],
    has_room: Callable[[], bool],
    turns: Turns | None = None,
    *,
    descriptors: bool = False,
) -> list[Acceptor]:
    """Accept on the listeners; a listener that is itself a connection (`Accept=yes`) arrives at once.

    The arguments are those of `Acceptor`.
    """
    acceptors: list[Acceptor] = []
    for listener in listeners:
        assert listener.sock is not None
        if listener.listening:
            acceptors.append(Acceptor(listener.sock, arrived, has_room, turns, descriptors=descriptors))
        else:
            connection = listener.sock
            connection.setblocking(False)
            if not descriptors:
                ancillary.refuse_descriptors(connection)
                connection = ancillary.sifted(connection)
            arrived(connection)
    return acceptors


class Acceptor:
    """Accepts on one listening socket until it is stopped.

    Args:
        sock: the socket; made non-blocking, and neither shut down nor closed here. O_NONBLOCK is a
            property of the socket that the manager and other generations share, so it stays set.
        arrived: called with each connection, non-blocking; takes ownership of it.
        has_room: returns whether there may be one more connection. If not, new connections wait in the
            kernel's queue for `resume`, or for another process that accepts on the socket.
        turns: how it takes turns with other processes; None if it takes what comes.
        descriptors: whether clients on a Unix socket may send descriptors. Where the kernel cannot refuse
            them, asyncio's loop removes them; uvloop would go on closing them as long as a client sends.
    """

    def __init__(
        self,
        sock: socket.socket,
        arrived: Callable[[socket.socket], None],
        has_room: Callable[[], bool] = lambda: True,
        turns: Turns | None = None,
        *,
        descriptors: bool = False,
    ) -> None:
        self._sock = sock
        self._arrived = arrived
        self._has_room = has_room
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._accepts = False
        self._exhausted = False
        self._paused = False
        self._held = False
        self._stopped = False
        sock.setblocking(False)
        self._refuses = not descriptors and sock.family == socket.AF_UNIX
        if self._refuses:
            ancillary.refuse_descriptors(sock)
        self._begin()

    def resume(self) -> None:
        """Accept again, if there was no room and now there is."""
        if self._paused and not self._held and self._has_room():
            self._paused = False
            self._begin()

    def hold(self) -> None:
        """Accept nothing until `release`."""
        self._held = True
        if self._later is not None:
            self._later.cancel()
        self._cease()

    def release(self) -> None:
        """Accept again after `hold`, if there is room."""
        if self._held:
            self._held = False
            self._paused = not self._stopped
            self.resume()

    def stop(self) -> None:
        """Stop accepting.

        It has to precede the close: a closed descriptor whose socket is still open elsewhere cannot be
        removed from epoll any more, and reports every new connection for ever (epoll(7)).
        """
        if self._later is not None:
            self._later.cancel()
        self._stopped = True
        self._paused = False
        self._cease()

    def accept_waiting(self) -> None:
        """Accept all that wait now, up to the limit, also after a stop: no other process will."""
        for _ in range(BACKLOG):
            if not self._has_room() or not self._take():
                return

    def _begin(self) -> None:
        self._later = None
        self._loop.add_reader(self._sock.fileno(), self._accept)
        if self._turns is not None and not self._accepts:
            self._turns.begin()
        self._accepts = True

    def _cease(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        if self._turns is not None and self._accepts:
            self._turns.end()
        self._accepts = False

    def _accept(self) -> None:
        if self._turns is None:
            self._accept_some(ACCEPTS_PER_TURN)
        elif self._turns.yields():
            # Looking again in the next turn would take the CPU from the one that is waited for.
            self._turns.wait()
            self._loop.remove_reader(self._sock.fileno())
            self._later = self._loop.call_later(STEP_BACK, self._accept_after_all)
        else:
            self._accept_some(self._turns.allowance())

    def _accept_after_all(self) -> None:
        """Accept what others had the time to take."""
        self._begin()
        if self._accept_some(1) and self._turns is not None:
            self._accept_some(self._turns.waited_in_vain())

    def _accept_some(self, most: float) -> bool:
        """Accept so many connections; return whether there may be another."""
        for _ in range(int(min(most, ACCEPTS_PER_TURN))):
            if not self._has_room():
                self._paused = True
                self._cease()
                return False
            if not self._take():
                return False
        return True

    def _take(self) -> bool:
        """Accept one connection; return whether there may be another."""
        try:
            connection = standard_streams.above(self._sock.accept()[0])
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True  # the client has gone while it waited
        except OSError as error:
            self._recover(error)
            return False
        self._exhausted = False
        connection.setblocking(False)
        if self._refuses and ancillary.holds_descriptors(connection):
            logger.debug("a client on %s sends descriptors: closed", self._sock.getsockname())
            ancillary.close_socket(connection)
            return True
        if self._refuses:
            connection = ancillary.sifted(connection)
        forks.keep(connection)
        if self._turns is not None:
            self._turns.took()
        self._arrived(connection)
        return True

    def _recover(self, error: OSError) -> None:
        if error.errno not in _EXHAUSTED:
            raise error
        if not self._exhausted:
            logger.error("cannot accept: %s; new connections wait in the queue", error.strerror)
            self._exhausted = True
        if self._stopped:
            return
        self._cease()
        self._later = self._loop.call_later(EXHAUSTED_PAUSE, self._begin)
