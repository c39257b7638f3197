"""CPU time and memory of a process, and its children. Source: proc(5)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Memory of a process, in MB.

    Attributes:
        pss: of each page what falls to the process when all that map it share it.
        private: pages that no other process maps.
    """

    pss: float
    private: float


def memory(pid: int) -> Memory:
    """Return the memory that a process has."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    cut = (line.partition(":") for line in text.splitlines()[1:])
    sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in cut}
    return Memory(sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def children(pid: int) -> set[int]:
    """Return the PIDs of the children of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for thread in threads for child in (thread / "children").read_text().split()}


def cpu(pid: int) -> float:
    """Return the seconds that the threads of a process have had on a CPU."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def family_cpu(pid: int) -> float:
    """Return the same of a process with all that come from it, as far as they run."""
    return cpu(pid) + sum(map(family_cpu, children(pid)))
