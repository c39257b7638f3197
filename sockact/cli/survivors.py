"""Waits for the workers of a supervisor that has died during the reload for which `ExecReload=` waits.

They drain, and systemd does not stop them as long as its reload is under way, that is, until the end of the
process that it runs for `ExecReload=`. systemd then finds that the main process is gone, and kills all
that is left, whatever `ExitType=` is (252 and 257). So this process stays until it is the last one.
"""

from __future__ import annotations

import os
import select
import time

from sockact.systemd import unit_files

END_TIMEOUT = 2.0
"""Seconds within which a process has ended whose sockets are closed."""

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")

PAUSE = 0.1
"""Seconds between two looks at the cgroup: it does not tell of processes to come."""


class MainProcess:
    """The main process of this process's service, and its end.

    Args:
        pid: its PID; 0 if it is not known.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._poller: select.poll | None = None
        if pid:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                return
            self._poller = select.poll()
            self._poller.register(pidfd, select.POLLIN)

    def has_ended(self) -> bool:
        """Return whether it has ended, or ends within a moment."""
        return bool(self._pid) and (self._poller is None or bool(self._poller.poll(1000 * END_TIMEOUT)))

    def wait_for_the_others(self) -> None:
        """Wait until the service consists of this process alone; systemd limits how long that may take.

        Not if the service is to end with its main process: the rest would only hold up the restart.
        """
        service = unit_files.of_this_process(os.environ)
        said = {} if service is None else service.read()
        if said and said.get("Service.ExitType", ())[-1:] != ["cgroup"]:
            return
        where = unit_files.cgroup_of()
        while others := members(where) - {self._pid, os.getpid()}:
            for pid in others:
                _wait_ended(pid)
            time.sleep(PAUSE)


def members(cgroup: str) -> set[int]:
    """Return the processes in a cgroup and below it; none if the cgroup cannot be read."""
    for mount in MOUNTS if cgroup else ():
        if os.path.isdir(mount + cgroup):
            return {pid for folder, _, _ in os.walk(mount + cgroup) for pid in _processes(folder) if pid}
    return set()


def _processes(folder: str) -> list[int]:
    try:
        with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]  # 0 is a process of another PID namespace
    except OSError:
        return []


def _wait_ended(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return  # it has ended
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll()
    os.close(pidfd)
