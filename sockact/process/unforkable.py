"""Finds what a process cannot take along into a child that it forks: threads, and connections to others.

A forked child has the thread that forks, and no other: a lock that another one holds stays locked for ever.
Of an open socket all children have the same connection, and read each other's answers; the same holds for
epoll descriptors, and so for event loops. CUDA and gRPC forbid it themselves.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from sockact.process.holders import described
from sockact.protocols.counters import count
from sockact.sockets.fds import written

_SHARED = {
    "anon_inode:[eventpoll]": "an epoll descriptor, as an event loop has it",
    "anon_inode:[io_uring]": "an io_uring",
    "anon_inode:inotify": "an inotify descriptor",
}
"""Descriptors that children would share, beside sockets, by their targets in /proc/self/fd."""

_POOLS = ("openblas", "mkl_rt")
"""Libraries whose threads end before a fork(2), and start again after it. Source: their manuals."""


def obstacles(ours: Collection[int]) -> list[str]:
    """Return what stands against a fork of this process, each in words; `ours` are our own descriptors."""
    return [*_threads(), *_descriptors(ours)]


def _threads() -> Iterator[str]:
    main = threading.get_ident()
    known = {thread.ident: thread for thread in threading.enumerate()}
    others = [ident for ident in sys._current_frames() if ident != main]  # noqa: SLF001 - documented
    for ident in others:
        thread = known.get(ident)
        yield described("without a name" if thread is None else repr(thread.name), ident)
    natives = len(os.listdir("/proc/self/task")) - 1 - len(others)
    if natives > 0 and "grpc" in sys.modules:
        yield f"gRPC with {count(natives, 'thread')}"
    elif natives > 0 and not _has_pool():
        yield f"{count(natives, 'thread')} without a function of Python, as libraries start them"


def _has_pool() -> bool:
    """Return whether a library is loaded that starts threads at its import, and is prepared for a fork."""
    with open("/proc/self/maps", errors="replace") as file:
        return any(name in line for line in file for name in _POOLS)


def _descriptors(ours: Collection[int]) -> Iterator[str]:
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        if fd in ours or fd <= 2:
            continue
        with contextlib.suppress(OSError):  # that of the folder which was listed is closed again
            target = os.readlink(f"/proc/self/fd/{fd}")
            if target in _SHARED:
                yield f"{_SHARED[target]} ({fd})"
            elif target.startswith("/dev/nvidia"):
                yield f"CUDA: {target} ({fd})"
            elif target.startswith("socket:") and (text := _connection(fd)):
                yield f"a socket, {text} ({fd})"


def _connection(fd: int) -> str:
    """Return the addresses of a socket; empty if sharing it does no harm.

    That is so for one which only sends datagrams, as those of the journal and of syslog.
    """
    with socket.socket(fileno=os.dup(fd)) as sock:
        local, peer = _name(sock, sock.getsockname), _name(sock, sock.getpeername)
        if sock.type == socket.SOCK_DGRAM and not local and (not peer or sock.family == socket.AF_UNIX):
            return ""
        return " to ".join(each for each in (local, peer) if each) or "without an address"


def _name(sock: socket.socket, ask: Callable[[], Any]) -> str:
    """Return one of the addresses of a socket; empty if it has none."""
    try:
        name = ask()
    except OSError:
        return ""
    bound = name[1] if sock.family in (socket.AF_INET, socket.AF_INET6) else name
    return written(sock.family, name) if bound else ""
