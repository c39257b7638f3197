"""The end of a process that serves: each step of it has a deadline, and the log names what holds it up.

The steps are the drain, the app's shutdown, the end of the event loop, and that of Python, which waits for
threads and exit handlers without a limit. A step that takes too long is the last one: the process exits.

One thread keeps the time, and another one reports: the log may be what hangs. Both are started early, since
Python 3.12 starts no thread any more when it ends. Where no thread runs, because C code holds the GIL or
Python's modules are gone already, faulthandler ends the process: with exit status 1, since it knows no
other, and with the stacks on stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable

from sockact.process.holders import holders
from sockact.protocols.notify import one_line
from sockact.system import standard_streams

MIN_END = 0.5
"""The least seconds for an end: one that nothing holds up is orderly, whatever the setting."""

REPORT_TIMEOUT = 0.5
"""Seconds for the report, or for writing out what is in buffers."""

FAULTHANDLER_MARGIN = 1.0
"""Seconds beyond a deadline until faulthandler ends the process."""

logger = logging.getLogger(__package__)


class Exit:
    """The deadlines of this process's end; a child that it forks has none of them.

    Attributes:
        status: the exit status, if the process exits at a deadline.
    """

    def __init__(self) -> None:
        self.status = 0
        self._on_expiry: Callable[[], object] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._end: float | None = None
        self._step = ""
        self._limit = 0.0
        self._expired = threading.Event()
        self._reported = threading.Event()
        self._threads = False
        self._stderr: int | None = None

    def serve(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], object]) -> None:
        """Set the event loop that runs, and the last action of an end that takes too long.

        Args:
            loop: the report names the tasks that are left in it.
            on_expiry: called after the report, before the process is killed; must not wait for long, and
                may execute another program.
        """
        self._loop, self._on_expiry = loop, on_expiry

    def within(self, seconds: float | None, step: str) -> None:
        """Bound the next step of the end to so many seconds; None for no limit."""
        if os.getpid() != self._pid:
            return
        self._start_threads()
        with self._changed:
            self._step = step
            self._limit = seconds or 0.0
            self._deadline = None if seconds is None else time.monotonic() + seconds
            self._changed.notify_all()
        if seconds is None:
            faulthandler.cancel_dump_traceback_later()
            return
        if self._stderr is None:
            self._stderr = _unblocked_stderr()
        _end_in(seconds + FAULTHANDLER_MARGIN, self._stderr)

    def begin(self, limit: float) -> None:
        """Bound the rest of the end: that of the event loop and that of Python together."""
        if self._end is None:
            limit = max(limit, MIN_END)
            self._end = time.monotonic() + limit
            self.within(limit, "the end of its event loop")

    def go_on(self) -> None:
        """Bound the end of Python by the rest of that time."""
        assert self._end is not None
        self.within(max(self._end - time.monotonic(), 0.0), "its end")

    def pause(self) -> None:
        """Lift the bound for a program that goes on; the rest of the time bounds the end of Python."""
        assert self._end is not None
        left = max(self._end - time.monotonic(), 0.0)
        self.within(None, "")

        def begin() -> None:
            if self.status == 0 and getattr(sys, "last_value", None) is not None:
                self.status = 1  # of a program that an exception has ended
            self.within(left, "its end")

        _before_python_ends(begin)

    def _start_threads(self) -> None:
        if self._threads:
            return
        self._threads = True
        standard_streams.fill()
        try:
            for work in (self._keep_time, self._report):
                threading.Thread(target=work, name=f"sockact.exit.{work.__name__}", daemon=True).start()
        except RuntimeError as error:  # the limit of threads is reached
            logger.warning("no thread can be started, the parent of this process bounds its end: %s", error)

    def _keep_time(self) -> None:
        with self._changed:
            while self._deadline is None or self._deadline > time.monotonic():
                self._changed.wait(None if self._deadline is None else self._deadline - time.monotonic())
        _end_in(2 * FAULTHANDLER_MARGIN, self._stderr or standard_streams.descriptor())
        self._expired.set()
        self._reported.wait(REPORT_TIMEOUT)
        try:
            self._on_expiry()
        except SystemExit as error:
            self.status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(self.status)

    def _report(self) -> None:
        self._expired.wait()
        held = "; ".join(holders(None if self._end is None else self._loop)) or "nothing that can be named"
        text = "pid=%d exits: %s took longer than %.1f s, held by %s"
        logger.warning(text, self._pid, self._step, self._limit, one_line(held))
        _flush()
        self._reported.set()


def flush() -> None:
    """Write out what is still in buffers, before the process ends without Python's help.

    As far as that takes a moment only: the reader of a pipe may have stopped reading.
    """
    standard_streams.fill()
    thread = threading.Thread(target=_flush, name="sockact.exit.flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the limit of threads is reached
        return
    thread.join(REPORT_TIMEOUT)


def _flush() -> None:
    with contextlib.suppress(Exception):  # handlers are the app's, and there is nowhere left to report to
        logging.shutdown()
    standard_streams.flush()


def _end_in(seconds: float, stderr: int) -> None:
    """Set faulthandler to end the process in so many seconds, if a thread is left for it.

    Without one the step goes on all the same: a drain without a bound loses nothing.
    """
    with contextlib.suppress(RuntimeError):
        faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)


def _before_python_ends(begin: Callable[[], None]) -> None:
    """Call `begin` when the program's code has ended, before Python waits for threads.

    Not by atexit, which comes after that. The end of the main thread, for which any thread can wait, comes
    after the exit functions of executors, which wait for their threads.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is None:

        def wait() -> None:
            threading.main_thread().join()
            begin()

        register = lambda _: threading.Thread(target=wait, name="sockact.exit", daemon=True).start()  # noqa: E731
    with contextlib.suppress(RuntimeError):  # it has begun already
        register(begin)


def _unblocked_stderr() -> int:
    """Return a non-blocking descriptor of stderr, if that is a pipe; otherwise stderr's own."""
    kept = standard_streams.descriptor()
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(kept).st_mode):
            return os.open(f"/proc/self/fd/{kept}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return kept
