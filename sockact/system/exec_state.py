"""Restores, before execve(2), the state of the process that the kernel keeps over it.

New code that takes the place of old code in the same process is to find what a restart would give it,
whatever the old code has done: it may not know of a timer whose signal then ends it, and a umask of 0 that
it does not set itself opens its files to every user. Source: execve(2); `ExecState` has those parts of its
list that an app changes and a process may change back.

Not the limits, of which the hard ones cannot be raised again, nor the niceness, for the same reason.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from typing import NamedTuple

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
"""The timers of setitimer(2) and alarm(2): their signals end a program that has no handler for them."""


class ExecState(NamedTuple):
    """The state of a process that execve(2) keeps.

    Attributes:
        umask: which bits its new files do not get.
        ignored: the signals that it ignores.
        blocked: those that are blocked.
    """

    umask: int
    ignored: frozenset[int]
    blocked: frozenset[int]

    @classmethod
    def now(cls) -> ExecState:
        """Return the state of this process now."""
        umask = os.umask(0o077)
        os.umask(umask)
        ignored = (each for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return cls(umask, frozenset(ignored), frozenset(blocked))

    def restore(self, *, blocked: Collection[int]) -> None:
        """Restore this state, without timers, in a process that is about to execute another program.

        Args:
            blocked: signals that are held back for the other program.
        """
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked.union(blocked))
        for timer in TIMERS:
            signal.setitimer(timer, 0)
        for number in ExecState.now().ignored - self.ignored:
            signal.signal(number, signal.SIG_DFL)
        os.umask(self.umask)


BEFORE = ExecState.now()
"""The state when this module is imported; the program changes its state later, as a rule."""
