"""The memory of a supervisor.

PSS counts of each page what falls to a process when all that map it share it. Other programs that run
on the same interpreter make it smaller, this one included; they do not change what is private.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import spread
from tests.bench.service import service

ROUNDS = 3


def measure(rounds: int) -> Iterator[str]:
    for workers in (1, 4):
        found = [_memory(workers) for _ in range(rounds)]
        pss, private = zip(*found, strict=True)
        yield f"{workers} workers: PSS {spread(pss, 'MB')}, goal 12; of it private {spread(private, 'MB')}"


def _memory(workers: int) -> tuple[float, float]:
    with service() as supervised:
        log = supervised.manager.log
        log.touch()
        # As under systemd: records go to the journal, by libsystemd.
        journal = f"{log.stat().st_dev}:{log.stat().st_ino}"
        pid = supervised.supervise(f"--workers={workers}", JOURNAL_STREAM=journal)
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {name: int(rest.split()[0]) for name, _, rest in map(_cut, text.splitlines()[1:])}
    return sizes["Pss"] / 1024, (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024


def _cut(line: str) -> tuple[str, str, str]:
    return line.partition(":")
