"""Holds signals back between the first line of Python and the start of the event loop.

By default HUP, USR1 and USR2 kill a process, and TSTP, TTIN and TTOU stop it; and Python's imports take
hundreds of milliseconds. So our first line installs handlers that remember these signals (`remember`). A
process whose PID is known already is started with them blocked until that line runs: not longer,
since the rest of the program may be the app's, and blocked signals are inherited by all that it starts.
`EarlySignals` passes the remembered signals to the event loop when it runs. TERM, INT and QUIT keep their
defaults while the app is loaded: there is nothing to drain yet. Where there is, since connections of the
code before wait, TERM is remembered, too; and held back over the execve(2) that passes them on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # this module is imported first, and has to be fast
    import asyncio

FREE = (signal.SIGUSR1, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""Signals without a meaning of their own; a supervisor passes them on, or changes its number of workers."""

FOLLOWED = signal.SIGURG
"""Announces before a SIGTERM that the service will start again; `ExecStop=` in units/app.service sends it.

Its default action is to do nothing, so that it cannot harm a process that does not know it, and no terminal
sends it (the Go runtime has chosen it for the same reasons). One that comes in the stop takes it back.
"""

REMEMBERED = (signal.SIGHUP, signal.SIGUSR2, FOLLOWED, *FREE)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HANDLED = (*REMEMBERED, *ENDING)

_seen: list[signal.Signals] = []
_before: dict[int, Any] = {}
"""The handlers that ours have replaced."""


class EarlySignals:
    """Remembers signals until the event loop handles them."""

    def __init__(self) -> None:
        remember()
        for number in ENDING:
            _before.setdefault(number, signal.getsignal(number))

    def others(self) -> dict[signal.Signals, object]:
        """Return the handlers of others: from the program before us, or from the app's import."""
        found: dict[signal.Signals, object] = {}
        for each, before in _before.items():
            number = signal.Signals(each)
            now = signal.getsignal(number)
            if now != (_remember if number in REMEMBERED else before) and now is not _remember_once:
                found[number] = now
            elif callable(before) and before is not signal.default_int_handler:
                found[number] = before
        return found

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in _before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        _before.clear()
        _seen.clear()

    @contextlib.contextmanager
    def handed_over(
        self, loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]
    ) -> Iterator[None]:
        """Handle signals on `loop` by `handlers`, remembered ones first; remember again after the body."""
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        seen = list(_seen)
        _seen.clear()
        for number in seen:
            # In the next turn: the service begins its start in this one.
            loop.call_soon(handlers[number])
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
            for number in REMEMBERED:
                signal.signal(number, _remember)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals that are handled elsewhere, in the body; forget those that were seen before."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    _seen.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def remember() -> None:
    """Remember, from now on, signals that by default end or stop the process; not in its children."""
    for number in REMEMBERED:
        handler = signal.getsignal(number)
        if handler is not _remember:
            _before[number] = handler
            signal.signal(number, _remember)
    if signal.SIGTERM in signal.pthread_sigmask(signal.SIG_UNBLOCK, REMEMBERED):
        remember_term()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def remember_term() -> None:
    """Remember SIGTERM, too, unless it has another handler by now; a second one ends the process."""
    now = signal.getsignal(signal.SIGTERM)
    if now in (signal.SIG_DFL, _before.setdefault(signal.SIGTERM, now)):
        signal.signal(signal.SIGTERM, _remember_once)


def hold(numbers: Collection[signal.Signals]) -> None:
    """Hold these signals back for the program that this process is about to execute.

    Those that are remembered are sent again, to this thread, which alone goes on: execve(2) keeps what is
    pending.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in set(_seen).intersection(numbers):
        signal.raise_signal(number)


def let_in(environ: Mapping[str, str], pid: int) -> None:
    """Unblock and remember the signals, in a process that was started with them blocked.

    Args:
        environ: its environment; LISTEN_PID shows that it was started by us, or by systemd, which blocks no
            signals.
        pid: its PID: a helper that the program has started earlier has inherited the variable and the mask.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()).issuperset(REMEMBERED):
        with contextlib.suppress(ValueError):  # imported in another thread, where no handler can be set
            remember()


def forget_in_child() -> None:
    """Restore the previous handlers in a forked child, and remove the wakeup descriptor.

    Handlers that the app has set by signal.signal stay, as in any child; those that call a loop do not,
    since it does not run in the child.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if _is_ours(signal.getsignal(number)):
            handler = _before.get(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    _before.clear()
    _seen.clear()


def _forget_early() -> None:
    """Restore the previous handlers in a child that is forked before `forks` is active."""
    for number in HANDLED:
        if signal.getsignal(number) in (_remember, _remember_once):
            handler = _before.get(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _is_ours(handler: Any) -> bool:
    """Tell whether a handler is `_remember`, or was installed by an event loop or its runner."""
    if handler in (_remember, _remember_once):
        return True
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not callable(handler):
        return False
    if getattr(handler, "__module__", "") == "asyncio.unix_events":
        return True  # the placeholder that asyncio's own loop installs
    owner = getattr(getattr(handler, "func", handler), "__self__", None)
    return isinstance(owner, asyncio.AbstractEventLoop | asyncio.Runner)


def _remember(number: int, _frame: FrameType | None) -> None:
    _seen.append(signal.Signals(number))


def _remember_once(number: int, frame: FrameType | None) -> None:
    if number in _seen:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    else:
        _remember(number, frame)


os.register_at_fork(after_in_child=_forget_early)
