"""A simulated machine under load, on which anything may happen; a seed decides what, and when.

The code of the supervisor, of its conductor, of what it says to its workers and to systemd, and that of a
worker but for its engine, is the real one. The promises are checked while it runs, and at its end:

- a request is lost only with the process that served it, if an event has killed that; or while its
  connection was on its way to a worker, or waited for one, in a supervisor that was killed, or in a service
  that was stopped;
- a reload is answered once, and by the new code if the answer is yes;
- after RELOADING=1 comes READY=1; the main PID stays over a reload;
- when nothing happens any more, as many workers serve as are to, and none is left over;
- after a stop no process, no descriptor and no stored descriptor is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import time
from collections.abc import Callable
from typing import Any

from sockact.config.settings import Settings
from sockact.supervisor.fleet import Stage
from tests.simulation.clients import Clients, Loss
from tests.simulation.clock import SimulatedLoop
from tests.simulation.events import Events
from tests.simulation.kernel import Kernel, SimulatedProcess
from tests.simulation.outcome import Outcome, collected_log
from tests.simulation.replaced import in_place_of_the_kernel
from tests.simulation.roles import Machine, Release, SupervisorProcess
from tests.simulation.systemd import SimulatedCaller, SimulatedSystemd, listening

QUIET = 150.0
"""Seconds after the last event in which all has settled: a pause before a start takes 30, so do drains."""

CLOSED_WITHIN = 5.0
"""Real seconds in which `untrusted.ancillary` has closed what takes time."""

CALM = 30.0
"""The factor by which clients ask less often then."""

PAUSES = (0.0, 0.02, 0.1, 0.4, 1.0, 2.5, 8.0, 40.0)


def simulate(
    seed: int, *, verbose: bool = False, without: Callable[[], Any] = contextlib.nullcontext
) -> Outcome:
    """Run the simulation of a seed.

    Args:
        seed: decides all of it.
        verbose: also collect what is logged.
        without: returns a context in which it runs, in which a cure is taken out for example.
    """
    chance = random.Random(seed)
    outcome = Outcome(seed)
    before = _open_descriptors()
    loop = SimulatedLoop(random.Random(seed))
    state = random.getstate()
    random.seed(seed)
    try:
        with without(), collected_log(outcome, loop, verbose=verbose):
            loop.run_until_complete(_live(chance, outcome, loop))  # a Runner would end dead tasks
    finally:
        loop.close()
        random.setstate(state)
    if not outcome.broken and (left := _descriptors_above(before)) > 0:
        outcome.broken.append(f"{left} descriptors are left")
    return outcome


async def _live(chance: random.Random, outcome: Outcome, loop: SimulatedLoop) -> None:
    await World(chance, outcome, loop).live()


class World:
    """The machine, the events and the promises."""

    def __init__(self, chance: random.Random, outcome: Outcome, loop: SimulatedLoop) -> None:
        self._chance = chance
        self._outcome = outcome
        self._loop = loop
        self._kernel = Kernel(loop, self._log)
        self._settings = self._chosen()
        listener = listening()
        self._machine = Machine(
            self._kernel, self._settings, listener, Release(start=chance.choice((0.05, 0.3, 2.0)))
        )
        self._clients = Clients(listener.getsockname(), chance)

    def _chosen(self) -> Settings:
        chance = self._chance
        return Settings(
            workers=chance.choice((1, 1, 2, 3)),
            surge=chance.choice((0, 0, 1)),
            start_timeout=10.0,
            probation=chance.choice((0.0, 1.0)),
            drain_timeout=chance.choice((5.0, 30.0)),
            shutdown_timeout=2.0,
            worker_watchdog=chance.choice((None, 3.0)),
            max_draining=chance.choice((1, 16)),
        )

    def _log(self, text: str) -> None:
        self._outcome.log.append(f"{self._loop.time():9.3f} {text}")

    def _break(self, promise: str) -> None:
        self._log(f"BROKEN: {promise}")
        self._outcome.broken.append(promise)

    # The run.

    async def live(self) -> None:
        """Let everything happen, then look at what is left."""
        self._loop.set_exception_handler(self._fault)
        chance = self._chance
        self.systemd = SimulatedSystemd(
            self._machine, storage=chance.choice((512, 512, 12)), bus=chance.random() < 0.8
        )
        self._log(f"{self._settings.workers} workers, {self._machine.release}")
        self._events = Events(self._machine, self.systemd, chance, self._judge_answer, self._judge_pause)
        with in_place_of_the_kernel(self._machine, self.systemd):
            self.systemd.start()
            clients = self._clients.begin(kept=chance.randint(1, 3), single=chance.randint(1, 2))
            for _ in range(chance.randint(4, 10)):
                await asyncio.sleep(chance.choice(PAUSES))
                self._happen()
            await self._settle()
            self._clients.end()
            await asyncio.wait(clients)
            await self._end()
        books = self._clients.books
        self._outcome.answered = books.answered
        for loss in books.losses:
            self._judge_loss(loss)
        self._kernel.close()
        self._machine.listener.close()

    def _happen(self) -> None:
        events = self._events.possible()
        (event,) = self._chance.choices(list(events), weights=[weight for weight, _ in events.values()])
        self._outcome.events.append(event)
        self._log(f"--- {event}")
        events[event][1]()

    # The promises.

    async def _wait_for(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds, and goes on to hold."""
        deadline, times = self._loop.time() + QUIET, 0
        while times < 3 and self._loop.time() < deadline:
            await asyncio.sleep(1.0)
            times = times + 1 if reached() else 0

    def _is_settled(self) -> bool:
        main = self.systemd.main
        if self.systemd.state != "active" or main is None or main.supervisor is None:
            return False
        if any(each.stopped for each in self._kernel.living()):
            return False
        if main.supervisor.pausing.paused:
            return False
        fleet = main.supervisor._fleet
        served = [worker for worker in fleet.workers.values() if worker.serves]
        living = self._kernel.living("worker")
        answered = all(each.answers for each in self._events.callers if each.main.process.lives)
        return not fleet.next and len(living) == len(served) == fleet.size and answered

    def _fault(self, _: Any, context: dict[str, Any]) -> None:
        self._break(f"an exception: {context.get('exception')!r} {context.get('message')}")

    def _judge_answer(self, caller: SimulatedCaller, ok: bool, text: str) -> None:
        self._log(f"the reload of {caller.asked:.3f} is answered: {text}")
        if not ok:
            if "the service is paused" in text:
                return
            if self._events.trouble < caller.asked and self.systemd.job == "":
                self._break(f"a reload has failed without a cause: {text}")
            return
        supervisor = caller.main.supervisor
        assert supervisor is not None
        serving = [
            self._machine.workers[child.pid].release.version
            for number, child in supervisor._children._children.items()
            if supervisor._fleet.workers[number].generation == supervisor._fleet.current
        ]
        if serving and max(serving) < caller.release:
            self._break(f"a reload was told to be done, but version {max(serving)} serves: {text}")

    def _judge_pause(self, caller: SimulatedCaller, ok: bool, text: str) -> None:
        self._log(f"the pause of {caller.asked:.3f} is answered: {text}")
        supervisor = caller.main.supervisor
        # One that a supervisor before has not left to it drains by itself, unknown to it.
        known = {child.pid for child in supervisor._children._children.values()} if supervisor else set()
        busy = [each.process for each in self._machine.workers.values() if each.is_busy]
        if ok and (awaited := [each for each in busy if each.pid in known and not each.harmed]):
            self._break(f"a service is said to be idle, but {awaited[0].name} is not")

    async def _settle(self) -> None:
        """Wait until all has settled, and look whether it is as it has to be."""
        self._events.calm()
        self._clients.pace = CALM
        await self._wait_for(self._is_settled)
        version = await self._clients.ask_once()
        main = self.systemd.main
        if self.systemd.state != "active" or main is None or main.supervisor is None:
            self._break(f"the service is {self.systemd.state}, expected active")
            return
        if version is None:
            self._break("a new connection is not served")
        self._judge_reloads()
        await self._judge_last_reload(main)
        self._judge_workers(main)

    def _judge_reloads(self) -> None:
        for caller in self._events.callers:
            if len(caller.answers) > 1:
                self._break(f"a reload of {caller.asked:.3f} has {len(caller.answers)} answers")
            if not caller.answers and not caller.main.process.harmed:
                self._break(f"a reload of {caller.asked:.3f} has no answer")
            self._outcome.reloads += 1
        self._outcome.broken += self.systemd.astonished
        told = self.systemd.told
        if told[-1] != "READY":
            self._break(f"the last that systemd was told is {told[-1]}")

    async def _judge_last_reload(self, main: SupervisorProcess) -> None:
        """Deploy once more: now that nothing else happens, it has to succeed."""
        before = main.process.pid
        self._events.deploy("")
        caller = self._events.callers[-1]
        await self._wait_for(self._is_settled)
        if caller.answers != [True]:
            self._break(f"a reload on a quiet machine: {caller.answers}")
        version = await self._clients.ask_once()
        if version != self._machine.release.version:
            self._break(f"version {version} serves, expected {self._machine.release.version}")
        if self.systemd.main is None or self.systemd.main.process.pid != before:
            self._break("the main PID has changed")

    def _judge_workers(self, main: SupervisorProcess) -> None:
        assert main.supervisor is not None
        fleet = main.supervisor._fleet
        stages = [worker.stage for worker in fleet.workers.values()]
        living = self._kernel.living("worker")
        if stages != [Stage.READY] * fleet.size or len(living) != fleet.size:
            self._break(f"{len(living)} workers live, {stages}; expected {fleet.size} that serve")
        if main.holds():
            self._break(f"{main.holds()} connections wait in the supervisor")
        # Of each worker its handle, its supply and its statistics; and the totals of all.
        expected = 5 * len(living) + 1 if self.systemd._storage > 100 else None
        if expected is not None and len(self.systemd.store) != expected:
            names = sorted(name for name, _ in self.systemd.store)
            self._break(f"systemd stores {names}, expected those of {len(living)} workers")

    async def _end(self) -> None:
        """Stop for good, and look at what is left."""
        self.systemd.stop()
        await self._wait_for(lambda: self.systemd.state == "inactive" and len(self._kernel.living()) == 1)
        if self.systemd.state != "inactive":
            self._break(f"after a stop the service is {self.systemd.state}")
        if left := [each.name for each in self._kernel.living() if each is not self.systemd.process]:
            self._break(f"after a stop there are {left}")
        if self.systemd.store:
            self._break(f"after a stop systemd stores {self.systemd.store}")
        self.systemd.process.end(0)
        self.systemd.close()
        self._kernel.bury()

    def _supervisors(self) -> list[SimulatedProcess]:
        return [each.process for each in self._machine.supervisors.values()]

    def _judge_loss(self, loss: Loss) -> None:
        if loss.sent >= self._machine.closed.get(loss.client, math.inf):
            return  # it was idle until `linger` was over, as every server closes idle connections
        if self._settings.max_draining == 1 and loss.client in self._machine.aborted:
            self._outcome.excused += 1
            return  # as that setting says
        if loss.client in self._machine.held:
            self._outcome.excused += 1
            return
        owner = self._machine.owners.get(loss.client)
        concerned = (owner, self.systemd.process, *self._supervisors())
        stopped = any(each.was_stopped for each in concerned if each is not None)
        if stopped and loss.client in self._machine.aborted:
            self._outcome.excused += 1
            return  # the drain timeout was over while one of them did not run, or started no supervisor
        if owner is not None and (owner.harmed or (owner.code or 0) > 0):
            self._outcome.excused += 1
            return
        self._break(f"lost: {loss}, served by {owner.name if owner else 'nobody'}")


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _descriptors_above(before: int) -> int:
    """Return how many more descriptors are open than before, when a thread has had time to close some."""
    deadline = time.monotonic() + CLOSED_WITHIN
    while (left := _open_descriptors() - before) > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    return left
