"""The end of a process that serves: each step of it has a deadline, and what holds it up is named.

The steps are the drain, the app's shutdown, the end of the event loop, and that of Python, which waits for
threads and runs exit handlers for as long as they like. A step that takes too long is the last one.

One thread keeps the time, and another one reports: what it writes to may be what hangs. Both are started
in good time, since Python 3.12 starts none any more when it ends. Where no thread runs, as C code holds the
GIL or Python's modules are gone already, faulthandler ends the process: with exit status 1, since it knows
no other, and with the stacks on stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from sockact.process.orphans import children
from sockact.protocols.notify import one_line
from sockact.system import standard_streams

LEAST = 0.5
"""Seconds that an end has at least: one that nothing holds is to be orderly, whatever the setting."""

REPORT = 0.5
"""Seconds that the report, and what else is still to be done, may take."""

TRACKER = 2.0
"""Seconds that multiprocessing's resource tracker has to end, when all who use it should have."""

LAST_RESORT = 1.0
"""Seconds beyond a deadline until faulthandler ends the process."""

_WAITING = ("multiprocessing", "subprocess.py")
"""Where the main thread is, in Python's library, while it waits for a child."""

logger = logging.getLogger(__package__)


class Exit:
    """The end of this process; a child that it forks has another one.

    Attributes:
        status: the exit status, if the end has to be forced.
        last: called then, after the report; it does not wait for long, and may become another program.
        loop: the event loop that runs; the report tells which tasks are left at its end.
    """

    def __init__(self) -> None:
        self.status = 0
        self.last: Callable[[], object] = lambda: None
        self.loop: asyncio.AbstractEventLoop | None = None
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

    def within(self, seconds: float | None, step: str) -> None:
        """Let the next step take so long; None for as long as it likes."""
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
        _end_in(seconds + LAST_RESORT, self._stderr)

    def begin(self, limit: float) -> None:
        """Let the end take so long from now on: that of the event loop and that of Python together."""
        if self._end is None:
            limit = max(limit, LEAST)
            self._end = time.monotonic() + limit
            self.within(limit, "the end of its event loop")

    def go_on(self) -> None:
        """Let what is left of the time be that of Python's end."""
        assert self._end is not None
        self.within(max(self._end - time.monotonic(), 0.0), "its end")

    def pause(self) -> None:
        """Let the program go on for as long as it likes; what is left of the time is for Python's end."""
        assert self._end is not None
        left = max(self._end - time.monotonic(), 0.0)
        self.within(None, "")

        def begin() -> None:
            if self.status == 0 and getattr(sys, "last_value", None) is not None:
                self.status = 1  # that of a program which an exception has ended
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
        except RuntimeError as error:  # there may be no more of them
            logger.warning("no thread can be started, who waits for this process bounds its end: %s", error)

    def _keep_time(self) -> None:
        with self._changed:
            while self._deadline is None or self._deadline > time.monotonic():
                self._changed.wait(None if self._deadline is None else self._deadline - time.monotonic())
        _end_in(2 * LAST_RESORT, self._stderr or standard_streams.descriptor())
        self._expired.set()
        self._reported.wait(REPORT)
        try:
            self.last()
        except SystemExit as error:
            self.status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(self.status)

    def _report(self) -> None:
        self._expired.wait()
        held = "; ".join(holders(None if self._end is None else self.loop)) or "nothing that can be named"
        text = "pid=%d leaves: %s took longer than %.1f s, held by %s"
        logger.warning(text, self._pid, self._step, self._limit, one_line(held))
        _flush()
        self._reported.set()


def holders(loop: asyncio.AbstractEventLoop | None = None) -> list[str]:
    """Say what this process waits for: threads, the main thread's work, children, tasks of `loop`."""
    main = list(_frames(threading.main_thread().ident))
    found = threads()
    if at_work := _work_of(main):
        found.append(at_work)
    if loop is not None and loop.is_running():
        with contextlib.suppress(RuntimeError):  # they come and go too fast
            found += [f"task {task.get_name()!r} {task.get_coro()!r}" for task in asyncio.all_tasks(loop)]
    if not found or any(place in _file(frame) for frame in main for place in _WAITING):
        found += [f"child pid={pid} ({command})" for pid, command in _children()]
    return found


