"""LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, and the descriptors: adopted in a child process, or refused.

An input has a line for each variable, `-` if it is not set and `own` for the PID, and one with a letter for
each descriptor.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import traceback
import warnings
from collections.abc import Mapping

from sockact.errors import ActivationError, SockactError
from sockact.process.descriptors import Sockets
from sockact.sockets import fds
from tests.fuzz.descriptors import LETTERS, Descriptors
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"own",
        b"-",
        b"\n",
        b"0",
        b"1",
        b"2",
        b"3",
        b"01",
        b"0x2",
        b"-1",
        b"+1",
        b" 1",
        b":",
        b"9" * 19,
        b"9" * 30,
    ),
    *(
        b"web",
        b"unknown",
        b"sockact.connection",
        b"sockact.control",
        b"sockact.caller",
        b"sockact.supply",
        b"health",
    ),
    *(
        b"sockact.lifeline",
        b"sockact.forks",
        b"sockact.load.1",
        b"sockact.worker.1.1",
        b"sockact.",
        b"sockact.health",
    ),
    *(b"\xff", b"stdin", *(letter.encode() for letter in LETTERS)),
)

MOST = 12
"""Descriptors of an input."""


def target(data: bytes) -> None:
    """Adopt descriptors."""
    values = Values(data.replace(b"\0", b""))
    environ = {}
    for name in fds.VARIABLES:
        line = values.line()
        if line != b"-":
            environ[name] = line.decode("utf-8", "surrogateescape")
    letters = values.line().decode("latin-1")[:MOST]
    own = environ.get("LISTEN_PID") == "own"
    pid = os.getpid()
    _check_declared({**environ, "LISTEN_PID": str(pid)} if own else environ, pid, len(letters))
    if own:  # a child for each other input would cost too much
        _in_child(environ, letters)


def _check_declared(environ: Mapping[str, str], pid: int, count: int) -> None:
    last = fds.FIRST + count
    fds.meant_for_another(environ, pid)
    try:
        names = fds.declared(environ, pid, lambda fd: fds.FIRST <= fd < last)
    except ActivationError as error:
        if not str(error).isprintable():
            raise Broken(f"an error with more than a line: {str(error)!r}") from error
        return
    if len(names) > count:
        raise Broken(f"{len(names)} names for {count} descriptors")


def _in_child(environ: Mapping[str, str], letters: str) -> None:
    """Adopt in a child; raise what it reports."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: the child needs none
        pid = os.fork()
    if not pid:
        _live(environ, letters, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            poller = select.poll()
            poller.register(pipe, select.POLLIN)
            poller.poll(30_000)
            os.set_blocking(reading, False)
            told = pipe.read() or b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if told != b"fine":
        raise Broken(told.decode() or "the child has ended, or hangs, without a word")


def _live(environ: Mapping[str, str], letters: str, writing: int) -> None:
    told = b"fine"
    try:
        _adopt(environ, letters, writing)
    except BaseException:  # noqa: BLE001 - all of it is reported
        told = traceback.format_exc().encode("utf-8", "backslashreplace")[:4000]
    finally:
        os.write(1000, told)
        os._exit(0)


def _adopt(environ: Mapping[str, str], letters: str, writing: int) -> None:
    os.dup2(writing, 1000)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, 1000)
    os.closerange(1001, 4096)
    made = Descriptors()
    for number, letter in enumerate(letters):
        fd = made.make(letter)
        os.dup2(fd, 500 + number)
    os.closerange(3, 500)
    for number in range(len(letters)):
        os.dup2(500 + number, fds.FIRST + number, inheritable=True)
    os.closerange(500, 1000)
    for variable in fds.VARIABLES:
        os.environ.pop(variable, None)
    os.environ.update({**environ, "LISTEN_PID": str(os.getpid())})
    fds.shut_in(os.environ, os.getpid())
    try:
        count = len(fds.declared(os.environ, os.getpid(), fds._is_open))
    except ActivationError:
        count = 0  # all stay open
    passed = range(fds.FIRST, fds.FIRST + count)
    _check_adopted(Sockets.adopted(), passed)


def _check_adopted(sockets: Sockets, passed: range) -> None:
    if left := [name for name in fds.VARIABLES if name in os.environ]:
        raise Broken(f"{left} are left to the app's children")
    with contextlib.suppress(SockactError):
        sockets.check(told=True)
    owned = set(sockets.descriptors())
    if inheritable := [fd for fd in owned if os.get_inheritable(fd)]:
        raise Broken(f"{inheritable} are left to the app's children")
    for worker in sockets.left_over.take():
        owned |= set(worker.handle.descriptors()) | ({worker.supply.fileno()} if worker.supply else set())
    lost = {fd for fd in passed if fds._is_open(fd)} - owned
    if lost and sockets.fault is None:
        raise Broken(f"{sorted(lost)} are open, and nobody has them")
    sockets.describe()
    sockets.overview()
    sockets.addresses()
    sockets.close()
