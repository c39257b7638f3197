"""Signals between the first line of Python and the event loop.

The defaults of HUP, USR1 and USR2 kill, those of TSTP, TTIN and TTOU halt, and Python imports for
hundreds of milliseconds. So the first line of ours remembers them (`remember`), and who starts a process of
ours whose main PID others know already starts it with these blocked, until its first line runs:
the rest of the program may be the app's, which would pass a blocked signal on to all that it starts. Then
`EarlySignals` hands over to the loop when it runs. TERM, INT and QUIT are never held back, and keep their
defaults while the app is loaded: a process that is not ready has nothing to drain.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

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

_seen: list[signal.Signals] = []
_before: dict[int, Any] = {}
"""The handlers in whose place ours are."""


class EarlySignals:
    """Remembers signals until somebody is there to handle them."""

    def __init__(self) -> None:
        remember()
        _before.update((number, signal.getsignal(number)) for number in ENDING)

    def others(self) -> dict[signal.Signals, object]:
        """Return the handlers of others: what the program had installed before, or an app at its import."""
        found: dict[signal.Signals, object] = {}
        for each, before in _before.items():
            number = signal.Signals(each)
            now = signal.getsignal(number)
            if now != (_remember if number in REMEMBERED else before):
                found[number] = now
            elif callable(before) and before is not signal.default_int_handler:
                found[number] = before
        return found

    def restore(self) -> None:
        """Bring back the handlers that were there before."""
        for number, handler in _before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        _before.clear()
        _seen.clear()

    @contextlib.contextmanager
    def handed_over(
        self, loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]
    ) -> Iterator[None]:
        """Let `handlers` handle signals on `loop`, those remembered first; remember again afterwards."""
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        seen = list(_seen)
        _seen.clear()
        for number in seen:
            handlers[number]()
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
            for number in REMEMBERED:
                signal.signal(number, _remember)


def remember() -> None:
    """Remember the signals from now on whose defaults end or halt the process; not in its children."""
    for number in REMEMBERED:
        handler = signal.getsignal(number)
        if handler is not _remember:
            _before[number] = handler
            signal.signal(number, _remember)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REMEMBERED)


def let_in(environ: Mapping[str, str], pid: int) -> None:
    """Remember what was blocked for this process when it was started, if it is one that was so started.

    Args:
        environ: its environment; LISTEN_PID says that it was started by us, or by systemd, which blocks
            none.
        pid: its PID: a helper that the program has started before has inherited all of that.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()).issuperset(REMEMBERED):
        with contextlib.suppress(ValueError):  # imported in another thread, where no handler can be set
            remember()


def forget_in_child() -> None:
    """Bring back the handlers of before in a process that was forked from this one; wake up nobody.

    Those that the app has set by signal.signal stay, as in any child; not those that lead to a loop, which
    does not run in the child.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if _is_ours(signal.getsignal(number)):
            handler = _before.get(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    _before.clear()
    _seen.clear()


def _forget_early() -> None:
    """Bring back the handlers of before in a child that is forked before there is a loop, or a `forked`."""
    for number in REMEMBERED:
        if signal.getsignal(number) is _remember:
            handler = _before.get(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _is_ours(handler: Any) -> bool:
    """Tell whether a handler is `_remember`, or what a loop, or who runs it, has installed."""
    if handler is _remember:
        return True
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not callable(handler):
        return False
    if getattr(handler, "__module__", "") == "asyncio.unix_events":
        return True  # what asyncio's own loop has in the place of a handler
    owner = getattr(getattr(handler, "func", handler), "__self__", None)
    return isinstance(owner, asyncio.AbstractEventLoop | asyncio.Runner)


def _remember(number: int, _frame: FrameType | None) -> None:
    _seen.append(signal.Signals(number))


os.register_at_fork(after_in_child=_forget_early)
