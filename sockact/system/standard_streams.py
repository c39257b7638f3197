"""The standard streams of this process, which an app may replace, close or break.

The streams in `sys` are the app's. Our own output, and Python's dump of a process that hangs, go to a copy
of descriptor 2 that is made before the app is loaded: if the app closes descriptor 2, the number may later
be a client's connection.
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
"""The first number that is no standard stream's."""

WRITE_TIMEOUT = 1.0
"""Seconds to wait for room in standard error; the rest of the text is then lost."""

PIECE = select.PIPE_BUF
"""Bytes that can be written without a wait to a pipe that has room, says poll(2). Source: pipe(7)."""

_kept = STDERR
_stuck = False  # its reader took nothing the last time


def secure() -> None:
    """Copy standard error for our own output, and make `print` line-buffered; once in a process.

    Closed standard streams are opened on /dev/null, so that no socket gets their numbers.
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
    """Return the descriptor for our own output."""
    return _kept


def is_terminal() -> bool:
    """Tell whether our own output goes to a terminal."""
    return os.isatty(_kept)


def fill() -> None:
    """Open on /dev/null the standard streams that an app has closed; libuv aborts if it gets their numbers.

    Their names in `sys` are restored too: Python cannot start a thread without them. Our copy of standard
    error is made again, so that it can be said what else was closed.
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
    """Move a socket to a descriptor that is no standard stream's."""
    if sock.fileno() >= _ABOVE:
        return sock
    moved = socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _ABOVE))
    sock.close()
    fill()
    return moved


def restore() -> None:
    """Restore descriptor 2 for a program that is executed in this process."""
    if _kept != STDERR:
        os.dup2(_kept, STDERR)


def write(text: str) -> bool:
    """Write text to standard error, unless its reader takes nothing for `WRITE_TIMEOUT`.

    Returns:
        Whether all of it was written. After a failure the next text does not wait: a reader that hangs must
        not hold up a process that serves.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    try:
        while data:
            if not _has_room():
                return False
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(_kept, data[:PIECE]) :]
    except OSError:
        return False
    return True


def _has_room() -> bool:
    """Wait until `PIECE` bytes can be written to standard error; return False if that lasts too long."""
    global _stuck  # noqa: PLW0603 - there is one standard error
    poller = select.poll()
    poller.register(_kept, select.POLLOUT)
    _stuck = not poller.poll(0 if _stuck else WRITE_TIMEOUT * 1000)
    return not _stuck


class Errors(io.TextIOWrapper):
    """A separate text stream over standard error, which cannot be closed."""

    def __init__(self) -> None:
        raw = open(_kept, "wb", closefd=False)  # noqa: SIM115 - as long as the process
        super().__init__(raw, "utf-8", "backslashreplace", line_buffering=True)

    def close(self) -> None:
        """Flush, and stay open."""
        self.flush()


def flush() -> None:
    """Flush the buffers of the standard streams; errors are ignored."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        _flushed(getattr(sys, name, None))


def _flushed(stream: Any) -> bool:
    try:
        if stream is not None:
            stream.flush()
    except BaseException:  # noqa: BLE001 - an app may set any object, and the process has to end
        return False
    return True


def _fill() -> int:
    """Open closed standard streams on /dev/null; return a descriptor of /dev/null above them."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while null < _ABOVE:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    return null


def _copy() -> int | None:
    """Return a copy of standard error; None if there is none.

    A stream that the process was started with is inheritable; a file that Python has opened later, under
    the free number, is not.
    """
    try:
        if fcntl.fcntl(STDERR, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return None
        return fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    except OSError:
        return None


def _write_line_by_line() -> None:
    """Make an app's output appear at once, also in the journal.

    Python buffers some 8 KiB if stdout is no terminal, and a killed worker loses them.
    """
    stream = getattr(sys, "stdout", None)
    if type(stream) is io.TextIOWrapper and not stream.closed:
        stream.reconfigure(line_buffering=True)


class _Unflushed:
    """Wraps a stream that cannot be flushed; its `flush` does nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Do nothing."""


def _let_python_flush() -> None:
    """Prevent Python's exit status 120 for a standard stream that cannot be flushed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if not _flushed(stream):
            setattr(sys, name, _Unflushed(stream))
