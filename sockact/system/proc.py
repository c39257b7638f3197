"""What the kernel says of a process in /proc."""

from __future__ import annotations


def stat(pid: int) -> list[str] | None:
    """Return what follows a process's name in proc_pid_stat(5): state, parent, group, session, terminal.

    None if there is no such process. The name may contain anything: parentheses, and what is no text.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
