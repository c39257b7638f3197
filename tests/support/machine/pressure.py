"""Pressure on the memory of a unit in a machine, made by the kernel.

A program outside, in the unit's control group, reads files that do not fit into the memory which the group
may have. Where the host's memory controller is of cgroup v2, MemoryHigh= of the unit limits
it; else a group of the old hierarchy does, which its processes are moved into: pressure is counted for the
group of v2 in either case.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.machine.machine import Machine
from tests.support.machine.service import wait_until

LIMIT_MIB = 64
OLD = Path("/sys/fs/cgroup/memory")
HOG = """
import os, sys
for group in sys.argv[1:]:
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))

def read(path, *, forget):
    file = os.open(path, os.O_RDONLY)
    if forget:  # what is cached belongs to the group that has read it first
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    while os.read(file, 1 << 20):
        pass
    os.close(file)

paths = [os.path.join(folder, name) for folder, _, names in os.walk("/usr/lib") for name in names]
paths = [path for path in paths if os.path.isfile(path) and os.path.getsize(path) > 65536]
forget = True
while True:
    for path in paths:
        read(path, forget=forget)
    forget = False
"""
"""Reads the libraries of this machine again and again: files of its own might be on a tmpfs."""


def group_of(machine: Machine, unit: str) -> Path:
    """Return the control group of a unit, as the keeper of the machine sees it."""
    status = Path(f"/proc/{machine.leader}/status").read_text()
    nspawn = status.partition("PPid:\t")[2].split()[0]
    group = Path(f"/proc/{machine.leader}/cgroup").read_text().splitlines()[-1].partition("::")[2]
    return Path(f"/proc/{nspawn}/root/sys/fs/cgroup{group}").parent / "system.slice" / unit


@contextlib.contextmanager
def short_of_memory(machine: Machine, unit: str) -> Iterator[None]:
    """Make memory short for a running unit, until the body ends."""
    group = group_of(machine, unit)
    with limited(machine, unit, group) as groups:
        argv = [sys.executable, "-c", HOG, *map(str, groups)]
        with subprocess.Popen(argv) as hog:
            try:
                yield
                assert hog.poll() is None
            finally:
                hog.kill()


@contextlib.contextmanager
def limited(machine: Machine, unit: str, group: Path) -> Iterator[list[Path]]:
    """Limit the unit's memory; yield the groups that a process has to join to be limited with it."""
    if "memory" in (group / "cgroup.controllers").read_text().split():
        machine.run("systemctl", "set-property", "--runtime", unit, f"MemoryHigh={LIMIT_MIB}M")
        yield [group]
        return
    old = OLD / f"sockact-{os.getpid()}"
    old.mkdir()
    try:
        (old / "memory.limit_in_bytes").write_text(f"{LIMIT_MIB}M")
        move((group / "cgroup.procs").read_text(), old)
        yield [group, old]
    finally:
        wait_until(lambda: emptied(old))


def emptied(old: Path) -> bool:
    """Move all processes of a group back; return whether it could be removed."""
    move((old / "cgroup.procs").read_text(), OLD)
    with contextlib.suppress(OSError):
        old.rmdir()
    return not old.exists()


def move(pids: str, group: Path) -> None:
    for pid in pids.split():
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(pid)
