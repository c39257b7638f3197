"""The processes of a service, as /proc shows them."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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


def held(address: Any, pids: Iterable[int]) -> dict[int, int]:
    """Return how many connections on this IPv4 address of ours each process has, as the kernel tells."""
    host = f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[1] == host and row[3] in _OPEN}
    return {pid: sum(link in ours for link in _links(pid)) for pid in pids}


_OPEN = ("01", "08")
"""TCP_ESTABLISHED and TCP_CLOSE_WAIT."""


def _links(pid: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                yield str(link.readlink())
