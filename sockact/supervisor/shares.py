"""The decisions about even load, without a process, a socket or a clock.

A worker's share of all connections is usually the same as everybody's. Of one whose responses take much
longer than those of the others it becomes smaller, until they take as long or hardly any connection is
left; it grows again when they take no longer any more, or when nothing is known of them.

Connections move only when a worker has a quarter more or less than its share, and then until all have
theirs: so a crowd that is nearly even is left alone, and none moves to and fro.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

from sockact.handover.exchange import WorkerLoad

TOLERANCE = 0.25
"""How much more or less than its share a worker may have, as a part of it."""

SLOW = 3.0
"""How many times longer than those of the others a slow worker's responses take."""

SLOWER = 0.005
"""How many seconds longer they take, at least: below that it is the noise of a busy machine."""

EVEN = 1.5
"""How many times longer they may take when a share may grow again."""

GROWTH = 1.1
"""The factor by which a share grows at a time."""

SMALLEST = 0.02
"""The smallest share."""


def surplus(loads: Mapping[int, WorkerLoad], able: Collection[int]) -> dict[int, int]:
    """Return how many connections workers have to hand over, by their numbers.

    Args:
        loads: of the workers that serve.
        able: those that can receive some.
    """
    due = targets(loads)
    if not any(_is_far(load.connections, due[worker]) for worker, load in loads.items()):
        return {}
    room = sum(max(due[worker] - loads[worker].connections, 0) for worker in loads if worker in able)
    result = {}
    for worker in sorted(loads, key=lambda each: due[each] - loads[each].connections):
        if (given := min(loads[worker].connections - due[worker], room)) > 0:
            result[worker] = given
            room -= given
    return result


def short(loads: Mapping[int, WorkerLoad]) -> list[int]:
    """Return the workers that have less than their share."""
    return [worker for worker, due in targets(loads).items() if loads[worker].connections < due]


def targets(loads: Mapping[int, WorkerLoad]) -> dict[int, int]:
    """Return how many connections each worker should have.

    Whole numbers as near as can be, and where several are, those that need the fewest moves. They are also
    those to which an exchange comes that gives each connection to the worker with the least load.
    """
    connections = sum(load.connections for load in loads.values())
    shares = sum(load.share for load in loads.values())
    # Rounded first, so that 15.999999999 is taken for 16.
    due = {worker: int(round(connections * load.share / shares, 6)) for worker, load in loads.items()}
    next_ = [_claim(each, due[each], load) for each, load in loads.items()]
    heapq.heapify(next_)
    for _ in range(connections - sum(due.values())):
        worker = next_[0][-1]
        due[worker] += 1
        heapq.heapreplace(next_, _claim(worker, due[worker], loads[worker]))
    return due


def _claim(worker: int, due: int, load: WorkerLoad) -> tuple[float, int, int]:
    """Return a worker's claim to one connection more: the smallest one is met first."""
    return (due + 1) / load.share, due - load.connections, worker


def _is_far(connections: int, due: int) -> bool:
    return abs(connections - due) > TOLERANCE * due


def slowness(times: Mapping[int, float]) -> dict[int, float]:
    """Return how many times longer than those of the others the responses of each worker take.

    Where the difference would be noise, it is 1.

    Args:
        times: seconds; without the workers that have answered hardly any request of late.
    """
    found = {}
    for worker, own in times.items():
        others = [time for each, time in times.items() if each != worker]
        usual = sorted(others)[len(others) // 2] if others else own
        found[worker] = own / usual if own - usual > SLOWER and usual > 0 else 1.0
    return found


def adjusted(share: float, slow: float, before: float) -> float:
    """Return the share that a worker gets, in place of the one that it has.

    Args:
        share: its share so far.
        slow: its `slowness`; 1 if nothing is known.
        before: the same at the last adjustment. Once may be chance, for example the first responses of all.
    """
    if slow > SLOW and before > SLOW:
        return max(share / slow, SMALLEST)
    return min(share * GROWTH, 1.0) if slow < EVEN else share
