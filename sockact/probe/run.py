"""Runs the clients of each load until the end of the run, and announces its start.

The run ends after `duration`, some time after the last action, when `stop` is set (by a signal), when every
client has made its `requests`, or when `start_limit` passes before each client was served once. In every
case no further request begins, those in flight are finished and counted, and then the report is made.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .account import Account, Ledger
from .action import RunAction, perform_all
from .clients import Client, OneShot, Pause, Persistent, Shared, Slow, Stream, Upload
from .pace import Clock, Pace
from .record import Mark
from .spec import Spec
from .websocket import Websocket
from .wire import Address

CLIENTS: dict[str, Callable[[Shared, Spec, Pace, str], Client]] = {
    "one-shot": OneShot,
    "pause": Pause,
    "persistent": Persistent,
    "slow": Slow,
    "upload": Upload,
    "stream": Stream,
    "websocket": Websocket,
}

PROGRESS_INTERVAL = 0.25
"""Seconds between two reports of progress."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plan of a run: loads, service and limits; all times in seconds.

    `duration` is None for a run that only a signal ends; `requests` is the number for each client, None for
    no end; `limit` is for each request, `start_limit` for the first served request of every client. Actions
    begin when every client was served, with a pause of `around` before, between and after them;
    `action_limit` is for each of them.
    """

    address: Address
    specs: tuple[Spec, ...]
    duration: float | None = None
    requests: int | None = None
    limit: float = 30.0
    start_limit: float = 30.0
    actions: tuple[RunAction, ...] = ()
    around: float = 3.0
    action_limit: float = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run.

    `seconds` is its whole time, and requests began until `loaded`; `started` is the time at which every
    client had been served, None for never.
    """

    ledger: Ledger
    seconds: float
    started: float | None
    marks: tuple[Mark, ...] = ()
    loaded: float | None = None


async def run(
    plan: RunPlan,
    stop: asyncio.Event,
    announce: Callable[[str], None],
    on_cut: Callable[[Callable[[], None]], object],
    on_progress: Callable[[float, Ledger], object] = lambda *_: None,
) -> Result:
    """Run the loads, and return the result.

    Args:
        plan: the plan.
        stop: ends the run when set.
        announce: called with `started` once every client was served, or else with `not started: ...`, and
            with a line when an action begins or ends.
        on_cut: called with the function that ends a window of the run (`Ledger.windows`).
        on_progress: called a few times a second with the time and the ledger.
    """
    clock = Clock()
    start = _AwaitedClients(clock, announce)
    prompt = frozenset(spec.label for spec in plan.specs if not spec.busy)
    ledger = Ledger({spec.label: Account() for spec in plan.specs}, prompt)

    def cut() -> None:
        ledger.cut(clock.now())

    on_cut(cut)
    clients = _clients(Shared(plan.address, clock, ledger, plan.limit, start.proven), plan)
    start.awaited.update(clients)
    acting = asyncio.create_task(_act(plan, clock, start, cut, announce))
    beside = (_end(clock, plan, stop, start), _tell(on_progress, clock, ledger))
    tasks = [acting, *map(asyncio.create_task, beside)]
    try:
        seconds = await _all_done(clients, clock)
        marks = await acting
    finally:
        for task in tasks:
            task.cancel()
    ledger.close(seconds)
    if plan.actions:
        ledger.cut(seconds)
    if start.moment is None:
        announce(f"not started: {len(start.awaited)} of {len(clients)} clients were never served")
    return Result(ledger, seconds, start.moment, tuple(marks), clock.ended.result())


class _AwaitedClients:
    """The clients that have not been served yet, and the time when the last of them was."""

    def __init__(self, clock: Clock, announce: Callable[[str], None]) -> None:
        self.awaited: set[Client] = set()
        self.moment: float | None = None
        self.started = asyncio.Event()
        self._clock = clock
        self._announce = announce

    def proven(self, client: Client) -> None:
        """Called when a client was served."""
        self.awaited.discard(client)
        if self.moment is None and not self.awaited:
            self.moment = self._clock.now()
            self.started.set()
            self._announce("started")

    def expire(self) -> None:
        """End the run unless every client was served."""
        if self.moment is None:
            self._clock.end()


def _clients(shared: Shared, plan: RunPlan) -> list[Client]:
    """Return the clients of all loads, those of a kind numbered from 1."""
    clients: list[Client] = []
    known: Counter[str] = Counter()
    for spec in plan.specs:
        # Clients are spread over one interval, but not so far that a slow load starts late.
        spread = min(1 / spec.rate, 1.0) if spec.rate is not None else 0.0
        for number in range(spec.clients):
            known[spec.kind] += 1
            pace = Pace(shared.clock, spec.rate, spread * number / spec.clients, plan.requests)
            clients.append(CLIENTS[spec.kind](shared, spec, pace, f"{spec.kind} {known[spec.kind]}"))
    return clients


async def _all_done(clients: Iterable[Client], clock: Clock) -> float:
    """Run the clients until the last one has ended, and return that time."""
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
    clock.end()
    return clock.now()


async def _act(
    plan: RunPlan,
    clock: Clock,
    start: _AwaitedClients,
    cut: Callable[[], None],
    announce: Callable[[str], None],
) -> list[Mark]:
    """Perform the actions once every client was served, and end the run after them."""
    if not plan.actions:
        return []
    started = asyncio.create_task(start.started.wait())
    await asyncio.wait((started, clock.ended), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    return await perform_all(plan.actions, plan.around, plan.action_limit, clock, cut, announce)


async def _tell(on_progress: Callable[[float, Ledger], object], clock: Clock, ledger: Ledger) -> None:
    while True:
        on_progress(clock.now(), ledger)
        await asyncio.sleep(PROGRESS_INTERVAL)


async def _end(clock: Clock, plan: RunPlan, stop: asyncio.Event, start: _AwaitedClients) -> None:
    """End the run when it is stopped, or when a limit passes; `run` cancels this."""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(plan.start_limit, start.expire)]
    if plan.duration is not None:
        timers.append(loop.call_later(plan.duration, clock.end))
    try:
        await stop.wait()
        clock.end()
    finally:
        for timer in timers:
            timer.cancel()
