"""The ends of workers, counted by cause, and their drains."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from sockact.process.child import Child
from sockact.process.ledger import StatisticsLedger
from sockact.protocols.service_events import ENDS, Cause, drained
from sockact.supervisor.fleet.orders import Order
from sockact.systemd import unit_files

CGROUPS = "/sys/fs/cgroup"

_KILLS = {Order.KILL_WITH_STACKS: Cause.WATCHDOG, Order.KILL: Cause.TIMEOUT}


@dataclass(slots=True)
class _Going:
    """The knowledge of a worker that is to end.

    Attributes:
        cause: the cause, if it ends after its drain.
        since: when its drain has begun; None if it has not.
        killed: the cause, if it was killed here.
    """

    cause: Cause = Cause.REPLACED
    since: float | None = None
    killed: Cause | None = None


class WorkerEnds:
    """Counts the ends of workers.

    Args:
        ledger: where they are counted.
        clock: returns the time in seconds.
        oom_kills: returns how many processes of the service the kernel has killed for lack of memory.
    """

    def __init__(
        self,
        ledger: StatisticsLedger,
        clock: Callable[[], float],
        oom_kills: Callable[[], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._oom_kills = oom_kills or read_oom_kills
        self._known_oom_kills = self._oom_kills()
        self._going: dict[int, _Going] = {}

    def recycled(self, worker: int, cause: Cause) -> None:
        """Note that a worker is to be replaced, for a cause of its own."""
        self._of(worker).cause = cause

    def told(self, worker: int, order: Order) -> None:
        """Note an order to a worker."""
        going = self._of(worker)
        if order in _KILLS:
            going.killed = going.killed or _KILLS[order]
        elif order is Order.DRAIN and going.since is None:
            going.since = self._clock()

    def ended(self, worker: int, child: Child) -> None:
        """Count the end of a worker."""
        going = self._going.pop(worker, _Going())
        self._ledger.count({ENDS + self._cause(going, child): 1})
        if going.since is not None:
            self._ledger.count(drained(self._clock() - going.since))

    def _of(self, worker: int) -> _Going:
        return self._going.setdefault(worker, _Going())

    def _cause(self, going: _Going, child: Child) -> Cause:
        if going.killed is not None:
            return going.killed
        if child.killed_by == signal.SIGKILL and self._oom_has_killed():
            return Cause.OOM
        # Another program than one of ours may end so when it is told to.
        if going.since is not None and child.killed_by in (0, signal.SIGTERM) and not child.exit_status:
            return going.cause
        return Cause.SIGNAL if child.killed_by else Cause.ERROR

    def _oom_has_killed(self) -> bool:
        before, self._known_oom_kills = self._known_oom_kills, self._oom_kills()
        return self._known_oom_kills > before


def read_oom_kills() -> int:
    """Return how many processes of this service were killed for lack of memory; 0 if that cannot be read.

    Source: memory.events in the kernel's cgroup-v2.rst.
    """
    try:
        with open(f"{CGROUPS}{unit_files.cgroup_of()}/memory.events", encoding="ascii") as file:
            return int(dict(line.split() for line in file).get("oom_kill", "0"))
    except (OSError, ValueError):
        return 0
