"""The wires of a simulation: notify sockets of which the sender is known, and notifiers without threads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from sockact.protocols.notify import Notification, NotifySocket
from sockact.protocols.notify.backlog import RETRY_PAUSE, Backlog
from sockact.protocols.worker_messages import Reporter


def datagrams() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a wire for notifications, the manager's first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    theirs.setblocking(False)
    return ours, theirs


class SimulatedNotifySocket(NotifySocket):
    """A notify socket to which one process sends, which has the PID `sender`."""

    def __init__(self, bound: socket.socket, sender: int, *, stores: bool = True) -> None:
        super().__init__(stores=stores, bound=bound)
        self._sender = sender

    def receive(self) -> Notification | None:
        found = super().receive()
        return found if found is None or not found.pid else found._replace(pid=self._sender)


class SimulatedBacklog(Backlog):
    """A backlog that a timer empties, in place of a thread."""

    def _begin(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_PAUSE, self._try_again)

    def _try_again(self) -> None:
        if not self._send_waiting():
            self._begin()

    def wait_sent(self, timeout: float) -> bool:
        return self._send_waiting()


class _Channel:
    """The part of sdnotify's notifier that a `Notifier` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def notify(self, state: str) -> None:
        self.socket.send(state.encode("latin-1"))


class SimulatedReporter(Reporter):
    """A notifier that was given its socket.

    Args:
        sock: the socket to its manager.
        storage: how many descriptors the manager stores.
        watchdog: seconds between two pings that the manager expects; None for none.
        systemd: whether the manager is systemd.
        read: makes the manager read what was sent, if it can.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        storage: int = 0,
        watchdog: float | None = None,
        systemd: bool = False,
        read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.manager_is_systemd = systemd
        self.watchdog_interval = None if watchdog is None else watchdog / 2
        self.storage = storage
        self.variables = {}
        self._channel = _Channel(sock)
        self._complained = False
        self._backlog = SimulatedBacklog(self._send_now, lambda: None)
        self._standing = {}
        self._read = read

    def barrier(self, timeout: float) -> bool:
        return self._backlog.wait_sent(timeout) and self._read()

    def store(self, descriptors: Sequence[int], name: str, *, must: bool = False) -> bool:
        return super().store(descriptors, name, must=False)  # nothing waits here
