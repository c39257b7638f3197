"""The memory of a supervisor.

PSS counts of each page what falls to a process when all that map it share it. Other programs that run
on the same interpreter make it smaller, this one included; they do not change what is private.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figures import spread
from tests.bench.proc import Memory, memory
from tests.bench.service import service

ROUNDS = 3


def measure(rounds: int) -> Iterator[str]:
    for workers in (1, 4):
        found = [_memory(workers) for _ in range(rounds)]
        pss, private = zip(*found, strict=True)
        yield f"{workers} workers: PSS {spread(pss, 'MB')}, goal 12; of it private {spread(private, 'MB')}"


def _memory(workers: int) -> Memory:
    with service() as supervised:
        pid = supervised.supervise(f"--workers={workers}", JOURNAL_STREAM=supervised.journal())
        return memory(pid)
