"""The events of a simulation: what administrators, apps and the kernel do to a service."""

from __future__ import annotations

import asyncio
import math
import random
import signal
from collections.abc import Callable
from dataclasses import replace

from tests.simulation.kernel import SimulatedProcess
from tests.simulation.roles import Machine
from tests.simulation.systemd import SimulatedCaller, SimulatedSystemd


class Events:
    """The events.

    Args:
        machine: the machine.
        systemd: its systemd.
        chance: decides whom they meet, and for how long.
        answered: called with each answer to a reload.
        paused: called with each answer to a pause.

    Attributes:
        callers: those who have asked for a reload.
        trouble: until when a reload may fail.
    """

    def __init__(
        self,
        machine: Machine,
        systemd: SimulatedSystemd,
        chance: random.Random,
        answered: Callable[[SimulatedCaller, bool, str], None],
        paused: Callable[[SimulatedCaller, bool, str], None],
    ) -> None:
        self.callers: list[SimulatedCaller] = []
        self.trouble = -math.inf
        self._machine = machine
        self._systemd = systemd
        self._chance = chance
        self._answered = answered
        self._paused = paused
        self._stopped: dict[int, int] = {}  # how many events stop it, by PID
        self._loop = asyncio.get_running_loop()

    def calm(self) -> None:
        """End what still goes on."""
        self.repair()
        self._machine.kernel.refusals = 0
        self.trouble = min(self.trouble, self._loop.time())

    def possible(self) -> dict[str, tuple[int, Callable[[], None]]]:
        return {
            "reload": (6, self._reload),
            "new release, reload": (8, lambda: self.deploy("")),
            "broken release, reload": (3, lambda: self.deploy(self._chance.choice(("raises", "exits")))),
            "dying release, reload": (2, lambda: self.deploy("dies")),
            "hanging release, reload": (1, lambda: self.deploy("hangs")),
            "restart": (4, self._systemd.restart),
            "stop": (2, self._systemd.stop),
            "a worker is killed": (3, lambda: self._harm_one("worker", signal.SIGKILL)),
            "the supervisor is killed": (2, lambda: self._harm_one("supervisor", signal.SIGKILL)),
            "a worker gets SIGTERM": (1, self._end_one),
            "a worker is stopped for a while": (2, lambda: self._pause_one("worker")),
            "the supervisor is stopped for a while": (2, lambda: self._pause_one("supervisor")),
            "systemd is stopped for a while": (2, self._pause_systemd),
            "the service is frozen for a while": (2, self._freeze),
            "SIGHUP": (2, lambda: self._signal_one("supervisor", signal.SIGHUP)),
            "SIGTTIN": (1, lambda: self._signal_one("supervisor", signal.SIGTTIN)),
            "SIGTTOU": (1, lambda: self._signal_one("supervisor", signal.SIGTTOU)),
            "a worker asks to be recycled": (2, self._recycle_one),
            "no process can be started": (1, self._refuse_processes),
            "pause": (2, self._pause_service),
        }

    def _reload(self) -> None:
        caller = self._systemd.reload(self._answered)
        if caller is not None:
            self.callers.append(caller)

    def deploy(self, fault: str) -> None:
        now = self._machine.release
        new = replace(now, version=now.version + 1, fault=fault, end=self._chance.choice((0.0, 0.0, 1.0)))
        self._machine.release = new
        if fault:
            seconds = self._chance.choice((1.0, 5.0, 20.0))
            self._expect_trouble(seconds + 0.1)  # a timer is late
            self._loop.call_later(seconds, self.repair)
        self._reload()

    def repair(self) -> None:
        now = self._machine.release
        if now.fault:
            self._machine.release = replace(now, version=now.version + 1, fault="")
            self._machine.kernel.log("the release is repaired")

    def _expect_trouble(self, seconds: float = 0.0) -> None:
        """Note that a reload which is asked for in this time, or is under way, may fail."""
        self.trouble = max(self.trouble, self._loop.time() + seconds)

    def _one(self, kind: str) -> SimulatedProcess | None:
        living = self._machine.kernel.living(kind)
        return self._chance.choice(living) if living else None

    def _harm_one(self, kind: str, number: signal.Signals) -> None:
        process = self._one(kind)
        if process is not None:
            process.harmed = True
            self._expect_trouble()
            if process.stopped:  # it may have been sent connections, which it has not taken yet
                owners = self._machine.owners.items()
                self._machine.held.update(client for client, owner in owners if not owner.lives)
            process.send(number)

    def _end_one(self) -> None:
        """Send a worker SIGTERM, as only its supervisor should.

        A supervisor that is to stop, and does not run, gives nobody what the worker hands over.
        """
        process, main = self._signal_one("worker", signal.SIGTERM), self._systemd.main
        if self._systemd.state == "deactivating" and main is not None and main.process.stopped:
            owned = (client for client, owner in self._machine.owners.items() if owner is process)
            self._machine.held.update(owned)

    def _signal_one(self, kind: str, number: signal.Signals) -> SimulatedProcess | None:
        process = self._one(kind)
        if process is not None:
            self._machine.kernel.log(f"{process.name} gets {number.name}")
            self._expect_trouble()
            process.send(number)
        return process

    def _pause_one(self, kind: str) -> None:
        process = self._one(kind)
        if process is not None:
            process.harmed = True  # it may be killed for it
            self._pause(process, self._chance.choice((0.05, 0.5, 4.0, 12.0)))

    def _pause_systemd(self) -> None:
        self._pause(self._systemd.process, self._chance.choice((0.05, 0.5, 4.0)))

    def _freeze(self) -> None:
        """Stop all processes of the service, as the freezer of its control group does."""
        seconds = self._chance.choice((0.5, 4.0, 12.0))
        processes = [*self._machine.kernel.living("supervisor"), *self._machine.kernel.living("worker")]
        for process in self._chance.sample(processes, len(processes)):
            self._pause(process, seconds)

    def _pause(self, process: SimulatedProcess, seconds: float) -> None:
        self._machine.kernel.log(f"{process.name} is stopped for {seconds} s")
        self._expect_trouble(seconds)
        process.send(signal.SIGSTOP)
        self._stopped[process.pid] = self._stopped.get(process.pid, 0) + 1
        self._loop.call_later(seconds, self._go_on, process)

    def _go_on(self, process: SimulatedProcess) -> None:
        """Let a process go on, unless another event still stops it."""
        self._stopped[process.pid] -= 1
        if not self._stopped[process.pid]:
            process.send(signal.SIGCONT)

    def _recycle_one(self) -> None:
        process = self._one("worker")
        if process is not None and not process.stopped:
            process.run(self._machine.workers[process.pid].reporter.recycle, "tired")

    def _pause_service(self) -> None:
        self._systemd.pause(self._chance.choice((0.5, 3.0)), self._paused)

    def _refuse_processes(self) -> None:
        self._expect_trouble(math.inf)
        self._machine.kernel.refusals = self._chance.randint(1, 3)
