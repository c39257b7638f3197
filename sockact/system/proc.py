"""Reads the state of a process."""

from __future__ import annotations

import contextlib
import os


def lives(pid: int) -> bool:
    """Return whether there is a process of this PID.

    /proc does not tell: with `ProtectProc=invisible` and `PrivateUsers=yes`, which the shipped units have,
    it hides processes that are left over from before a restart.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def stat(pid: int) -> list[str] | None:
    """Return the fields after the name in proc_pid_stat(5): state, parent, group, session, terminal.

    None if there is no such process. The name may contain parentheses, and bytes that are no text.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def name_this_process(name: str) -> None:
    """Give this process a name, as ps(1) and top(1) show it; of at most 15 bytes."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(name)


def name_of(pid: int) -> str:
    """Return the name of a process, as proc_pid_comm(5) has it."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "another process"
