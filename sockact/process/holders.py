"""The threads, children and tasks that hold up the end of this process, for a log line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from sockact.process import resource_tracker
from sockact.process.orphans import children

_WAITING = ("multiprocessing", "subprocess.py")
"""The files of Python's library in which the main thread waits for a child."""


def holders(loop: asyncio.AbstractEventLoop | None = None) -> list[str]:
    """Return what this process waits for: threads, the main thread's work, children, tasks of `loop`."""
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
    """Return the threads for which Python waits at its end, each with the function in which it is."""
    main = threading.main_thread()
    waited_for = [thread for thread in threading.enumerate() if thread is not main and not thread.daemon]
    return [described(repr(thread.name), thread.ident) for thread in waited_for]


def described(name: str, ident: int | None) -> str:
    """Return a thread in words, with the function in which it is."""
    return f"thread {name}{_place(list(_frames(ident)))}"


def _work_of(main: list[FrameType]) -> str:
    """Return what the main thread does, from its frames; empty if it only waits for threads."""
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
    """Return the app's function in which a thread is, or one of Python's if there is none."""
    if not frames:
        return ""
    library = os.path.dirname(os.__file__)
    app = next((frame for frame in frames if not _file(frame).startswith((library, "<"))), frames[0])
    return f" in {app.f_code.co_qualname} ({_file(app)}:{app.f_lineno})"


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _children() -> Iterator[tuple[int, str]]:
    """Yield the children that have not ended, but for multiprocessing's own, which ends by itself."""
    own = resource_tracker.tracker()
    for pid in children():
        if (command := _command(pid)) and pid != getattr(own, "_pid", None):
            yield pid, command


def _command(pid: int) -> str:
    """Return the command line of a process; empty when it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
            return " ".join(file.read().split("\0")).strip()
    except OSError:
        return ""
