"""The cost of handing connections over in a reload, beside `--no-handover`, which closes them.

The connections are persistent, and idle after one request each. A process that has ended can be asked no
more: the CPU time of the old worker is what its parent has reaped, in ticks of 10 ms, or 1 us for each of
10,000 connections. From each figure that of a reload without connections in the same round is taken off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.crowd import SPARE, Crowd, descriptors
from tests.bench.figures import p95, ratio, spread
from tests.bench.proc import cpu
from tests.bench.service import service
from tests.bench.stall import under_load

ROUNDS = 3
CROWDS = (2_000, 10_000)
MOVED, CLOSED = "--handover", "--no-handover"
OPTIONS = ("--workers=1", "--probation=0.1s", "--keep-alive=10min")

BUSY = "persistent:1@200"
RELOADS = 7
"""Reloads that the busy connection sees in each round, if no crowd beside it is to be opened anew."""

SETTLED = 1.0
"""Seconds after the end of the old worker, until the new one has taken up all that it was given."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The duration of a reload, in seconds.

    Attributes:
        old: CPU time of the worker that drained.
        supervisor: that of the supervisor.
        new: that of the new worker, its start included.
        ended: from the request until the old worker had ended.
        kept: how many connections were served afterwards, each as it was.
    """

    old: float
    supervisor: float
    new: float
    ended: float
    kept: int


Costs = dict[tuple[str, int], Cost]
"""The costs of one round, by option and number of connections."""


def measure(rounds: int) -> Iterator[str]:
    with descriptors() as room:
        crowds = [crowd for crowd in CROWDS if crowd + SPARE <= room]
        if crowds != list(CROWDS):
            yield f"skipped: more than {room - SPARE} connections (ulimit -Hn)"
        costs = [_costs(crowds) for _ in range(rounds)]
        for crowd in crowds:
            yield from _cpu(crowd, costs)
            yield from _duration(crowd, costs)
        for crowd in (0, *crowds[-1:]):
            yield from _stalls(crowd, rounds)


def _costs(crowds: Sequence[int]) -> Costs:
    return {(option, crowd): _cost(option, crowd) for crowd in (0, *crowds) for option in (MOVED, CLOSED)}


def _cost(option: str, count: int) -> Cost:
    with service() as supervised:
        supervisor = supervised.supervise(*OPTIONS, option)
        (old,) = supervised.workers
        with Crowd(supervised.address, count) as crowd:
            used, before_the_drain, reaped = cpu(supervisor), cpu(old), _reaped(supervisor)
            began = time.monotonic()
            supervised.reload()
            supervised.wait_gone({old})
            ended = time.monotonic() - began
            time.sleep(SETTLED)
            (new,) = supervised.workers
            return Cost(
                old=_reaped(supervisor) - reaped - before_the_drain,
                supervisor=cpu(supervisor) - used,
                new=cpu(new),
                ended=ended,
                kept=crowd.served(),
            )


def _cpu(crowd: int, costs: Sequence[Costs]) -> Iterator[str]:
    moved, closed = (_more(costs, option, crowd, "old", 1e6 / crowd) for option in (MOVED, CLOSED))
    yield f"{crowd:,} connections: {spread(moved, 'us')} of CPU of the old worker for each, goal 42"
    yield f"  closed by {CLOSED}: {spread(closed, 'us')}"
    yield f"  ratio {ratio(list(zip(moved, closed, strict=True)))}"
    for process, who in (("supervisor", "supervisor"), ("new", "new worker")):
        yield f"  of the {who}: {spread(_more(costs, MOVED, crowd, process, 1e6 / crowd), 'us')} for each"


def _duration(crowd: int, costs: Sequence[Costs]) -> Iterator[str]:
    for option, goal in ((MOVED, ", goal 1000"), (CLOSED, "")):
        ended = [1000 * each[option, crowd].ended for each in costs]
        kept = min(each[option, crowd].kept for each in costs)
        yield f"  {option}: {spread(ended, 'ms')} from the reload to the end of the old worker"
        yield f"    longer by {spread(_more(costs, option, crowd, 'ended', 1000), 'ms')}{goal}"
        yield f"    {kept:,} of {crowd:,} connections are served afterwards"


def _more(costs: Sequence[Costs], option: str, crowd: int, what: str, scale: float) -> list[float]:
    """Return how much more of something there was than without connections, in each round."""
    return [scale * (getattr(each[option, crowd], what) - getattr(each[option, 0], what)) for each in costs]


def _stalls(crowd: int, rounds: int) -> Iterator[str]:
    """Compare what a client sees whose connection is never idle for long, with a crowd beside it."""
    found: dict[str, list[float]] = {MOVED: [], CLOSED: []}
    for _ in range(rounds):
        for option in found:
            found[option] += _windows(option, crowd, 1 if crowd else RELOADS)
    yield f"the longest response time of a busy connection beside {crowd:,} idle ones"
    for option, windows in found.items():
        with_reload, after = windows[::2], windows[1::2]
        yield f"  {option}: p95 {p95(with_reload):.0f} ms with a reload, median {spread(with_reload, 'ms')}"
        yield f"    p95 {p95(after):.0f} ms in as long a time after it, median {spread(after, 'ms')}"


def _windows(option: str, crowd: int, reloads: int) -> list[float]:
    """Return the longest response times, with a reload and without in turn, in milliseconds."""
    with service() as supervised:
        supervised.supervise(*OPTIONS, option)
        with Crowd(supervised.address, crowd):
            report = under_load(supervised, [BUSY], reloads)
    assert not report["lost"], report["failures"]
    return [1000 * window["worst"] for window in report["windows"][1:]]


def _reaped(pid: int) -> float:
    """Return the seconds that its children have had which it has waited for: cutime, cstime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
