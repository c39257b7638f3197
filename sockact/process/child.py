"""A child process that notifies this one: its notifications, its end, and the rest of its process group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable

from sockact.process.child_handle import ChildHandle, end_now
from sockact.process.process_group import TERM_TIMEOUT, Leftovers
from sockact.protocols.notify import Notification
from sockact.protocols.worker_messages import WorkerMessage

NOTIFICATIONS_PER_TURN = 64
"""Notifications read in one turn of the loop: a child that goes on sending must not hold up all others."""

QUEUE = 4096
"""More than can wait in the queue: net.unix.max_dgram_qlen, 10 in the kernel and 512 with systemd."""


class Child:
    """A child that has a notify socket of its own; it is reaped here, with its process group.

    If this process is killed, the child gets SIGTERM, unless systemd stores its handle. A child of the
    process before this one is reaped by systemd; nobody knows its exit status.

    Args:
        handle: the handle of the process.
        heard: called with each of its notifications.
        ended: called once, when it has ended, with how, in words; the rest of its group may live on.
        whole_group: the other processes of its process group may notify for it, as with systemd's
            `NotifyAccess=all`.

    Attributes:
        pid: the process.
        reason: the reason for which it gives up, if it has told.
        exit_status: its exit status, once it has ended; 0 after a signal.
        killed_by: the number of the signal that has killed it; 0 for none, or if nobody knows.
        gone: set when nothing is left of its process group either, and it was reaped.
    """

    def __init__(
        self,
        handle: ChildHandle,
        *,
        heard: Callable[[Notification], None],
        ended: Callable[[str], None],
        whole_group: bool = False,
    ) -> None:
        self.pid = handle.pid
        self.reason, self.exit_status, self.killed_by = "", 0, 0
        self.gone = asyncio.Event()
        self._handle = handle
        self._leftovers: Leftovers | None = None
        self._ends_since: float | None = None
        self._heard, self._ended, self._whole_group = heard, ended, whole_group
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(handle.manager.fileno(), self._listen)
        self._loop.add_reader(handle.pidfd, self._reap)

    def descriptors(self) -> list[int]:
        """Return the descriptors by which another process can have this child, see `ChildHandle`."""
        return self._handle.descriptors()

    def has_ended(self) -> bool:
        """Return whether the process has ended; it is not reaped before `ended` is about to be called."""
        poller = select.poll()
        poller.register(self._handle.pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, which cannot be mistaken for another: it is not reaped yet."""
        signal.pidfd_send_signal(self._handle.pidfd, number)

    def kill(self) -> None:
        """Kill it and its process group, and wait for that; `ended` is not called any more."""
        if self._leftovers is not None:
            self._leftovers.kill()
        elif not self.gone.is_set():
            end_now(self.pid)
            self._close()
            self.gone.set()

    def _listen(self, most: int = NOTIFICATIONS_PER_TURN) -> None:
        for _ in range(most):
            notification = self._handle.manager.receive()
            if notification is None:
                return
            if not self._may_notify(notification.pid):
                notification.close()
                continue  # anyone of its user may write to the socket
            message = WorkerMessage.from_assignments(notification.assignments)
            self.reason = self.reason if message.reason is None else message.reason
            if message.ending and self._ends_since is None:
                self._ends_since = self._loop.time()
            self._heard(notification)

    def _may_notify(self, pid: int) -> bool:
        if pid == self.pid or not self._whole_group:
            return pid == self.pid
        try:
            return pid != 0 and os.getpgid(pid) == self.pid
        except OSError:
            return False  # gone; systemd-notify(1) waits until it was heard, for that reason

    def _reap(self) -> None:
        self._listen(QUEUE)  # its last notifications may still be unread
        code = exit_code(self.pid)
        self.exit_status, self.killed_by = max(code or 0, 0), max(-(code or 0), 0)
        self._close()
        self._leftovers = Leftovers(self.pid, self._term_timeout(), self._reaped)
        self._leftovers.end()
        self._ended(in_words(code))

    def _term_timeout(self) -> float:
        """Return how long the rest of its group may take: less after an end that took long."""
        took = 0.0 if self._ends_since is None else self._loop.time() - self._ends_since
        return max(TERM_TIMEOUT - took, TERM_TIMEOUT / 2)

    def _reaped(self) -> None:
        with contextlib.suppress(ChildProcessError):  # see `exit_code`
            os.waitpid(self.pid, 0)
        self._leftovers = None
        self.gone.set()

    def let_go(self) -> None:
        """Neither hear nor reap it any more; the process that follows this one does."""
        self._stop_watching()

    def _stop_watching(self) -> None:
        self._loop.remove_reader(self._handle.manager.fileno())
        self._loop.remove_reader(self._handle.pidfd)

    def _close(self) -> None:
        self._stop_watching()
        self._handle.close()


def exit_code(pid: int) -> int | None:
    """Return the exit code of a child that has ended, without reaping it; below 0 for a signal.

    None if an app that waits for any child, or ignores SIGCHLD, was faster.
    """
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def in_words(code: int | None) -> str:
    """Return an exit code of `exit_code` in words."""
    if code is None:
        return "ended"
    return f"was killed by {_name(-code)}" if code < 0 else f"exited with status {code}"


def _name(number: int) -> str:
    """Return the name of a signal; of the real-time ones only the first and the last have one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
