"""Runs the clients of each load until the end of the run, and announces its start.

The run ends after `duration`, when `stop` is set (by a signal), when every client has made its `requests`,
or when `start_limit` passes before each client was served once. In every case no further request begins,
those in flight are finished and counted, and then the report is made.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .account import Account, Ledger
from .clients import Client, OneShot, Pause, Persistent, Shared, Slow, Stream, Upload
from .pace import Clock, Pace
from .spec import Spec
from .websocket import Websocket
from .wire import Address

CLIENTS: dict[str, Callable[[Shared, Spec, Pace], Client]] = {
    "one-shot": OneShot,
    "pause": Pause,
    "persistent": Persistent,
    "slow": Slow,
    "upload": Upload,
    "stream": Stream,
    "websocket": Websocket,
}


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plan of a run: loads, service and limits; all times in seconds.

    `duration` is None for a run that only a signal ends; `requests` is the number for each client, None for
    no end; `limit` is for each request, `start_limit` for the first served request of every client.
    """

    address: Address
    specs: tuple[Spec, ...]
    duration: float | None = None
    requests: int | None = None
    limit: float = 30.0
    start_limit: float = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run; `started` is the time at which every client had been served, None for never."""

    ledger: Ledger
    seconds: float
    started: float | None


async def run(
    plan: RunPlan,
    stop: asyncio.Event,
    announce: Callable[[str], None],
    on_cut: Callable[[Callable[[], None]], object],
) -> Result:
    """Run the loads, and return the result.

    Args:
        plan: the plan.
        stop: ends the run when set.
        announce: called with `started` once every client was served, or else with `not started: ...`.
        on_cut: called with the function that ends a window of the run (`Ledger.windows`).
    """
    clock = Clock()
    start = _AwaitedClients(clock, announce)
    prompt = frozenset(spec.label for spec in plan.specs if not spec.busy)
    ledger = Ledger({spec.label: Account() for spec in plan.specs}, prompt)
    on_cut(lambda: ledger.cut(clock.now()))
    shared = Shared(plan.address, clock, ledger, plan.limit, start.proven)
    clients = [_client(shared, spec, number, plan) for spec in plan.specs for number in range(spec.clients)]
    start.awaited.update(clients)
    end = asyncio.create_task(_end(clock, plan, stop, start))
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
    finally:
        end.cancel()
    ledger.close(clock.now())
    if start.moment is None:
        announce(f"not started: {len(start.awaited)} of {len(clients)} clients were never served")
    return Result(ledger, clock.now(), start.moment)


class _AwaitedClients:
    """The clients that have not been served yet, and the time when the last of them was."""

    def __init__(self, clock: Clock, announce: Callable[[str], None]) -> None:
        self.awaited: set[Client] = set()
        self.moment: float | None = None
        self._clock = clock
        self._announce = announce

    def proven(self, client: Client) -> None:
        """Called when a client was served."""
        self.awaited.discard(client)
        if self.moment is None and not self.awaited:
            self.moment = self._clock.now()
            self._announce("started")

    def expire(self) -> None:
        """End the run unless every client was served."""
        if self.moment is None:
            self._clock.end()


def _client(shared: Shared, spec: Spec, number: int, plan: RunPlan) -> Client:
    # Clients are spread over one interval, but not so far that a slow load starts late.
    spread = min(1 / spec.rate, 1.0) if spec.rate is not None else 0.0
    pace = Pace(shared.clock, spec.rate, spread * number / spec.clients, plan.requests)
    return CLIENTS[spec.kind](shared, spec, pace)


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
