"""The longest time without an answer that is due: in windows with a reload, and in as long ones without.

Both kinds take turns under one load. A window with a reload lasts until the last old worker has gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sockact.probe.background import BackgroundProbe
from tests.bench.figures import p95, spread
from tests.bench.service import Service, service
from tests.support.kinds import ALL_KINDS
from tests.support.manager import CHECKOUT

ROUNDS = 10
LOAD_APP = Path(CHECKOUT, "tests/apps/load_app.py")


def measure(rounds: int) -> Iterator[str]:
    for workers in (1, 4):
        with service(LOAD_APP.read_text()) as supervised:
            supervised.supervise(f"--workers={workers}", "--probation=0.2s")
            report = under_load(supervised, ALL_KINDS, rounds)
        windows = report["windows"][1:]  # the first ended before the first reload
        yield f"{workers} workers, {rounds} reloads, {report['requests']} requests, {report['lost']} lost"
        yield from _compare("all prompt loads together", [window["stall"] for window in windows])
        yield from _compare("the worst of them", [window["worst"] for window in windows])


def under_load(supervised: Service, kinds: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return the probe's report; its windows are one before all, and then one of each kind in turn."""
    with BackgroundProbe(supervised.url, kinds) as probe:
        probe.cut()
        for _ in range(rounds):
            began = time.monotonic()
            old = supervised.workers
            supervised.reload()
            supervised.wait_gone(old)
            probe.cut()
            time.sleep(time.monotonic() - began)
            probe.cut()
        return probe.report()


def _compare(what: str, stalls: Sequence[float]) -> Iterator[str]:
    found = {"with a reload": stalls[::2], "without": stalls[1::2]}
    for how, seconds in found.items():
        milliseconds = [1000 * stall for stall in seconds]
        yield f"  {what}, {how}: p95 {p95(milliseconds):.0f} ms, median {spread(milliseconds, 'ms')}"
    more = 1000 * (p95(stalls[::2]) - p95(stalls[1::2]))
    yield f"  {what}: p95 longer by {more:.0f} ms with a reload, goal 100"
