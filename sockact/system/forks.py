"""Detaches sockact from a child that the app makes by fork(2), by itself or by multiprocessing.

    in the child          becomes
    signal handlers       the previous ones; no wakeup descriptor, or a signal to the child would reach us
    our descriptors       /dev/null
    `sockact.role()`, ..  the values of a process that is not sockact's
    our event loop        out of reach: a child that returns to it, from the function that has forked, is
                          ended; otherwise it would serve, and end in our place, with our hooks

Descriptors are neither shut down nor removed from epoll: both would affect the parent. Nor are they only
closed: our objects live on in the child, and would later close numbers that belong to the app by then. The
other contents of a loop stay: nothing waits for their end.

A child that a C library forks without Python's knowledge keeps everything; see `hangup` for its clients. A
child that executes another program, as with subprocess, needs none of this: our descriptors are
close-on-exec.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn
from weakref import WeakSet

from sockact.system import signals
from sockact.system.hangup import Open, hang_up

ANYIO_CALLBACK = "_report_result"
"""Name of the callback of anyio's threads, in which FastAPI runs functions; it has no future."""

CAME_BACK_STATUS = 1
"""Exit status of a child that returns to our code, unless it asks for another one."""

logger = logging.getLogger(__package__)


class _Home:
    """The process that serves, as its forked children see it.

    Attributes:
        pid: its PID; 0 while there is nothing to protect.
        private: returns descriptors that no child may keep.
        forget: called in a child.
        loop: the loop that runs the app, and its thread.
        left: whether this is a child that was already detached.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.private: Callable[[], Iterable[int]] = tuple
        self.forget: Callable[[], None] = lambda: None
        self.loop: tuple[asyncio.AbstractEventLoop, int] | None = None
        self.left = False
        self.registered = False


_HOME = _Home()
_PRIVATE: WeakSet[Any] = WeakSet()
_LENT: ContextVar[_Lent | None] = ContextVar("lent", default=None)
_mask = threading.local()


def begin(private: Callable[[], Iterable[int]], forget: Callable[[], None]) -> None:
    """Detach all children that are forked from now on.

    Args:
        private: returns the descriptors that this process has had since its start.
        forget: called in each child.
    """
    _HOME.pid, _HOME.private, _HOME.forget = os.getpid(), private, forget
    if not _HOME.registered:
        _HOME.registered = True
        os.register_at_fork(before=_before, after_in_parent=_restore_mask, after_in_child=_in_child)


def end() -> None:
    """Stop detaching children: this process does not serve any more."""
    _HOME.pid = 0


def keep(opened: Open) -> None:
    """Add an open descriptor to those that no child may keep."""
    _PRIVATE.add(opened)


class _Lent:
    """A connection that was given to a handler, and a copy of it once the handler has forked."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.copy: socket.socket | None = None

    def keep_copy(self) -> None:
        """Keep a copy, since the handler's own close does not end the connection any more."""
        if self.copy is None and self.connection.fileno() >= 0:
            with contextlib.suppress(OSError):  # descriptors have run out
                self.copy = self.connection.dup()
                keep(self.copy)

    def end(self) -> None:
        """End the connection, also for a child that has it."""
        hang_up(self.connection)
        if self.copy is not None:
            with self.copy:
                hang_up(self.copy)


@contextlib.contextmanager
def lending(connection: socket.socket) -> Iterator[None]:
    """Allow children to keep the connection of their handler; end it after the body."""
    lent = _Lent(connection)
    token = _LENT.set(lent)
    try:
        yield
    finally:
        _LENT.reset(token)
        if not is_child():
            lent.end()


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """Prevent this loop, which runs in this thread, from running in a child."""
    _HOME.loop = loop, threading.get_ident()


def is_child() -> bool:
    """Tell whether this process was forked from a serving one."""
    return _HOME.pid not in (0, os.getpid())


def come_back(error: BaseException | None = None) -> None:
    """End this process if it is a child; with the exit status of `error`, if there is one."""
    if is_child():
        _leave(error)


