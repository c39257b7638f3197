"""Requests a second that the probe makes on one core, and the CPU time of each.

The service is on the other core. At a rate, the probe keeps up if nothing is left unsent; clients that ask
as fast as they are answered show what there is beyond.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.figures import cell, table
from tests.bench.service import HELLO, service

ROUNDS = 5
SECONDS = 4
LOADS = ("persistent:50@100", "persistent:50@max", "one-shot:50@50", "one-shot:50@max")


def measure(rounds: int) -> Iterator[str]:
    cores = sorted(os.sched_getaffinity(0))
    rows = [("load", "requests/s", "unsent", "CPU time of a request, µs")]
    with service(HELLO) as served:
        os.sched_setaffinity(0, cores[1:] or cores)
        try:
            served.supervise("--workers=1")
        finally:
            os.sched_setaffinity(0, cores)
        for load in LOADS:
            found = [_run(served.url, load, cores[0]) for _ in range(rounds)]
            rows.append((load, *(cell(values) for values in zip(*found, strict=True))))
    yield from table(rows)


def _run(url: str, load: str, core: int) -> tuple[float, float, float]:
    """Load a service from one core; return requests a second, unsent ones, and the CPU time of each."""
    words = [sys.executable, "-m", "sockact.probe", url, load, f"--duration={SECONDS}", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(["taskset", "--cpu-list", str(core), *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    requests = report["requests"]
    return requests / report["seconds"], report["total"]["unsent"], used / requests * 1e6
