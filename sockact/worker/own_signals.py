"""Keeps the signals of a process that serves doing what they mean, whatever its app does to them.

    an app calls                        then
    loop.add_signal_handler(SIGTERM)    its callback is called beside what the signal does
    loop.remove_signal_handler          its own callback goes
    loop.stop                           the process drains and ends
    signal.signal                       ours is put back; for signals that mean nothing to a service
                                        (`signals.FREE`), its handler is called beside it
    signal.pthread_sigmask              ours are unblocked
    signal.set_wakeup_fd                ours is put back
    faulthandler.register               ours is put back, but for the FREE ones

The first three are seen at once, on a loop made by `guarded`; the others when `look` is called. Each is
said once, with the signal and the name of what was found.

Rejected: to replace `signal.signal` by a function of ours. Who has imported it before has the other one,
and libraries that are written in C do not ask it.
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

INSTEAD = "what shall run then belongs into a hook, see sockact.hooks.before_signal"
PUT_BACK = f"sockact's handler is put back; {INSTEAD}"

logger = logging.getLogger(__package__)

_Ts = TypeVarTuple("_Ts")

if TYPE_CHECKING:
    _Loop = asyncio.AbstractEventLoop
else:
    _Loop = object


class GuardedLoop(_Loop):
    """The part of an event loop that lets an app touch signals only beside ours; see `guarded`.

    Where no thread is left in which the loop could wait for those of its executor, Python waits for them.

    Attributes:
        guard: keeps ours; None for a loop like any other.
    """

    guard: OwnSignals | None = None

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Add a handler; the loop's own rules hold for what cannot be one."""
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
        """Stop the loop, or drain and end, where it would take with it what is in flight."""
        if self.guard is not None:
            self.guard.end_in_good_order()
        else:
            super().stop()

    async def shutdown_default_executor(self, *limit: Any, **named: Any) -> None:
        """Wait for the threads of the executor, in another thread."""
        with contextlib.suppress(RuntimeError):
            await super().shutdown_default_executor(*limit, **named)


def guarded(kind: type[asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return a kind of event loop whose signals an `OwnSignals` can keep."""
    # Libraries tell loops by their module: "uvloop", "asyncio".
    return type(kind.__name__, (GuardedLoop, kind), {"__module__": kind.__module__})


class OwnSignals:
    """The signals of one process.

    Args:
        deliver: called with each signal that comes, and with its effect, which it calls.
        end: lets the process drain and end.
    """

    def __init__(
        self, deliver: Callable[[signal.Signals, Callable[[], None]], None], end: Callable[[], None]
    ) -> None:
        self._deliver = deliver
        self._end = end
        self._beside: dict[signal.Signals, tuple[str, Callable[[], object]]] = {}
        self._ours: dict[signal.Signals, Any] = {}
        self._wakeup = -1
        self._calling = False
        self._said: set[str] = set()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the handlers that the running loop has by now."""
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
        """Let a signal that has come take effect, and call what the app has for it."""
        self._deliver(number, effect)
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

    # What an app asks the loop for.

    def add(self, number: signal.Signals, callback: object, called: Callable[[], object]) -> None:
        """Let the app's callback be called beside what a signal does."""
        name = name_of(callback)
        self._beside[number] = name, called
        self._say(f"{number.name}: loop.add_signal_handler({name}): it is called beside what sockact does")

    def remove(self, number: signal.Signals) -> bool:
        """Take the app's callback away; return whether there was one."""
        if self._beside.pop(number, None) is not None:
            return True
        self._say(f"{number.name}: loop.remove_signal_handler: it goes on doing what sockact does")
        return False

    def end_in_good_order(self) -> None:
        """Drain, unless a signal that does what it means has led here."""
        self._say("loop.stop was called by the app: the loop stops when what is in flight is answered")
        if not self._calling:
            self._end()

    # What it has done by other ways.

    def look(self) -> None:
        """Put back what the app has replaced."""
        for number, ours in self._ours.items():
            found = signal.getsignal(number)
            if found is not ours:
                self._replaced(number, found)
            elif number in FREE:
                continue  # what is beneath, a library's or faulthandler's, is the app's business
            elif faulthandler.unregister(number):  # type: ignore[func-returns-value]  # it does
                self._say(f"{number.name}: faulthandler.register: {PUT_BACK}")
            # In any case: code in C that has replaced ours has not told Python.
            signal.signal(number, ours)
            signal.siginterrupt(number, False)
        if self._ours:
            self._unblock()
            self._wake()

    def _replaced(self, number: signal.Signals, found: Any) -> None:
        name = name_of(found)
        if number in FREE and callable(found):
            self._beside[number] = name, functools.partial(found, number, None)
            self._say(f"{number.name}: signal.signal({name}): it is called beside what sockact does")
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
            self._say("signal.set_wakeup_fd was called by the app: that of the event loop is put back")
            with contextlib.suppress(OSError):
                os.write(self._wakeup, b"\0")  # no signal, but the loop looks after those that have come

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)


def say_overridden(others: Mapping[signal.Signals, Any]) -> None:
    """Say which handlers of the program, or of an app at its import, are not called while it is served."""
    for number, handler in others.items():
        name = name_of(handler)
        logger.warning(
            "%s: signal.signal(%s): it is not called while sockact serves; %s", number.name, name, INSTEAD
        )


def name_of(handler: Any) -> str:
    """Return what a handler is called in its source."""
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
    """Return where Python writes the numbers of signals; there is no way to ask but to set it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        found = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return found
