"""The processes of a service, as /proc shows them."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from tests.support.manager import wait_ended, wait_until

TEMPLATE = "sockact-forks"


def workers(pid: int) -> list[int]:
    """Return the PIDs of a process's children, without templates."""
    return [child for child in children(pid) if name(child) != TEMPLATE]


def template(pid: int) -> int:
    """Return the PID of the newest template of a supervisor; 0 if there is none."""
    return next((child for child in reversed(children(pid)) if name(child) == TEMPLATE), 0)


def children(pid: int) -> list[int]:
    """Return the PIDs of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name(pid: int) -> str:
    """Return the name of a process as ps(1) shows it; empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def wait_gone(pid: int) -> None:
    """Wait until a process has ended and was reaped."""
    with contextlib.suppress(ProcessLookupError):
        wait_ended(pid)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def serving(pid: int) -> int:
    """Return the PID of the process that serves, if there is one."""
    return (workers(pid) or [pid])[0]


def allow(pid: int, number: int) -> None:
    """Set how many descriptors a process may have open."""
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, most))
