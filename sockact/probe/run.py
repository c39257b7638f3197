"""One run: clients for each load, the ways in which it ends, and the `started` line.

The run ends after `duration`, when `stop` is set (by a signal), when every client has made its `requests`,
or when `start_limit` passes before each client was served once. In every case no further request begins,
those in flight are finished and counted, and only then there is a report.
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
    """What to run, against what, and how long; all times in seconds.

    `duration` is None for a run which only a signal ends; `requests` is how many each client makes, None
    for as many as the schedule has; `limit` is for each request, `start_limit` for the first of every
    client to be served.
    """

    address: Address
    specs: tuple[Spec, ...]
    duration: float | None = None
    requests: int | None = None
    limit: float = 30.0
    start_limit: float = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """The books of a run which is over, its length, and when every client had been served (None: never)."""

    ledger: Ledger
    seconds: float
    started: float | None


async def run(
    settings: RunPlan,
    stop: asyncio.Event,
    announce: Callable[[str], None],
    on_cut: Callable[[Callable[[], None]], object],
) -> Result:
    """Make the load, and return what came of it.

    Args:
        settings: what to run.
        stop: ends the run when set.
        announce: is called with `started` once every client was served, or with `not started: ...` when
            that does not come about.
        on_cut: is called with the function that ends a window of the run (`Ledger.windows`).
    """
    clock = Clock()
    start = _AwaitedClients(clock, announce)
    prompt = frozenset(spec.label for spec in settings.specs if not spec.busy)
    ledger = Ledger({spec.label: Account() for spec in settings.specs}, prompt)
    on_cut(lambda: ledger.cut(clock.now()))
    shared = Shared(settings.address, clock, ledger, settings.limit, start.proven)
    clients = [
        _client(shared, spec, number, settings) for spec in settings.specs for number in range(spec.clients)
    ]
    start.awaited.update(clients)
    end = asyncio.create_task(_end(clock, settings, stop, start))
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
    """Which clients have not been served yet, and when the last of them was."""

    def __init__(self, clock: Clock, announce: Callable[[str], None]) -> None:
        self.awaited: set[Client] = set()
        self.moment: float | None = None
        self._clock = clock
        self._announce = announce

    def proven(self, client: Client) -> None:
        """Note that a client was served."""
        self.awaited.discard(client)
        if self.moment is None and not self.awaited:
            self.moment = self._clock.now()
            self._announce("started")

    def expire(self) -> None:
        """End the run unless every client was served by now."""
        if self.moment is None:
            self._clock.end()


def _client(shared: Shared, spec: Spec, number: int, settings: RunPlan) -> Client:
    # Spread over one interval, but not so far that a slow load starts late.
    spread = min(1 / spec.rate, 1.0) if spec.rate is not None else 0.0
    pace = Pace(shared.clock, spec.rate, spread * number / spec.clients, settings.requests)
    return CLIENTS[spec.kind](shared, spec, pace)


async def _end(clock: Clock, settings: RunPlan, stop: asyncio.Event, start: _AwaitedClients) -> None:
    """End the run at the first of its ends which comes from outside; `run` cancels this."""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(settings.start_limit, start.expire)]
    if settings.duration is not None:
        timers.append(loop.call_later(settings.duration, clock.end))
    try:
        await stop.wait()
        clock.end()
    finally:
        for timer in timers:
            timer.cancel()
