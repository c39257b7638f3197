"""A child process that notifies us: what it says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence

from sockact import fds
from sockact.fds import Listener
from sockact.lifeline import Lifeline
from sockact.notify import Notification, NotifySocket
from sockact.program import Program
from sockact.reporter import REASON


class Child:
    """A child that was started with a notify socket of its own; reaped here, and closed with that.

    Should this process be killed, it gets SIGTERM.

    Args:
        program: what to start.
        listeners: what is passed to it.
        most: its soft limit of open descriptors; None for that of this process.
        environ: what it gets beside the program's environment.
        heard: called with each of its notifications.
        ended: called once, when it has ended and was reaped; with how it ended, in words.
        blocked: signals that it starts with blocked.
        whole_group: whether the other processes of its process group may speak for it, as with systemd's
            `NotifyAccess=all`.
        stores: whether `heard` takes over the descriptors that come with FDSTORE=1.

    Attributes:
        reason: why it gives up, if it has said so.
        exit_status: its exit status, once it has ended; 0 after a signal.

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
    ) -> None:
        self.reason = ""
        self.exit_status = 0
        self._whole_group = whole_group
        self._heard = heard
        self._ended = ended
        with contextlib.ExitStack() as undone:
            opened = undone.enter_context(contextlib.ExitStack())
            self._manager = opened.enter_context(NotifySocket(stores=stores))
            lifeline = opened.enter_context(Lifeline())
            self.pid = fds.spawn(
                program.argv,
                listeners,
                program.environment({**environ, "NOTIFY_SOCKET": self._manager.address}),
                inherited=[lifeline.fileno()],
                directory=program.directory,
                most=most,
                blocked=blocked,
            )
            undone.callback(_reaped, self.pid)  # nobody else would know of it
            lifeline.tie(self.pid)
            self._pidfd = os.pidfd_open(self.pid)
            undone.pop_all()
            self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._manager.fileno(), self._listen)
        self._loop.add_reader(self._pidfd, self._reap)

    def has_ended(self) -> bool:
        """Tell whether the process has ended; it is not reaped before `ended` is about to be called."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, which cannot be mistaken for another: it is not reaped yet."""
        signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End it and the children in its process group, and wait for that; `ended` is not called."""
        _reaped(self.pid)
        self._close()

    def _listen(self) -> None:
        while notification := self._manager.receive():
            if not self._may_speak(notification.pid):
                notification.close()
                continue  # anyone may write to the socket
            self.reason = notification.assignments.get(REASON, self.reason)
            self._heard(notification)

    def _may_speak(self, pid: int) -> bool:
        if pid == self.pid or not self._whole_group:
            return pid == self.pid
        try:
            return pid != 0 and os.getpgid(pid) == self.pid
        except ProcessLookupError:
            return False  # gone; so systemd-notify(1) waits until it was heard

    def _reap(self) -> None:
        self._listen()  # what it said last may still be unread
        code = _reaped(self.pid)
        self.exit_status = max(code or 0, 0)
        self._close()
        self._ended(_in_words(code))

    def _close(self) -> None:
        self._loop.remove_reader(self._manager.fileno())
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._opened.close()


def _reaped(pid: int) -> int | None:
    """Kill what is left of a child's process group, reap the child, and return its exit code.

    Below 0 for a signal, and None if an app that waits for any child, or ignores SIGCHLD, was faster.

    It leads a group of its own, see `fds.spawn`. An app's own child processes would otherwise stay
    until the service ends, and pile up over reloads; `KillMode=mixed` does the same to a service.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # not reaped yet, so that the number is still its own
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _in_words(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"was killed by {_name(-code)}" if code < 0 else f"exited with status {code}"


def _name(number: int) -> str:
    """Return what a signal is called; the real-time ones have no names but the first and the last."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
