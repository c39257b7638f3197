"""The permanent load: `python -m tests.chaos.clients URL LOAD...`, with a line of JSON for each loss.

    {"loss": {"opened", "began", "ended", "load", "port", "outcome", "detail"}}
    {"slow": an answer that took long}
    {"served": {load: requests served}, "requests": number, "longest": seconds}   twice a second

It goes on until its standard input ends; requests in flight are then finished and counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections import Counter
from typing import Any

from sockact.probe.account import Account, Ledger
from sockact.probe.clients import Client, Shared
from sockact.probe.outcome import Outcome
from sockact.probe.pace import Clock, Pace
from sockact.probe.record import Identity
from sockact.probe.run import CLIENTS
from sockact.probe.spec import Spec, parse_specs
from sockact.probe.wire import Address, Connection, resolve
from tests.chaos.oracle import CLOSED, Loss

LIMIT = 90.0
"""Seconds for a request."""

SLOW = 10.0
"""Seconds after which an answer is told."""

INTERVAL = 0.5


@dataclasses.dataclass
class Tally:
    """The counts of all clients."""

    served: Counter[str] = dataclasses.field(default_factory=Counter)
    requests: int = 0
    closed: int = 0
    longest: float = 0.0

    def say(self, document: dict[str, Any]) -> None:
        print(json.dumps(document), flush=True)

    def tell(self) -> None:
        counts = {"requests": self.requests, "closed": self.closed, "longest": self.longest}
        self.say({"served": self.served, **counts})


class OneLedger(Ledger):
    """The ledger of one client, which has one request in flight at most: it tells losses at once."""

    def __init__(self, label: str, tally: Tally) -> None:
        super().__init__({label: Account()}, frozenset())
        self.port, self.opened = 0, 0.0
        self.last = (0, 0.0)
        self._tally = tally
        self._began = 0.0
        self._closed = 0

    def begin(self, *_: object) -> None:
        self._began = time.monotonic()
        self._tally.requests += 1

    def tell_closed(self, load: str) -> None:
        """Tell of a kept connection that the service has closed in good order."""
        closed, self._closed = self._closed, self.accounts[load].reconnects
        if self._closed > closed:
            port, opened = self.last
            loss = Loss(opened, opened, time.monotonic(), load, port, CLOSED, "")
            self._tally.say({"loss": dataclasses.asdict(loss)})

    def end(
        self, load: str, _due: float, _now: float, outcome: Outcome, detail: str = "", **_: Identity
    ) -> None:
        ended = time.monotonic()
        self.tell_closed(load)
        if outcome is Outcome.OK:
            self._tally.served[load] += 1
            taken = round(ended - self._began, 2)
            self._tally.longest = max(self._tally.longest, taken)
            if taken > SLOW:
                self._tally.say({"slow": f"{load} from port {self.port}: answered after {taken} s"})
        elif outcome.lost:
            # A session that ends while nothing is asked on it has been lost since it was opened.
            began = self.opened if detail.startswith("idle session") else self._began
            loss = Loss(self.opened, began, ended, load, self.port, outcome.value, detail)
            self._tally.say({"loss": dataclasses.asdict(loss)})
        else:
            self._tally.closed += 1

    def saw(self, *_: object) -> None:
        """Keep nothing: a walk is long."""


def noting_port(ledger: OneLedger) -> type[Client]:
    """Return what makes a client note the port of its connection."""

    class Noting(Client):
        async def connect(self) -> Connection:
            ledger.port = 0
            connection = await super().connect()
            ledger.port, ledger.opened = connection._sock.getsockname()[1], time.monotonic()
            return connection

        def close(self, connection: Connection) -> None:
            ledger.last = (ledger.port, ledger.opened)
            super().close(connection)

    return Noting


def client(address: Address, clock: Clock, spec: Spec, number: int, tally: Tally) -> Client:
    """Return one client of a load."""
    ledger = OneLedger(spec.label, tally)
    shared = Shared(address, clock, ledger, LIMIT, lambda _: None)
    spread = min(1 / spec.rate, 1.0) if spec.rate is not None else 0.0
    kind = CLIENTS[spec.kind]
    assert isinstance(kind, type)
    noting = type("Noting", (kind, noting_port(ledger)), {})
    pace = Pace(clock, spec.rate, spread * number / spec.clients, None)
    return noting(shared, spec, pace, f"{spec.kind} {number}")


async def run(url: str, labels: list[str]) -> None:
    """Run the clients until the standard input ends."""
    clock, tally, address = Clock(), Tally(), resolve(url)
    asyncio.get_running_loop().add_reader(0, clock.end)
    clients = [
        client(address, clock, spec, number, tally)
        for spec in parse_specs(labels)
        for number in range(spec.clients)
    ]
    async with asyncio.TaskGroup() as group:
        telling = asyncio.create_task(tell_often(tally))
        for each in clients:
            group.create_task(each.run())
        await clock.ended
        asyncio.get_running_loop().remove_reader(0)
    telling.cancel()
    tally.tell()


async def tell_often(tally: Tally) -> None:
    while True:
        tally.tell()
        await asyncio.sleep(INTERVAL)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2:]))