def threads() -> list[str]:
    """Name the threads for which Python waits at its end, and say where each of them is."""
    main = threading.main_thread()
    waited_for = [thread for thread in threading.enumerate() if thread is not main and not thread.daemon]
    return [f"thread {thread.name!r}{_place(list(_frames(thread.ident)))}" for thread in waited_for]


def let_tracker_end() -> None:
    """Let multiprocessing's resource tracker end before this process does, as far as it does so soon.

    It removes what is left of shared memory, and systemd would kill it with the end of the main process.
    """
    tracker = _tracker()
    fd, pid = getattr(tracker, "_fd", None), getattr(tracker, "_pid", None)
    if fd is None or pid is None:
        return
    with contextlib.suppress(OSError):  # it has ended
        tracker._fd = None  # noqa: SLF001 - Python has no word for it before 3.14
        os.close(fd)
        pidfd = os.pidfd_open(pid)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        ended.poll(1000 * TRACKER)
        os.close(pidfd)


def flush() -> None:
    """Write out what is still in buffers, before the process ends without Python's help.

    As far as that is done in a moment: whoever reads from a pipe may have stopped to.
    """
    standard_streams.fill()
    thread = threading.Thread(target=_flush, name="sockact.exit.flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there may be no more of them
        return
    thread.join(REPORT)


def _flush() -> None:
    with contextlib.suppress(Exception):  # handlers are the app's, and nobody is left who could be told
        logging.shutdown()
    standard_streams.flush()


def _end_in(seconds: float, stderr: int) -> None:
    """Let faulthandler end the process in so many seconds, if there is a thread left for it.

    Where there is none, the step is to be made all the same: a drain that is not bounded loses nothing.
    """
    with contextlib.suppress(RuntimeError):
        faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)


def _before_python_ends(begin: Callable[[], None]) -> None:
    """Call `begin` when the program's code has come to its end, before Python waits for threads.

    Not by atexit, which comes after that. The end of the main thread, which anybody can wait for, comes
    after what executors do there: they wait for their threads.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is None:

        def wait() -> None:
            threading.main_thread().join()
            begin()

        register = lambda _: threading.Thread(target=wait, name="sockact.exit", daemon=True).start()  # noqa: E731
    with contextlib.suppress(RuntimeError):  # it has begun already
        register(begin)


def _work_of(main: list[FrameType]) -> str:
    """Say what the main thread does, from its frames; empty if it only waits for threads."""
    if not main:
        return "an exit handler that is no Python function"
    outermost = main[-1].f_code
    if outermost.co_name == "_shutdown" and os.path.basename(outermost.co_filename) == "threading.py":
        return ""
    if outermost.co_name in ("<module>", "_run_module_as_main"):
        return f"the main thread{_place(main)}"
    return f"exit handler {outermost.co_qualname}{_place(main)}"


def _frames(thread: int | None) -> Iterator[FrameType]:
    frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - documented
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frames: list[FrameType]) -> str:
    """Say in which function a thread is, or where the app has called that, if it is one of Python's."""
    if not frames:
        return ""
    library = os.path.dirname(os.__file__)
    app = next((frame for frame in frames if not _file(frame).startswith((library, "<"))), frames[0])
    return f" in {app.f_code.co_qualname} ({_file(app)}:{app.f_lineno})"


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _children() -> Iterator[tuple[int, str]]:
    """Give the children that have not ended, but for multiprocessing's own, which ends by itself."""
    tracker = _tracker()
    for pid in children():
        if (command := _command(pid)) and pid != getattr(tracker, "_pid", None):
            yield pid, command


def _tracker() -> Any:
    return getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)


def _command(pid: int) -> str:
    """Return the command line of a process; empty when it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
            return " ".join(file.read().split("\0")).strip()
    except OSError:
        return ""


def _unblocked_stderr() -> int:
    """Return a descriptor of stderr on which a write does not wait, where that is a pipe; else stderr's."""
    kept = standard_streams.descriptor()
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(kept).st_mode):
            return os.open(f"/proc/self/fd/{kept}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return kept
