"""The standard streams of this process, which an app may replace, close or break as it likes.

What `sys` holds is the app's. Our own words, and Python's dump of a process that hangs, go to a copy of
descriptor 2 that is made before the app is loaded: where the app closes that one, its number may by then
lead to a client.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import select
import socket
import sys
from typing import Any

STDERR = 2
_ABOVE = 3
"""The copy has no number of a standard stream."""

PATIENCE = 1.0
"""Seconds to wait for room in a non-blocking standard error; what does not fit then is lost."""

_kept = STDERR


def secure() -> None:
    """Keep standard error for ourselves, and make `print` write line by line; once in a process.

    A standard stream that is closed is opened on /dev/null, so that no socket gets its number.
    """
    global _kept  # noqa: PLW0603 - there is one standard error
    if _kept != STDERR:
        return
    kept = _copy()
    null = _fill()
    if kept is None:
        _kept = null
    else:
        _kept = kept
        os.close(null)
    _write_line_by_line()
    atexit.register(_let_python_flush)


def descriptor() -> int:
    """Return the descriptor that our words go to."""
    return _kept


def fill() -> None:
    """Open on /dev/null what an app has closed of the standard streams; libuv aborts if it gets one.

    Nor does Python start a thread where `sys` has no name for them. Our copy of standard error is made
    again, so that it can be said what else was closed.
    """
    with contextlib.suppress(OSError):  # no descriptor is left, so that none of these is closed
        os.close(_fill())
    try:
        os.fstat(_kept)
    except OSError:
        os.dup2(STDERR, _kept, inheritable=False)
    for name in ("stdin", "stdout", "stderr"):
        if not hasattr(sys, name):
            setattr(sys, name, None)


def above(sock: socket.socket) -> socket.socket:
    """Return a socket by a number that is no standard stream's."""
    if sock.fileno() >= _ABOVE:
        return sock
    moved = socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _ABOVE))
    sock.close()
    fill()
    return moved


def restore() -> None:
    """Give descriptor 2 back what it was, for a program that is executed in this process."""
    if _kept != STDERR:
        os.dup2(_kept, STDERR)


def write(text: str) -> None:
    """Write our words; who does not take them harms nobody."""
    data = text.encode("utf-8", "backslashreplace")
    while data:
        try:
            data = data[os.write(_kept, data) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(_kept, select.POLLOUT)
            if not poller.poll(PATIENCE * 1000):
                return
        except OSError:
            return


class Errors(io.TextIOWrapper):
    """A text stream of its own over standard error, which nobody can close."""

    def __init__(self) -> None:
        raw = open(_kept, "wb", closefd=False)  # noqa: SIM115 - as long as the process
        super().__init__(raw, "utf-8", "backslashreplace", line_buffering=True)

    def close(self) -> None:
        """Stay open."""
        self.flush()


def flush() -> None:
    """Write out what is still in a buffer of the standard streams, as far as that is possible."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        _flushed(getattr(sys, name, None))


def _flushed(stream: Any) -> bool:
    try:
        if stream is not None:
            stream.flush()
    except BaseException:  # noqa: BLE001 - whatever an app has put there, the process has to end
        return False
    return True


def _fill() -> int:
    """Open the standard streams that are closed; return a descriptor of /dev/null beyond them."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while null < _ABOVE:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    return null


def _copy() -> int | None:
    """Return a copy of standard error; None where there is none.

    What the process was started with is inherited; a file that Python has opened later, and that got the
    number since it was free, is not.
    """
    try:
        if fcntl.fcntl(STDERR, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return None
        return fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    except OSError:
        return None


def _write_line_by_line() -> None:
    """Let what an app prints appear at once, also where it is no terminal but the journal.

    Python buffers some 8 KiB there, which a worker that is killed takes with it.
    """
    stream = getattr(sys, "stdout", None)
    if type(stream) is io.TextIOWrapper and not stream.closed:
        stream.reconfigure(line_buffering=True)


class _Unflushed:
    """A stream that cannot be flushed, and whom nobody asks to."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Do nothing."""


def _let_python_flush() -> None:
    """Keep Python from the exit status 120, which it has for a standard stream that cannot be flushed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if not _flushed(stream):
            setattr(sys, name, _Unflushed(stream))
