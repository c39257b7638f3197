"""The event loop of a simulation: its time goes on only when nothing is left to do, and at once then.

Code of several processes runs on it. Each callback belongs to the process in whose context it was
scheduled: that of a dead process does not run any more, not even to clean up, and that of a stopped one
waits. No thread runs: what asyncio would do in one is done at once.

Rejected: looptime. Its plugin for pytest fails where pytest-asyncio is not installed (0.9).
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

JITTER = 0.002
"""Seconds by which a timer may be late: two processes never count in step."""


class Gate:
    """Lets the callbacks of a process run, holds them back while it is stopped, drops them once it is dead.

    Attributes:
        open: they run.
        dead: they are dropped.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self.open = True
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop
        self._held: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._readers: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def run(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback of this process, sooner or later or not at all."""
        if self.dead:
            return
        if self.open:
            callback(*args)
        else:
            self._held.append((callback, args))

    def note_reader(self, fd: int, callback: Callable[..., object] | None, args: tuple[Any, ...]) -> bool:
        """Note a descriptor that is watched; return whether it is watched now."""
        if callback is None:
            self._readers.pop(fd, None)
        else:
            self._readers[fd] = callback, args
        return self.open and not self.dead

    def stop(self) -> None:
        """Hold back what happens from now on: SIGSTOP."""
        self.open = False
        for fd in self._readers:
            self._loop.unwatch(fd)

    def go_on(self, context: Context) -> None:
        """Let it happen: SIGCONT."""
        if self.open or self.dead:
            return
        self.open = True
        context.run(self._loop.call_soon, self._catch_up)  # after what can be read, as in any event loop
        for fd, (callback, args) in self._readers.items():
            context.run(self._loop.watch, fd, callback, *args)

    def _catch_up(self) -> None:
        held, self._held = self._held, []
        for callback, args in held:
            self._loop.call_soon(callback, *args)

    def kill(self) -> None:
        """Let nothing happen any more: SIGKILL."""
        if self.open:
            for fd in self._readers:
                self._loop.unwatch(fd)
        self.dead = True
        self._held.clear()


GATE: ContextVar[Gate | None] = ContextVar("GATE", default=None)
"""The gate of the process whose code runs."""


class _Selector(selectors.EpollSelector):
    """A selector that never waits: where it would, the time goes on by as much."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if not found and timeout:
            self.now += timeout
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop; `chance` decides by how much timers are late."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._clock = _Selector()
        super().__init__(self._clock)
        self._clock_resolution = 1e-6  # what is lost by adding times up
        self.set_task_factory(_noted)

    def time(self) -> float:
        return self._clock.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Schedule a callback, of the process that this context belongs to."""
        gate = GATE.get() if context is None else context.get(GATE)
        if gate is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(gate.run, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback for a time, or a moment later."""
        gate = GATE.get() if context is None else context.get(GATE)
        when += self._chance.random() * JITTER
        if gate is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, gate.run, callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        """Watch a descriptor, for the process whose code runs."""
        gate = GATE.get()
        if gate is None:
            self._add_reader(fd, callback, *args)
        elif gate.note_reader(fd, callback, args):
            self._add_reader(fd, gate.run, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        """Watch it no more."""
        gate = GATE.get()
        if gate is None or gate.note_reader(fd, None, ()):
            return bool(self._remove_reader(fd))
        return False

    def watch(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        """Watch a descriptor of a process that goes on."""
        gate = GATE.get()
        assert gate is not None
        self._add_reader(fd, gate.run, callback, *args)

    def unwatch(self, fd: int) -> None:
        """Watch a descriptor of a stopped process no more."""
        self._remove_reader(fd)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Call the function now: a thread would have a time of its own."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as a thread would pass it on
            future.set_exception(error)
        return future


def _noted(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task, which its process keeps until the end: what a dead one has left is not to run."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    gate = GATE.get()
    if gate is not None:
        gate.tasks.append(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task
