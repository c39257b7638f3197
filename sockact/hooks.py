"""Hooks: callables of an app that run at named points in the life of the process that serves it.

    point                   when
    on_start                before anything is accepted, and before the app's own startup
    on_ready                when connections are accepted, as READY=1 is said
    on_reload               before the new code is tried
    on_drain                when the drain begins; it waits for these hooks
    on_stop                 after the drain, before the app's own shutdown
    on_exit                 after all that, last of all
    on_worker_exit          in a worker that serves: when another one has ended, however it did
    before_signal(SIG)      before what a signal does
    after_signal(SIG)       when it has begun to do that

A hook takes no arguments, but for `on_worker_exit`, which gets the PID. One that is async runs in the event
loop, any other in a thread of its own.

Rule of this file: it only notes what is to run; what runs it is `hookrunner`.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from sockact.errors import UsageError

DEFAULT_TIMEOUT = 30.0
"""Seconds that a hook may take, if it does not say otherwise."""

START = "on_start"
READY = "on_ready"
RELOAD = "on_reload"
DRAIN = "on_drain"
STOP = "on_stop"
EXIT = "on_exit"
WORKER_EXIT = "on_worker_exit"

SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)
"""Those that can have hooks. SIGQUIT has none: it is there for when nothing else helps."""

F = TypeVar("F", bound=Callable[..., object])


def before(number: signal.Signals) -> str:
    """Return the name of the point before what a signal does."""
    return f"before {number.name}"


def after(number: signal.Signals) -> str:
    """Return the name of the point after it."""
    return f"after {number.name}"


ON_RELOAD = (RELOAD, before(signal.SIGHUP), after(signal.SIGHUP))
"""Points that a supervised worker reaches only if its supervisor asks it before a reload."""


SERVING = (READY, RELOAD, DRAIN)
"""Points that a process does not reach which only tries new code."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What runs at a point.

    Attributes:
        function: what is called.
        timeout: seconds that it may take.
    """

    function: Callable[..., object]
    timeout: float = DEFAULT_TIMEOUT

    @property
    def name(self) -> str:
        """What it is called in the log."""
        name = getattr(self.function, "__qualname__", None)
        return f"{self.function.__module__}.{name}" if name else repr(self.function)


class Registry:
    """The hooks of a process, each point's in the order in which they came."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._told: Callable[[str], None] = lambda _: None

    def add(self, point: str, function: Callable[..., object], timeout: float) -> None:
        """Let `function` run at `point`.

        Raises:
            UsageError: it cannot be called with what a hook of this point gets, or `timeout` is no time.
        """
        _require_callable(point, function)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise UsageError(f"{point}: timeout={timeout!r}: expected seconds, more than 0")
        self._hooks.setdefault(point, []).append(Hook(function, float(timeout)))
        self._told(point)

    def at(self, point: str) -> Sequence[Hook]:
        """Return the hooks of a point."""
        return tuple(self._hooks.get(point, ()))

    def watch(self, told: Callable[[str], None]) -> None:
        """Call `told` with each point that has hooks, and with each that gets one later, in any thread."""
        self._told = told
        for point in list(self._hooks):
            told(point)


REGISTRY = Registry()
"""The hooks of this process."""


class Point:
    """A decorator that registers hooks at one point; used bare, or with a `timeout` in seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __call__(self, function: F, /) -> F: ...

    @overload
    def __call__(self, function: None = None, /, *, timeout: float) -> Callable[[F], F]: ...

    def __call__(self, function: Any = None, /, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Register `function`, and return it; without one, return the decorator that does."""
        if function is None:
            return _registers(self._name, timeout)
        return _registers(self._name, timeout)(function)


on_start = Point(START)
on_ready = Point(READY)
on_reload = Point(RELOAD)
on_drain = Point(DRAIN)
on_stop = Point(STOP)
on_exit = Point(EXIT)

on_worker_exit = Point(WORKER_EXIT)
"""Runs with the PID of a process that has ended and had loaded the app: a worker, also by kill -9, or one
that only tried new code.

It runs in one worker that serves; in another one again, if that ends before it is done. It is for what the
dead leave behind: `prometheus_client.multiprocess.mark_process_dead` is one. Of the workers that end in a
stop of the service none is left to be told.
"""


def before_signal(number: int, *, timeout: float = DEFAULT_TIMEOUT) -> Callable[[F], F]:
    """Return a decorator that registers a hook which runs before a signal takes effect.

    Raises:
        UsageError: it is none of `SIGNALS`.
    """
    return _registers(before(_hookable(number)), timeout)


def after_signal(number: int, *, timeout: float = DEFAULT_TIMEOUT) -> Callable[[F], F]:
    """Return a decorator that registers a hook which runs when a signal has taken effect.

    Raises:
        UsageError: it is none of `SIGNALS`.
    """
    return _registers(after(_hookable(number)), timeout)


def _registers(point: str, timeout: float) -> Callable[[F], F]:
    def register(function: F) -> F:
        REGISTRY.add(point, function, timeout)
        return function

    return register


def _hookable(number: Any) -> signal.Signals:
    if number not in SIGNALS:
        found = number.name if isinstance(number, signal.Signals) else repr(number)
        raise UsageError(f"{found}: expected one of {', '.join(each.name for each in SIGNALS)}")
    return signal.Signals(number)


def _require_callable(point: str, function: Any) -> None:
    pids = (0,) if point == WORKER_EXIT else ()
    expected = "expected one for the PID" if pids else "expected none"
    if not callable(function):
        what = "a callable with one argument" if pids else "a callable without arguments"
        raise UsageError(f"{point}: {function!r}: expected {what}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # one that is written in C need not say
    try:
        signature.bind(*pids)
    except TypeError as error:
        raise UsageError(f"{point}: {Hook(function).name}{signature}: {error}: {expected}") from None
