"""The protection of a serving process's signal handlers against its app.

    an app calls                        result
    loop.add_signal_handler(SIGTERM)    its callback is called in addition to the signal's effect
    loop.remove_signal_handler          its own callback is removed
    loop.stop                           the process drains and ends
    signal.signal                       our handler is put back; for signals without a meaning for a service
                                        (`signals.FREE`), the app's handler is called in addition to it
    signal.pthread_sigmask              our signals are unblocked
    signal.set_wakeup_fd                our descriptor is put back
    faulthandler.register               our handler is put back, but for the FREE ones

The first three are noticed at once, on a loop made by `guarded`; the others when `look` is called. Each is
logged once, with the signal and the name of what was found.

Rejected: to replace `signal.signal` by a function of ours. Code that has imported it before has the other
one, and libraries that are written in C do not call it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import inspect
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVarTuple

from sockact.system.signals import FREE, HANDLED

INSTEAD = "use a hook instead, see sockact.hooks.before_signal"
PUT_BACK = f"sockact's handler is put back; {INSTEAD}"

logger = logging.getLogger(__package__)

_Ts = TypeVarTuple("_Ts")

if TYPE_CHECKING:
    _Loop = asyncio.AbstractEventLoop
else:
    _Loop = object


class GuardedLoop(_Loop):
    """The part of an event loop that adds an app's signal callbacks to ours; see `guarded`.

    Where no thread is left in which the loop could wait for those of its executor, Python waits for them.

    Attributes:
        guard: protects our handlers; None for a loop like any other.
    """

    guard: OwnSignals | None = None

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Add a handler; the loop's own rules hold for anything that cannot be one."""
        if self.guard is not None and _could_be_added(sig, callback):
            self.guard.add(signal.Signals(sig), callback, functools.partial(callback, *args))
        else:
            super().add_signal_handler(sig, callback, *args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove a handler; return whether there was one."""
        if self.guard is not None and sig in HANDLED:
            return self.guard.remove(signal.Signals(sig))
        return super().remove_signal_handler(sig)

    def stop(self) -> None:
        """Stop the loop; or drain and end, where stopping would lose requests in flight."""
        if self.guard is not None:
            self.guard.end_in_good_order()
        else:
            super().stop()

    async def shutdown_default_executor(self, *limit: Any, **named: Any) -> None:
        """Wait for the threads of the executor, in another thread."""
        with contextlib.suppress(RuntimeError):
            await super().shutdown_default_executor(*limit, **named)


def guarded(kind: type[asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return a kind of event loop whose signal handlers an `OwnSignals` can protect."""
    # Libraries tell loops by their module: "uvloop", "asyncio".
    return type(kind.__name__, (GuardedLoop, kind), {"__module__": kind.__module__})


class OwnSignals:
    """Protects the signal handlers of one process.

    Args:
        on_signal: called with each signal that comes and with its effect; calls that effect.
        on_stop: called when the app stops the loop; drains, and ends the process.
    """

    def __init__(
        self, on_signal: Callable[[signal.Signals, Callable[[], None]], None], on_stop: Callable[[], None]
    ) -> None:
        self._on_signal = on_signal
        self._on_stop = on_stop
        self._beside: dict[signal.Signals, tuple[str, Callable[[], object]]] = {}
        self._ours: dict[signal.Signals, Any] = {}
        self._wakeup = -1
        self._calling = False
        self._said: set[str] = set()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Protect the handlers that the running loop has by now."""
        loop = asyncio.get_running_loop()
        self._ours = {number: signal.getsignal(number) for number in HANDLED}
        self._wakeup = _wakeup_descriptor()
        if isinstance(loop, GuardedLoop):
            loop.guard = self
        try:
            yield
        finally:
            self._ours = {}
            if isinstance(loop, GuardedLoop):
                loop.guard = None

    def deliver(self, number: signal.Signals, effect: Callable[[], None]) -> None:
        """Handle a signal that has come: its effect, then the app's callback for it."""
        self._on_signal(number, effect)
        if number not in self._beside:
            return
        name, callback = self._beside[number]
        self._calling = True
        try:
            callback()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # passed on, it would end the loop
            logger.error("%s: %s of the app failed", number.name, name, exc_info=error)
        finally:
            self._calling = False

    # The app's calls of the loop.

    def add(self, number: signal.Signals, callback: object, called: Callable[[], object]) -> None:
        """Add the app's callback to the effect of a signal."""
        name = name_of(callback)
        self._beside[number] = name, called
        self._say(f"{number.name}: loop.add_signal_handler({name}): it is called after sockact's handler")

    def remove(self, number: signal.Signals) -> bool:
        """Remove the app's callback; return whether there was one."""
        if self._beside.pop(number, None) is not None:
            return True
        self._say(f"{number.name}: loop.remove_signal_handler: sockact's handler stays")
        return False

    def end_in_good_order(self) -> None:
        """Drain, unless the app was called for a signal, whose effect comes anyway."""
        self._say("loop.stop was called by the app: the loop stops after the requests in flight")
        if not self._calling:
            self._on_stop()

    # The app's calls of Python's modules.

    def look(self) -> None:
        """Put back the handlers that the app has replaced."""
        for number, ours in self._ours.items():
            found = signal.getsignal(number)
            if found is not ours:
                self._replaced(number, found)
            elif number in FREE:
                continue  # the handler beneath, a library's or faulthandler's, is the app's business
            elif faulthandler.unregister(number):  # type: ignore[func-returns-value]  # it does
                self._say(f"{number.name}: faulthandler.register: {PUT_BACK}")
            # In any case: Python does not know of a handler that C code has installed.
            signal.signal(number, ours)
            signal.siginterrupt(number, False)
        if self._ours:
            self._unblock()
            self._wake()

    def _replaced(self, number: signal.Signals, found: Any) -> None:
        name = name_of(found)
        if number in FREE and callable(found):
            self._beside[number] = name, functools.partial(found, number, None)
            self._say(f"{number.name}: signal.signal({name}): it is called after sockact's handler")
        else:
            self._say(f"{number.name}: signal.signal({name}): {PUT_BACK}")

    def _unblock(self) -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(HANDLED)
        if blocked:
            names = ", ".join(signal.Signals(number).name for number in sorted(blocked))
            self._say(f"{names}: blocked by the app, as by signal.pthread_sigmask: unblocked")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)

    def _wake(self) -> None:
        if self._wakeup == -1:
            return
        if signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False) != self._wakeup:
            self._say("signal.set_wakeup_fd was called by the app: the event loop's descriptor is put back")
            with contextlib.suppress(OSError):
                os.write(self._wakeup, b"\0")  # no signal, but the loop then handles those that have come

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)


def say_overridden(others: Mapping[signal.Signals, Any]) -> None:
    """Log the handlers of the program, or of an app's import, that are not called while it is served."""
    for number, handler in others.items():
        name = name_of(handler)
        logger.warning(
            "%s: signal.signal(%s): it is not called while sockact serves; %s", number.name, name, INSTEAD
        )


def name_of(handler: Any) -> str:
    """Return the name of a handler in its source."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if isinstance(handler, signal.Handlers):
        return f"signal.{handler.name}"
    name = getattr(handler, "__qualname__", None)
    if name is None:
        return "a handler that Python does not know" if handler is None else repr(handler)
    return f"{handler.__module__}.{name}" if getattr(handler, "__module__", None) else str(name)


def _could_be_added(sig: object, callback: object) -> bool:
    if sig not in HANDLED or threading.current_thread() is not threading.main_thread():
        return False
    return callable(callback) and not inspect.iscoroutinefunction(callback)


def _wakeup_descriptor() -> int:
    """Return the descriptor to which Python writes the numbers of signals: setting it tells the old one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        found = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return found
