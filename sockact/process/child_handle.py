"""The handle of a child process: the descriptors by which this process hears, signals and watches it.

    pidfd       tells its end, and takes signals for it that no other process can get
    manager     the notify socket whose address it has
    lifeline    sends it SIGTERM when all copies are closed

A handle outlives this process if systemd stores it: `process.left_over` then makes another one of it, in
the process that follows.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sockact.process.command import Program
from sockact.process.parent_death import LIFELINE, Lifeline, tie
from sockact.process.process_group import kill_group
from sockact.protocols.notify import NotifySocket
from sockact.sockets import fds
from sockact.sockets.fds import Listener
from sockact.system import forks, private_folder


class Conditions(NamedTuple):
    """The conditions under which a child is started.

    Attributes:
        most: its soft limit of open descriptors; None for that of this process.
        blocked: signals that it starts with blocked.
        stores: descriptors that it sends with FDSTORE=1 are kept.
        ours: the program is sockact, and knows its lifeline by name.
        private: only this process's user, and root, can reach its notify socket; the child could not, if it
            changed its user before it notifies.
    """

    most: int | None = None
    blocked: Sequence[signal.Signals] = ()
    stores: bool = False
    ours: bool = False
    private: bool = True


USUAL = Conditions()


class ChildHandle(NamedTuple):
    """The handle of a child process.

    Attributes:
        pid: the process; it leads a process group of this number.
        pidfd: refers to it as long as it is not reaped.
        manager: its notify socket.
        lifeline: the parent's end.
    """

    pid: int
    pidfd: int
    manager: NotifySocket
    lifeline: Lifeline

    def descriptors(self) -> list[int]:
        """Return the descriptors from which another process can make the same handle."""
        return [self.pidfd, self.manager.fileno(), self.lifeline.fileno()]

    def close(self) -> None:
        """Close all of it; the child gets SIGTERM if it still lives, and nobody else has a copy."""
        os.close(self.pidfd)
        self.manager.close()
        self.lifeline.close()
        if self.manager.path:
            private_folder.OWN.give_back(self.manager.path)


def spawn(
    program: Program,
    listeners: Sequence[Listener],
    environ: Mapping[str, str],
    conditions: Conditions = USUAL,
) -> ChildHandle:
    """Start a child that has a notify socket of its own, and a process group.

    Args:
        program: the command.
        listeners: the sockets that are passed to it.
        environ: variables beside the program's environment.
        conditions: the conditions under which it is started.

    Raises:
        OSError: no process can be started.
        SettingsError: an environment file of the program cannot be used.
    """
    with contextlib.ExitStack() as undone:
        manager = undone.enter_context(_open_manager(conditions))
        if manager.path:
            undone.callback(private_folder.OWN.give_back, manager.path)
        ours, theirs = Lifeline.new()
        lifeline = undone.enter_context(ours)
        with theirs:
            pid = fds.spawn(
                program.argv,
                [*listeners, Listener.of(theirs, LIFELINE)] if conditions.ours else listeners,
                program.environment({**environ, "NOTIFY_SOCKET": manager.address}),
                inherited=[] if conditions.ours else [theirs.fileno()],
                directory=program.directory,
                most=conditions.most,
                blocked=conditions.blocked,
            )
            tie(theirs, pid)
        undone.callback(end_now, pid)  # nobody else would know of it
        handle = ChildHandle(pid, os.pidfd_open(pid), manager, lifeline)
        undone.pop_all()
    return handle


def end_now(pid: int) -> None:
    """Kill a child's process group, and reap the child. It leads a group of its own, see `fds.spawn`."""
    kill_group(pid)
    with contextlib.suppress(ChildProcessError):  # an app that waits for any child was faster
        os.waitpid(pid, 0)


def _open_manager(conditions: Conditions) -> NotifySocket:
    path = private_folder.OWN.new_numbered("n") if conditions.private else None
    try:
        manager = NotifySocket(path, stores=conditions.stores)
    except BaseException:
        if path is not None:
            private_folder.OWN.give_back(path)
        raise
    forks.keep(manager)
    return manager
