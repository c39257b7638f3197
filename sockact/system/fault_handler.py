"""Shows the stack of every thread when a fatal signal comes, and leaves room for all others at once.

faulthandler gives the thread that enables it an alternate signal stack of 16 KiB, and Python's handlers run
on such a stack where there is one. Each signal that interrupts the handler of another one takes 3.4 KiB of
it, with AVX-512. A process that was stopped gets all of its signals when it goes on: the fifth or sixth
finds no room, and the kernel ends it by SIGSEGV ("overflowed sigaltstack").

So the main thread, which handles the signals, has no such stack: its own has room for all of them.
Rejected: a larger one by ctypes, which takes each process 3 ms and 180 KiB. It would also show an overflow
of the main thread's own stack, which now ends it by SIGSEGV without a word.

Source: sigaltstack(2), SA_ONSTACK; faulthandler.c and signalmodule.c of CPython 3.11 to 3.14.
"""

from __future__ import annotations

import _thread
import faulthandler

SS_DISABLE = 2
"""Source: sigaltstack(2)."""


def enable(descriptor: int) -> bool:
    """Write stacks to a descriptor from now on; return False if Python was doing so already."""
    before = faulthandler.is_enabled()
    if before:
        _leave_signal_stack()
    done = _thread.allocate_lock()
    done.acquire()
    # In a thread of its own, which then has the stack. (Not by threading: that needs sys.stderr.)
    _thread.start_new_thread(_enable, (descriptor, done))
    done.acquire()
    return not before


def _enable(descriptor: int, done: _thread.LockType) -> None:
    try:
        faulthandler.enable(file=descriptor)
    finally:
        done.release()


def disable() -> None:
    """Write nothing any more."""
    faulthandler.disable()


def _leave_signal_stack() -> None:
    """Take this thread's signal stack away: `python -X dev` or PYTHONFAULTHANDLER= has given it one."""
    import ctypes  # of the few processes that need it

    class Stack(ctypes.Structure):
        _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(None, SS_DISABLE, 0)), None)
