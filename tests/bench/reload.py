"""The duration of a reload, from SIGHUP to READY=1, with more and more workers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from tests.bench.figures import spread
from tests.bench.service import service

ROUNDS = 3
WORKERS = (1, 2, 4, 8, 16, 32)
PROBATION = 0.1


def measure(rounds: int) -> Iterator[str]:
    for workers in WORKERS:
        with service() as supervised:
            supervised.supervise(f"--workers={workers}", f"--probation={PROBATION}s", "--linger=0.1s")
            found = []
            for _ in range(rounds):
                old = supervised.workers
                began = time.monotonic()
                supervised.reload()
                found.append(1000 * (time.monotonic() - began))
                supervised.wait_gone(old)
        each = (statistics.median(found) - 1000 * PROBATION) / workers
        yield f"{workers} workers: {spread(found, 'ms')}; without the probation {each:.0f} ms a worker"
