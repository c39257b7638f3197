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
from typing import NamedTuple, Self

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
        self.lifeline.close()
        _close_manager(self.manager)


class ChildSockets:
    """The sockets of a child that does not exist yet: its notify socket, and both ends of its lifeline.

    Args:
        conditions: the conditions under which it is started.

    Attributes:
        theirs: its end of the lifeline, which it has to inherit or to receive.
        address: the address of its notify socket, for NOTIFY_SOCKET.

    Raises:
        OSError: no descriptors are left, or no socket can be bound.
    """

    def __init__(self, conditions: Conditions = USUAL) -> None:
        self._manager = _open_manager(conditions)
        try:
            self._lifeline, self.theirs = Lifeline.new()
        except BaseException:
            _close_manager(self._manager)
            raise
        self._taken = False
        self.address = self._manager.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the child's end of its lifeline; and the rest, unless a handle has it."""
        self.theirs.close()
        if not self._taken:
            _close_manager(self._manager)
            self._lifeline.close()

    def handle_of(self, pid: int) -> ChildHandle:
        """Return the handle of the child, which exists by now; these sockets are its own from now on.

        It is killed if there can be no handle of it: nobody else would know of it.
        """
        try:
            tie(self.theirs, pid)
            pidfd = os.pidfd_open(pid)
        except BaseException:
            end_now(pid)
            raise
        self._taken = True
        return ChildHandle(pid, pidfd, self._manager, self._lifeline)


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
    with ChildSockets(conditions) as sockets:
        theirs = sockets.theirs
        pid = fds.spawn(
            program.argv,
            [*listeners, Listener.of(theirs, LIFELINE)] if conditions.ours else listeners,
            program.environment({**environ, "NOTIFY_SOCKET": sockets.address}),
            inherited=[] if conditions.ours else [theirs.fileno()],
            directory=program.directory,
            most=conditions.most,
            blocked=conditions.blocked,
        )
        return sockets.handle_of(pid)


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


def _close_manager(manager: NotifySocket) -> None:
    manager.close()
    if manager.path:
        private_folder.OWN.give_back(manager.path)
