"""The lifeline of a child: it gets SIGTERM from the kernel when its parent is killed, and drains.

Parent and child each hold an end of a connection on which nothing is ever sent. When the parent's end is
closed, for whatever reason, that is an event at the child's, and events there are signalled: fcntl(2),
F_SETSIG. This works with every program that leaves a descriptor alone which it does not know. A program of
ours is told of it, by LISTEN_FDNAMES, so that it does not pass it on to its own children.

Rejected: PR_SET_PDEATHSIG. A process can only set it for itself, and Python has no function for it: with
an interpreter before each worker that calls it by ctypes, each took 20 ms longer to start. Also, it is sent
when merely the thread that has started the child ends. setpriv(1) sets it too, but a sandboxed service
lacks the privileges.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from typing import Self

from sockact.system import forks
from sockact.untrusted import ancillary

LIFELINE = "sockact.lifeline"
"""The name under which it is passed to a program of ours."""


class Lifeline:
    """The parent's end of a lifeline.

    Args:
        sock: its socket. The process before this one may have tied it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        forks.keep(sock)

    @classmethod
    def new(cls) -> tuple[Self, socket.socket]:
        """Return both ends of a new lifeline: the parent's, and the one that the child has to inherit."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            ancillary.refuse_descriptors(end)
        return cls(ours), theirs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return its descriptor: SIGTERM is sent when the last copy of it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close it, when the child has ended or was not started."""
        ancillary.close_socket(self._sock)


def tie(theirs: socket.socket, pid: int) -> None:
    """Have SIGTERM sent to the child that has inherited this end, when the other end is closed."""
    # Owner and signal belong to what was opened, not to the descriptor: the child shares them.
    fcntl.fcntl(theirs, fcntl.F_SETOWN, pid)
    fcntl.fcntl(theirs, fcntl.F_SETSIG, signal.SIGTERM)
    flags = fcntl.fcntl(theirs, fcntl.F_GETFL)
    fcntl.fcntl(theirs, fcntl.F_SETFL, flags | os.O_ASYNC)
