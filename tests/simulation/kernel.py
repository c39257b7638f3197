"""The processes of a simulation, and what the kernel does for them: PIDs, signals, and their ends.

All descriptors are real ones, of this process. What a simulated process has open, it tells by `close_all`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from sockact.system.signals import REMEMBERED
from tests.simulation.clock import GATE, Gate, SimulatedLoop

FIRST_PID = 5_000_000
"""The PIDs are above those that Linux gives, so that none is taken for another process."""

HARMLESS = (signal.SIGURG, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT)


class SimulatedProcess:
    """A process, whose code runs on the loop of the simulation.

    Args:
        kernel: the kernel.
        name: what it is, for the log.
        close_all: closes what it has open, when it has ended.

    Attributes:
        pid: its PID.
        pidfd: the kernel's copy of its pidfd.
        code: its exit code, below 0 for a signal; None while it lives.
        harmed: it was killed or stopped by an event of the simulation.
        was_stopped: it was stopped at least once.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.pid = kernel.new_pid()
        self.name = f"{name} {self.pid - FIRST_PID}"
        self.pidfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.code: int | None = None
        self.harmed = self.was_stopped = False
        self._kernel = kernel
        self._gate = Gate(kernel.loop)
        self._handlers: Mapping[signal.Signals, Callable[[], None]] = {}
        self._pending: list[signal.Signals] = []
        self._closers: list[Callable[[], None]] = []
        self.context = copy_context()
        self.context.run(GATE.set, self._gate)
        kernel.processes[self.pid] = self

    @property
    def lives(self) -> bool:
        return self.code is None

    @property
    def stopped(self) -> bool:
        return not self._gate.open

    def run(self, code: Callable[..., Any], *args: Any) -> Any:
        """Run code of this process now."""
        return self.context.copy().run(code, *args)

    def begin(self, main: Callable[[], Any]) -> None:
        """Begin its main coroutine; with that it ends, by the status that it returns."""
        self.run(self._kernel.loop.create_task, self._main(main))

    async def _main(self, main: Callable[[], Any]) -> None:
        status = await main()
        self.end(status)

    def at_end(self, closer: Callable[[], None]) -> None:
        """Close something when it has ended, whatever the cause."""
        self._closers.append(closer)

    def end(self, code: int) -> None:
        """End, with an exit status or, below 0, by a signal."""
        if not self.lives:
            return
        self.code = code
        self._gate.kill()
        self._kernel.graves.append(self._gate)
        for closer in self._closers:
            closer()
        os.eventfd_write(self.pidfd, 1)
        self._kernel.log(f"{self.name} ends: {code}")

    def send(self, number: signal.Signals) -> None:
        """Deliver a signal."""
        if not self.lives:
            return
        if number is signal.SIGKILL:
            self.end(-number)
        elif number is signal.SIGSTOP:
            self.was_stopped = True
            self._gate.stop()
        elif number is signal.SIGCONT:
            self._gate.go_on(self.context)
        elif number in self._handlers:
            self.run(self._kernel.loop.call_soon, self._handlers[number])
        elif number in REMEMBERED:
            self._pending.append(number)
        elif number not in HARMLESS:
            self.end(-number)

    @contextmanager
    def handed_over(
        self, loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]
    ) -> Iterator[None]:
        """Handle signals, as `EarlySignals` does."""
        self._handlers = handlers
        for number in self._pending:
            handlers[number]()
        yield
        self._handlers = {number: lambda: None for number in REMEMBERED}

    def copy_of_pidfd(self) -> int:
        return os.dup(self.pidfd)


class Kernel:
    """The kernel.

    Args:
        loop: the loop.
        log: called with each thing that happens.

    Attributes:
        processes: all that were started, by PID.
        graves: what is left of dead processes, so that no finalizer of theirs runs before the end.
        refusals: so many of the next processes cannot be started.
    """

    def __init__(self, loop: SimulatedLoop, log: Callable[[str], None]) -> None:
        self.loop = loop
        self.log = log
        self.processes: dict[int, SimulatedProcess] = {}
        self.graves: list[Gate] = []
        self.refusals = 0
        self._pids = FIRST_PID

    def new_pid(self) -> int:
        self._pids += 1
        return self._pids

    def living(self, kind: str = "") -> list[SimulatedProcess]:
        return [each for each in self.processes.values() if each.lives and each.name.startswith(kind)]

    def by_pidfd(self, pidfd: int) -> SimulatedProcess | None:
        """Return the process that a copy of a pidfd refers to; None if there is none."""
        found = _number(pidfd)
        return next((each for each in self.processes.values() if _number(each.pidfd) == found), None)

    def bury(self) -> None:
        """End the coroutines of dead processes now, rather than whenever they are collected."""
        for gate in self.graves:
            for task in gate.tasks:
                with contextlib.suppress(Exception):
                    task.get_coro().close()  # type: ignore[union-attr]

    def close(self) -> None:
        """Close the kernel's own descriptors."""
        for process in self.processes.values():
            os.close(process.pidfd)


def _number(eventfd: int) -> str:
    """Return the kernel's number of an eventfd. Source: proc(5), fdinfo."""
    with open(f"/proc/self/fdinfo/{eventfd}") as file:
        return next(line.split()[1] for line in file if line.startswith("eventfd-id"))
