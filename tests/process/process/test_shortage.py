"""A process that cannot be started, or executed, leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.process import child_handle
from sockact.process.child import Child
from sockact.process.command import Program
from sockact.sockets import fds
from sockact.sockets.fds import Listener
from tests.support.manager import LIMIT, listening, open_descriptors
from tests.support.processes import workers


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leave this process so many descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, limits[1]))
    filled: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))
        for fd in free:
            os.close(fd)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in filled:
            os.close(fd)


def test_no_descriptor_is_lost_where_there_are_too_few_for_a_process() -> None:
    listeners = [listening() for _ in range(3)]
    before = open_descriptors(os.getpid())

    with descriptors_left(2), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        fds.spawn(["true"], listeners, os.environ)

    assert open_descriptors(os.getpid()) == before
    for listener in listeners:
        listener.close()


def test_a_child_that_cannot_be_watched_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_pid: int) -> int:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    async def start() -> None:
        program = Program(("sleep", str(LIMIT)), "/", dict(os.environ))
        Child(child_handle.spawn(program, [], {}), heard=lambda _: None, ended=lambda _: None)

    before = workers(os.getpid())
    monkeypatch.setattr(os, "pidfd_open", none_left)

    with pytest.raises(OSError, match=os.strerror(errno.ENFILE)):
        asyncio.run(start())

    assert workers(os.getpid()) == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_is_said_of_a_program_that_cannot_be_executed_goes_to_no_other_socket(tmp_path: Path) -> None:
    """In a child, which overwrites descriptors of its own."""
    (ours, theirs), (client, served) = socket.socketpair(), socket.socketpair()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            manager = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, fds.FIRST)
            high = fcntl.fcntl(served, fcntl.F_DUPFD_CLOEXEC, 100 + manager)
            connections = [Listener.of(socket.socket(fileno=os.dup(high)), "x") for _ in range(manager)]
            try:
                fds.replace([str(tmp_path / "nothing")], connections, os.environ)
            except OSError:
                os.write(manager, b"failed")
        os._exit(0)
    theirs.close()
    served.close()
    os.waitpid(child, 0)

    with ours, client:
        assert ours.recv(100) == b"failed"
        assert client.recv(100) == b""
