"""The CPU time of a supervisor with which nothing happens, and how often it wakes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.service import service

ROUNDS = 6
SECONDS = 10.0
"""The length of a round: by default all of them are a minute."""

WORKERS = (1, 4)


def measure(rounds: int) -> Iterator[str]:
    seconds = rounds * SECONDS
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(service()).supervise(f"--workers={count}") for count in WORKERS]
        time.sleep(1)  # the start is not idle
        before = [_used(pid) for pid in pids]
        time.sleep(seconds)
        after = [_used(pid) for pid in pids]
    for count, (cpu, wakes), (cpu_then, wakes_then) in zip(WORKERS, before, after, strict=True):
        used = (
            f"{(cpu_then - cpu) / 1e6:.2f} ms of CPU and {wakes_then - wakes} wake-ups in {seconds:.0f} s"
        )
        yield f"{count} workers: {used}, goal {5 * seconds / 60:.1f} ms"


def _used(pid: int) -> tuple[int, int]:
    """Return the nanoseconds on a CPU, and how often it has gone to sleep."""
    cpu = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    status = Path(f"/proc/{pid}/status").read_text()
    return cpu, int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
