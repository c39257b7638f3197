"""Signals between the first line of Python and the event loop.

The defaults of HUP, USR1 and USR2 kill, those of TSTP, TTIN and TTOU halt, and Python imports for
hundreds of milliseconds. So they are held back (`block`) by the first line of ours, and also by a
process that replaces itself. Then `EarlySignals` remembers them, and hands over to the loop when it
runs. TERM, INT and QUIT get their defaults back while the app is loaded: a process that is not ready
has nothing to drain.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # This module is the first to be imported, and has to be fast.
    import asyncio

FREE = (signal.SIGUSR1, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""Mean nothing to a service as such; a supervisor passes them on, or resizes itself."""

FOLLOWED = signal.SIGURG
"""Says before a SIGTERM that the service starts again after it; `ExecStop=` in units/app.service sends it.

A signal whose default does nothing, so that it cannot harm a process that does not know it, and that no
terminal sends (the Go runtime has chosen it for the same reasons).
"""

REMEMBERED = (signal.SIGHUP, signal.SIGUSR2, FOLLOWED, *FREE)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HANDLED = (*REMEMBERED, *ENDING)


class EarlySignals:
    """Remembers signals until somebody is there to handle them."""

    def __init__(self) -> None:
        self._seen: list[signal.Signals] = []
        self._before = {number: signal.getsignal(number) for number in HANDLED}
        for number in REMEMBERED:
            signal.signal(number, self._remember)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def others(self) -> dict[signal.Signals, object]:
        """Return the handlers of others: what the program had installed before, or an app at its import."""
        found: dict[signal.Signals, object] = {}
        for number, before in self._before.items():
            now = signal.getsignal(number)
            if now != (self._remember if number in REMEMBERED else before):
                found[number] = now
            elif callable(before) and before is not signal.default_int_handler:
                found[number] = before
        return found

    def restore(self) -> None:
        """Bring back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._seen.append(signal.Signals(number))

    @contextlib.contextmanager
    def handed_over(
        self, loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]
    ) -> Iterator[None]:
        """Let `handlers` handle signals on `loop`, those remembered first; remember again afterwards."""
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        seen, self._seen = self._seen, []
        for number in seen:
            handlers[number]()
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
            for number in REMEMBERED:
                signal.signal(number, self._remember)


def block() -> None:
    """Hold all signals back that have a meaning to a service, until `EarlySignals` lets them in."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
