"""A child process that notifies this one: its notifications, its end, and the rest of its process group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence

from sockact.process.command import Program
from sockact.process.parent_death import Lifeline
from sockact.process.process_group import TERM_TIMEOUT, Leftovers, kill_group
from sockact.protocols.notify import Notification, NotifySocket
from sockact.protocols.worker_messages import WorkerMessage
from sockact.sockets import fds
from sockact.sockets.fds import Listener
from sockact.system import forks, private_folder

NOTIFICATIONS_PER_TURN = 64
"""Notifications read in one turn of the loop: a child that goes on sending must not hold up all others."""

QUEUE = 4096
"""More than can wait in the queue: net.unix.max_dgram_qlen, 10 in the kernel and 512 with systemd."""


class Child:
    """A child that was started with a notify socket of its own; it is reaped here, with its process group.

    If this process is killed, the child gets SIGTERM.

    Args:
        program: the command.
        listeners: the sockets that are passed to it.
        most: its soft limit of open descriptors; None for that of this process.
        environ: variables beside the program's environment.
        heard: called with each of its notifications.
        ended: called once, when it has ended, with how, in words; the rest of its group may live on.
        blocked: signals that it starts with blocked.
        whole_group: the other processes of its process group may notify for it, as with systemd's
            `NotifyAccess=all`.
        stores: `heard` takes over the descriptors that come with FDSTORE=1.
        ours: the program is sockact, and knows its lifeline by name.
        private: only this process's user, and root, can reach its notify socket; the child could not, if it
            changed its user before it notifies.

    Attributes:
        reason: the reason for which it gives up, if it has told.
        exit_status: its exit status, once it has ended; 0 after a signal.
        gone: set when nothing is left of its process group either, and it was reaped.

    Raises:
        OSError: no process can be started.
        SettingsError: an environment file of the program cannot be used.
    """

    def __init__(
        self,
        program: Program,
        listeners: Sequence[Listener],
        environ: Mapping[str, str],
        *,
        heard: Callable[[Notification], None],
        ended: Callable[[str], None],
        most: int | None = None,
        blocked: Sequence[signal.Signals] = (),
        whole_group: bool = False,
        stores: bool = False,
        ours: bool = False,
        private: bool = True,
    ) -> None:
        self.reason, self.exit_status = "", 0
        self.gone = asyncio.Event()
        self._leftovers: Leftovers | None = None
        self._ends_since: float | None = None
        self._heard, self._ended, self._whole_group = heard, ended, whole_group
        with contextlib.ExitStack() as undone:
            self._opened = undone.enter_context(contextlib.ExitStack())
            self._manager = self._open_manager(stores=stores, private=private)
            self.pid = self._spawn(program, listeners, environ, most, blocked, ours=ours)
            undone.callback(_killed, self.pid)  # nobody else would know of it
            self._lifeline.tie(self.pid)
            self._pidfd = os.pidfd_open(self.pid)
            undone.pop_all()
        self._watch()

    def _watch(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._manager.fileno(), self._listen)
        self._loop.add_reader(self._pidfd, self._reap)

    def _open_manager(self, *, stores: bool, private: bool) -> NotifySocket:
        path = private_folder.OWN.new_numbered("n") if private else None
        if path is not None:
            self._opened.callback(private_folder.OWN.give_back, path)
        manager = self._opened.enter_context(NotifySocket(path, stores=stores))
        forks.keep(manager)
        return manager

    def _spawn(
        self,
        program: Program,
        listeners: Sequence[Listener],
        environ: Mapping[str, str],
        most: int | None,
        blocked: Sequence[signal.Signals],
        *,
        ours: bool,
    ) -> int:
        self._lifeline = self._opened.enter_context(Lifeline())
        return fds.spawn(
            program.argv,
            [*listeners, self._lifeline.named()] if ours else listeners,
            program.environment({**environ, "NOTIFY_SOCKET": self._manager.address}),
            inherited=[] if ours else [self._lifeline.fileno()],
            directory=program.directory,
            most=most,
            blocked=blocked,
        )

    def has_ended(self) -> bool:
        """Return whether the process has ended; it is not reaped before `ended` is about to be called."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, which cannot be mistaken for another: it is not reaped yet."""
        signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kill it and its process group, and wait for that; `ended` is not called any more."""
        if self._leftovers is not None:
            self._leftovers.kill()
        elif not self.gone.is_set():
            _killed(self.pid)
            self._close()
            self.gone.set()

    def _listen(self, most: int = NOTIFICATIONS_PER_TURN) -> None:
        for _ in range(most):
            notification = self._manager.receive()
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
        code = _exit_code(self.pid)
        self.exit_status = max(code or 0, 0)
        self._close()
        self._leftovers = Leftovers(self.pid, self._term_timeout(), self._reaped)
        self._leftovers.end()
        self._ended(_in_words(code))

    def _term_timeout(self) -> float:
        """Return how long the rest of its group may take: less after an end that took long."""
        took = 0.0 if self._ends_since is None else self._loop.time() - self._ends_since
        return max(TERM_TIMEOUT - took, TERM_TIMEOUT / 2)

    def _reaped(self) -> None:
        with contextlib.suppress(ChildProcessError):  # see `_exit_code`
            os.waitpid(self.pid, 0)
        self._leftovers = None
        self.gone.set()

    def _close(self) -> None:
        self._loop.remove_reader(self._manager.fileno())
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._opened.close()


def _killed(pid: int) -> None:
    """Kill a child's process group, and reap the child. It leads a group of its own, see `fds.spawn`."""
    kill_group(pid)
    with contextlib.suppress(ChildProcessError):  # see `_exit_code`
        os.waitpid(pid, 0)


def _exit_code(pid: int) -> int | None:
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


def _in_words(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"was killed by {_name(-code)}" if code < 0 else f"exited with status {code}"


def _name(number: int) -> str:
    """Return the name of a signal; of the real-time ones only the first and the last have one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
