"""Hooks are callables of an app that run at named points in the life of the process that serves it.

    point                   runs
    on_preload              when the app has been imported; with `preload` once for all workers
    on_start                before connections are accepted and before the app's own startup
    on_ready                when connections are accepted, at the same time as READY=1
    on_reload               before new code is tried
    on_drain                when the drain begins; the drain waits for these hooks
    on_stop                 after the drain, before the app's own shutdown
    on_exit                 last of all
    on_worker_exit          in a serving worker, when another worker has ended for whatever reason
    before_signal(SIG)      before a signal takes effect
    after_signal(SIG)       when it has begun to take effect

A hook takes no arguments, except that `on_worker_exit` gets the PID. An async hook runs in the event loop,
any other in a thread of its own; that of `on_preload` in the main thread, where no loop runs yet.

Rule of this file: it only registers hooks; `sockact.worker.hook_runner` runs them.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, overload

from sockact.errors import UsageError

DEFAULT_TIMEOUT = 30.0
"""Seconds that a hook may take by default."""

PRELOAD = "on_preload"
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
"""The signals that can have hooks. SIGQUIT cannot: it has to work when everything else hangs."""

F = TypeVar("F", bound=Callable[..., object])


def before(number: signal.Signals) -> str:
    """Return the name of the point before a signal takes effect."""
    return f"before {number.name}"


def after(number: signal.Signals) -> str:
    """Return the name of the point after a signal has taken effect."""
    return f"after {number.name}"


ON_RELOAD = (RELOAD, before(signal.SIGHUP), after(signal.SIGHUP))
"""Points that a supervised worker reaches only if its supervisor asks it before a reload."""

SERVING = (READY, RELOAD, DRAIN)
"""Points that a process does not reach if it only tries new code."""


class Hook(NamedTuple):
    """A callable that runs at a point.

    Attributes:
        function: the callable.
        timeout: seconds that it may take.
    """

    function: Callable[..., object]
    timeout: float = DEFAULT_TIMEOUT

    @property
    def name(self) -> str:
        """Its name in the log."""
        name = getattr(self.function, "__qualname__", None)
        return f"{self.function.__module__}.{name}" if name else repr(self.function)


class Registry:
    """The hooks of a process by point, in the order of their registration.

    Hooks are registered while the app is imported, before there is a worker; so `watch` sets the observer
    later, and the constructor does not take it.
    """

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._on_hook: Callable[[str], None] = lambda _: None

    def add(self, point: str, function: Callable[..., object], timeout: float) -> None:
        """Register `function` at `point`.

        Raises:
            UsageError: `function` does not take the arguments of this point, or `timeout` is not positive.
        """
        _require_callable(point, function)
        if point == PRELOAD and inspect.iscoroutinefunction(function):
            raise UsageError(f"{point}: {function!r}: expected one that is not async: no loop runs yet")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise UsageError(f"{point}: timeout={timeout!r}: expected seconds, more than 0")
        self._hooks.setdefault(point, []).append(Hook(function, float(timeout)))
        self._on_hook(point)

    def at(self, point: str) -> Sequence[Hook]:
        """Return the hooks of a point."""
        return tuple(self._hooks.get(point, ()))

    def watch(self, on_hook: Callable[[str], None]) -> None:
        """Call `on_hook` with each point that has hooks, and for each hook added later, in any thread."""
        self._on_hook = on_hook
        for point in list(self._hooks):
            on_hook(point)


REGISTRY = Registry()
"""The hooks of this process."""


class Point:
    """A decorator that registers hooks at one point, without arguments or with a `timeout` in seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __call__(self, function: F, /) -> F: ...

    @overload
    def __call__(self, function: None = None, /, *, timeout: float) -> Callable[[F], F]: ...

    def __call__(self, function: Any = None, /, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Register `function` and return it; without one, return a decorator that does."""
        if function is None:
            return _registers(self._name, timeout)
        return _registers(self._name, timeout)(function)


def on_preload(function: F) -> F:
    """Register `function` to run when the app has been imported, and return it.

    With `preload` it runs in the process that forks the workers, once: what it loads, all workers share.
    Without, it runs in each worker. Threads and connections are for `on_start`.
    """
    return _registers(PRELOAD, DEFAULT_TIMEOUT)(function)


on_start = Point(START)
on_ready = Point(READY)
on_reload = Point(RELOAD)
on_drain = Point(DRAIN)
on_stop = Point(STOP)
on_exit = Point(EXIT)

on_worker_exit = Point(WORKER_EXIT)
"""Runs with the PID of an ended process that had loaded the app: a worker, even after kill -9, or a trial.

It runs in one serving worker, and again in another if that one ends before the hook is done. It cleans up
after ended processes, like `prometheus_client.multiprocess.mark_process_dead`. It does not run for workers
that end when the service stops, since no worker is left then.
"""


def before_signal(number: int, *, timeout: float = DEFAULT_TIMEOUT) -> Callable[[F], F]:
    """Return a decorator that registers a hook to run before a signal takes effect.

    Raises:
        UsageError: the signal is not in `SIGNALS`.
    """
    return _registers(before(_hookable(number)), timeout)


def after_signal(number: int, *, timeout: float = DEFAULT_TIMEOUT) -> Callable[[F], F]:
    """Return a decorator that registers a hook to run when a signal has taken effect.

    Raises:
        UsageError: the signal is not in `SIGNALS`.
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
        return  # a callable written in C may have no signature
    try:
        signature.bind(*pids)
    except TypeError as error:
        raise UsageError(f"{point}: {Hook(function).name}{signature}: {error}: {expected}") from None