@contextlib.contextmanager
def only_here() -> Iterator[None]:
    """End a child that leaves the body."""
    try:
        yield
    except BaseException as error:
        come_back(error)
        raise
    come_back()


def _before() -> None:
    # A signal that reaches the child before its handlers are restored would be written to our wakeup
    # descriptor: `terminate` right after `start` would terminate us.
    if (lent := _LENT.get()) is not None:
        lent.keep_copy()
    _mask.saved = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _restore_mask() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.saved)


def _in_child() -> None:
    try:
        if _HOME.pid and not _HOME.left:  # otherwise it is a child's child
            _HOME.left = True
            _forget()
    finally:
        _restore_mask()


def _forget() -> None:
    with contextlib.suppress(ValueError):  # not the main interpreter
        signals.forget_in_child()
    loop, thread = _HOME.loop or (None, 0)
    if loop is not None and loop.is_closed():
        loop = None
    opened = [*_PRIVATE, *(() if loop is None else _wakers(loop))]
    _to_null({*_HOME.private(), *(each.fileno() for each in opened)})
    _PRIVATE.clear()
    _HOME.forget()
    if loop is not None:
        _stop(loop, thread)
    if (
        sys.version_info < (3, 12)
        and type(asyncio.get_event_loop_policy()) is asyncio.DefaultEventLoopPolicy
    ):
        asyncio.set_event_loop_policy(None)  # our loop would be the current one; from 3.12 on it is not


def _wakers(loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
    """Return the sockets by which signals wake up a loop; neither loop has a public name for them."""
    return [each for each in gc.get_referents(loop, vars(loop)) if isinstance(each, socket.socket)]


def _to_null(descriptors: Iterable[int]) -> None:
    lent = _LENT.get()
    left = {fd for fd in descriptors if fd >= 0} - (set() if lent is None else {lent.connection.fileno()})
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:  # there is no /dev/null, or descriptors have run out
        for fd in left:
            os.close(fd)
        return
    for fd in left:
        os.dup2(null, fd, inheritable=False)
    os.close(null)


def _stop(loop: asyncio.AbstractEventLoop, thread: int) -> None:
    """End the child when it returns to our loop: by a task that ends or waits, or from a thread.

    Other callbacks are ignored: code that logs by way of the loop is no reason to end.
    """
    if threading.get_ident() == thread:
        sys.set_asyncgen_hooks(None, None)
        loop.call_soon(_leave)
        # Ahead of all ready callbacks, which would run here as well as in the parent.
        ready = getattr(loop, "_ready", None)
        for queue in gc.get_referents(loop) if ready is None else (ready,):  # uvloop has no name for it
            if isinstance(queue, deque):
                queue.rotate()

    def call(callback: Callable[..., Any], *found: Any, context: Any = None) -> asyncio.Handle:
        if getattr(callback, "__name__", "") == ANYIO_CALLBACK:
            _leave(next((each for each in found if isinstance(each, BaseException)), None))
        for each in found:
            if isinstance(each, asyncio.Task | concurrent.futures.Future) and each.done():
                _leave(None if each.cancelled() else each.exception())
        return asyncio.Handle(callback, found, loop, context)

    for name in ("call_soon", "call_soon_threadsafe"):
        setattr(loop, name, call)


def _leave(error: BaseException | None = None) -> NoReturn:
    """End this process as Python would after `error` or SystemExit."""
    status = CAME_BACK_STATUS
    try:
        if (asked := _asked_by(error)) is not None:
            status = _status(asked.code)
        elif error is not None:
            traceback.print_exception(error)
        else:
            text = "pid=%d was forked by the app, and has returned to the code that serves: "
            logger.error(text + "expected it to end by itself, as with os._exit", os.getpid())
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status)  # also if the app's streams cannot be written to


def _asked_by(error: BaseException | None) -> SystemExit | None:
    """Return the SystemExit behind an error: it may be its cause or context, or in its group."""
    if error is None or isinstance(error, SystemExit):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    found = (_asked_by(each) for each in (*inner, error.__cause__, error.__context__))
    return next((each for each in found if each is not None), None)


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1
